//! What each architecture does in its own way: page tables, illegal instructions, rounding modes.
#![expect(unsafe_code, reason = "page tables and faults are assembly")]

use alloc::boxed::Box;
use core::arch::asm;
use core::ptr;

/// A page table.
#[repr(align(4096))]
struct Table([usize; 512]);

/// Size of what an entry of the last table but two maps.
const GIB: usize = 1 << 30;

/// Address of a new table that is never freed. The heap is mapped to its own addresses.
fn table(entries: impl IntoIterator<Item = usize>) -> usize {
    let mut table = Box::new(Table([0; 512]));
    for (to, entry) in table.0.iter_mut().zip(entries) {
        *to = entry;
    }
    ptr::from_mut(Box::leak(table)).expose_provenance()
}

#[cfg(target_arch = "x86_64")]
mod arch {
    use super::{GIB, asm, table};

    pub(crate) fn map_all() -> usize {
        const WRITABLE: usize = 0b11;
        const LARGE: usize = 0x80;
        // Not every CPU has pages of 1 GiB.
        let pages = |start| table((0..512).map(|page| (start + (page << 21)) | LARGE | WRITABLE));
        let middle = table([0, GIB].map(|start| pages(start) | WRITABLE));
        let root = table([middle | WRITABLE]);
        let before: usize;
        // SAFETY: all memory of the program stays where it is.
        unsafe {
            asm!("mov {}, cr3", "mov cr3, {}", out(reg) before, in(reg) root, options(nostack, preserves_flags));
        }
        before & !0xfff
    }

    pub(crate) fn illegal() {
        // SAFETY: the exception ends the program.
        unsafe { asm!("ud2", options(nomem, nostack)) };
    }

    #[cfg(target_feature = "sse2")]
    pub(crate) fn round_up() {
        // All exceptions masked, RC = 2.
        let control: u32 = 0x1f80 | 2 << 13;
        // SAFETY: the results of floating-point instructions have no meaning for the program but in `third`.
        unsafe {
            asm!("ldmxcsr [{}]", in(reg) &raw const control, options(nostack, readonly, preserves_flags));
        }
    }

    /// Floating-point instructions are calls of functions.
    #[cfg(not(target_feature = "sse2"))]
    pub(crate) fn round_up() {}
}

#[cfg(target_arch = "aarch64")]
mod arch {
    use super::{GIB, asm, table};

    pub(crate) fn map_all() -> usize {
        const TABLE: usize = 0b11;
        /// A block of normal memory, inner shareable, accessed, attribute 0.
        const BLOCK: usize = 1 | 0b11 << 8 | 1 << 10;
        const WXN: usize = 1 << 19;
        let root = table([table([0, GIB].map(|start| start | BLOCK)) | TABLE]);
        let before: usize;
        // SAFETY: all memory of the program stays where it is.
        unsafe {
            asm!(
                "mrs {before}, ttbr0_el1",
                "mrs {control}, sctlr_el1",
                "bic {control}, {control}, {wxn}",
                "msr sctlr_el1, {control}",
                "dsb ish",
                "msr ttbr0_el1, {root}",
                "isb",
                "tlbi vmalle1",
                "dsb nsh",
                "isb",
                before = out(reg) before,
                control = out(reg) _,
                wxn = const WXN,
                root = in(reg) root,
                options(nostack, preserves_flags),
            );
        }
        before & 0xffff_ffff_f000
    }

    pub(crate) fn illegal() {
        // SAFETY: the exception ends the program.
        unsafe { asm!("udf #0", options(nomem, nostack)) };
    }

    pub(crate) fn round_up() {
        // FPCR.RMode = 1.
        // SAFETY: the results of floating-point instructions have no meaning for the program but in `third`.
        unsafe { asm!("msr fpcr, {}", in(reg) 1_u64 << 22, options(nomem, nostack, preserves_flags)) };
    }
}

#[cfg(target_arch = "riscv64")]
mod arch {
    use super::{GIB, asm, table};

    pub(crate) fn map_all() -> usize {
        /// A page that is valid, readable, writable, executable, accessed and dirty.
        const PAGE: usize = 0b1100_1111;
        const SV39: usize = 8 << 60;
        const NUMBER: usize = (1 << 44) - 1;
        let root = table([0, GIB].map(|start| start >> 2 | PAGE));
        let before: usize;
        // SAFETY: all memory of the program stays where it is.
        unsafe {
            asm!(
                "csrrw {}, satp, {}",
                "sfence.vma",
                out(reg) before,
                in(reg) SV39 | root >> 12,
                options(nostack, preserves_flags),
            );
        }
        (before & NUMBER) << 12
    }

    pub(crate) fn illegal() {
        // SAFETY: the exception ends the program.
        unsafe { asm!("unimp", options(nomem, nostack)) };
    }

    pub(crate) fn round_up() {
        // QEMU tells a hypervisor of changes of floating-point registers, but not of a change of the rounding mode alone.
        // SAFETY: the results of floating-point instructions have no meaning for the program but in `third`.
        unsafe {
            asm!(
                "fsrm {}",
                "fmv.d.x ft0, zero",
                in(reg) 3,
                out("ft0") _,
                options(nomem, nostack, preserves_flags),
            );
        }
    }
}

pub(crate) use arch::*;
