//! riscv64: the CSRs of supervisor mode, and f0 to f31.
#![expect(unsafe_code, reason = "assembly")]

use alloc::vec::Vec;
use core::arch::{asm, global_asm};

use super::values::{Area, Registers};

/// f0 to f31.
pub(super) const WORDS: usize = 32;

unsafe extern "C" {
    /// Saves the registers.
    #[link_name = "vmsandbox_probe_save"]
    pub(super) fn save(area: *mut u64) -> u64;

    /// Loads the registers; f8, f9 and f18 to f27, which functions preserve, only with `all`.
    #[link_name = "vmsandbox_probe_load"]
    pub(super) fn load(area: *const u64, all: u64);

    /// Continues after the instruction that trapped, with 1 in a0.
    #[link_name = "vmsandbox_probe_skip"]
    static SKIP: u8;
}

global_asm!(
    ".pushsection .text.vmsandbox_probe, \"ax\", @progbits",
    // With link-time optimization, assembly outside functions does not have the extensions of the target.
    ".option push",
    ".option arch, +f, +d",
    ".balign 4",
    ".globl vmsandbox_probe_save",
    "vmsandbox_probe_save:",
    ".irp number, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 29, 30, 31",
    "fsd f\\number, 8 * \\number(a0)",
    ".endr",
    "li a0, 0",
    "ret",
    ".globl vmsandbox_probe_load",
    "vmsandbox_probe_load:",
    ".irp number, 0, 1, 2, 3, 4, 5, 6, 7, 10, 11, 12, 13, 14, 15, 16, 17, 28, 29, 30, 31",
    "fld f\\number, 8 * \\number(a0)",
    ".endr",
    "beqz a1, 2f",
    ".irp number, 8, 9, 18, 19, 20, 21, 22, 23, 24, 25, 26, 27",
    "fld f\\number, 8 * \\number(a0)",
    ".endr",
    "2:",
    "ret",
    ".balign 4",
    ".globl vmsandbox_probe_skip",
    "vmsandbox_probe_skip:",
    "csrr a0, sepc",
    "addi a0, a0, 4",
    "csrw sepc, a0",
    "li a0, 1",
    "sret",
    ".option pop",
    ".popsection",
);

/// Names of the saved registers.
const SAVED: [&str; 32] = [
    "f0", "f1", "f2", "f3", "f4", "f5", "f6", "f7", "f8", "f9", "f10", "f11", "f12", "f13", "f14", "f15",
    "f16", "f17", "f18", "f19", "f20", "f21", "f22", "f23", "f24", "f25", "f26", "f27", "f28", "f29", "f30",
    "f31",
];

pub(super) fn saved(registers: &mut Registers, area: &Area<WORDS>, _: u64) {
    for (at, name) in SAVED.into_iter().enumerate() {
        registers.push_words(name, area, at, 1);
    }
}

/// All values are valid.
pub(super) fn prepare(_: &Area<WORDS>, _: u64) {}

/// Reads registers that every CPU has.
macro_rules! read {
    ($registers:ident: $($name:literal)*) => {
        $({
            let value: u64;
            // SAFETY: it reads a register.
            unsafe { asm!(concat!("csrr {}, ", $name), out(reg) value, options(nomem, nostack)) };
            $registers.push($name, value);
        })*
    };
}

/// Executes an instruction of 4 bytes with the value in a1; `None` if the CPU does not have it.
macro_rules! attempt {
    ($template:literal, $value:expr) => {{
        let (trapped, value): (u64, u64);
        // SAFETY: the handler skips the instruction if it traps, and changes only a0 and registers of traps.
        unsafe {
            asm!(
                "csrrw {handler}, stvec, {handler}",
                "li a0, 0",
                $template,
                "csrw stvec, {handler}",
                handler = inout(reg) (&raw const SKIP).addr() => _,
                out("a0") trapped,
                inout("a1") $value => value,
            );
        }
        (trapped == 0).then_some(value)
    }};
}

pub(super) fn system(registers: &mut Registers) {
    read! { registers:
        "sstatus" "sie" "stvec" "sscratch" "sepc" "scause" "stval" "sip" "satp" "scounteren" "fcsr"
    }
    // stimecmp, senvcfg and vstart by their numbers, which every assembler has.
    let optional = [
        ("stimecmp", attempt!("csrr a1, 0x14d", 0_u64)),
        ("senvcfg", attempt!("csrr a1, 0x10a", 0_u64)),
        ("vstart", attempt!("csrr a1, 0x008", 0_u64)),
    ];
    for (name, value) in optional {
        if let Some(value) = value {
            registers.push(name, value);
        }
    }
}

/// Changes the bits of a mask.
macro_rules! change {
    ($($name:literal $bits:expr;)*) => {
        $({
            let bits: u64 = $bits;
            // SAFETY: nothing of the program depends on these bits.
            unsafe {
                asm!(
                    concat!("csrr {1}, ", $name),
                    "xor {1}, {1}, {0}",
                    concat!("csrw ", $name, ", {1}"),
                    in(reg) bits,
                    out(reg) _,
                    options(nostack),
                );
            }
        })*
    };
}

/// Bits without an effect on the program.
mod harmless {
    /// Of `sstatus`: accesses to pages of user mode, and to executable pages.
    pub(super) const SUM_MXR: u64 = 3 << 18;
    /// Of `sie`: software, timer and external interrupts, which `sstatus.SIE` disables.
    pub(super) const INTERRUPTS: u64 = 1 << 1 | 1 << 5 | 1 << 9;
    /// Of `sip`: a software interrupt.
    pub(super) const SOFTWARE: u64 = 1 << 1;
    /// Of `scounteren`: user mode can read counters.
    pub(super) const COUNTERS: u64 = 7;
    /// Of `fcsr`: rounds up, and all flags.
    pub(super) const ROUND_UP: u64 = 3 << 5 | 0x1f;
    /// Of `stimecmp`: so far in the future that the timer does not fire.
    pub(super) const FUTURE: u64 = 1 << 61;
    /// Of `senvcfg`: fences of user mode order I/O and memory.
    pub(super) const FIOM: u64 = 1;
}

pub(super) fn disturb_system(pattern: u64) {
    // The last attempts: they need the handler of the program.
    let _none = attempt!("csrw 0x14d, a1", harmless::FUTURE + (pattern >> 8));
    let _none = attempt!("csrw 0x10a, a1", harmless::FIOM);
    change! {
        "sstatus" harmless::SUM_MXR;
        "sie" harmless::INTERRUPTS;
        "sip" harmless::SOFTWARE;
        // No trap is expected.
        "stvec" pattern >> 30 << 2;
        "sscratch" pattern;
        "sepc" pattern >> 30 << 2;
        "scause" 7;
        "stval" pattern + 1;
        "scounteren" harmless::COUNTERS;
    }
    // QEMU does not note that a write of `fcsr` alone changes the state: it is lost if the thread of the vCPU is scheduled out before the
    // next write of a floating-point register. So one follows at once, which keeps the value of the register.
    // SAFETY: nothing of the program depends on the rounding mode and the flags.
    unsafe {
        asm!(
            "csrr {1}, fcsr",
            "xor {1}, {1}, {0}",
            "csrw fcsr, {1}",
            "fsgnj.d ft0, ft0, ft0",
            in(reg) harmless::ROUND_UP,
            out(reg) _,
            options(nostack),
        );
    }
}

/// There is no AVX.
pub(super) fn avx_products(_: &[f64], _: &[f64]) -> Option<Vec<f64>> {
    None
}
