//! arm64 for [`fw_device_tree`].
#![expect(unsafe_code, reason = "instructions for registers, caches and PSCI")]

use alloc::boxed::Box;
use core::arch::asm;
use core::error::Error;
use core::ffi::c_void;

use boot_core::machine::PsciMethod;
use boot_core::{Arch, BootProtocol, GuestRange, KernelFormat};
use boot_paging::{Access, MapError};
use efi_abi::Status;
use efi_abi::raw::Status as RawStatus;
use efi_abi::raw::table::runtime::ResetType;
use fw_device_tree::{Hardware, Layout, Port, Reset, Target};
use fw_runtime::Console;

use crate::cache;
use crate::console::{Output, PORT};
use crate::halt::halt;
use crate::mmu::Mmu;
use crate::registers::Mmio;

/// The CPU that runs the firmware.
pub(crate) struct Arm64 {
    mmu: Option<Mmu>,
    has_random: bool,
}

impl Arm64 {
    /// The CPU, with MMU and caches off.
    pub(crate) fn new() -> Self {
        let features: u64;
        // SAFETY: reading the register has no effect.
        unsafe {
            asm!("mrs {}, id_aa64isar0_el1", out(reg) features, options(nomem, nostack, preserves_flags));
        };
        Self {
            mmu: None,
            // FEAT_RNG.
            has_random: features >> 60 != 0,
        }
    }
}

/// Attempts for one random number: the generator may need time.
const RANDOM_ATTEMPTS: u32 = 1000;

/// A random number: `RNDRRS`, which is reseeded for it.
fn random_number() -> Option<u64> {
    for _ in 0..RANDOM_ATTEMPTS {
        let (number, failed): (u64, u64);
        // SAFETY: the CPU has the register; reading it sets the flag Z if there is no number.
        unsafe {
            asm!("mrs {}, s3_3_c2_c4_1", "cset {}, eq", out(reg) number, out(reg) failed, options(nomem, nostack));
        };
        if failed == 0 {
            return Some(number);
        }
    }
    None
}

impl Target for Arm64 {
    type Registers = Mmio;

    const ARCH: Arch = Arch::Aarch64;
    const FORMATS: &'static [&'static dyn KernelFormat] = &[&fmt_pe::ARM64_IMAGE, &fmt_elf::FORMAT];
    const PROTOCOLS: &'static [&'static dyn BootProtocol] = &[&proto_fdt::PROTOCOL_ARM64];
    const DEFAULT_PROGRAM: &'static str = fw_efi::DEFAULT_ARM64;
    const RUNTIME_PAGES: u64 = 16;
    const SMALL_RANGE: u64 = 1;

    fn console(&self) -> &'static dyn Console {
        &Output
    }

    fn set_console(&self, port: Port<Mmio>) {
        PORT.set(port);
    }

    unsafe fn translate(&mut self, hardware: &Hardware, layout: &Layout) -> Result<(), Box<dyn Error>> {
        // SAFETY: the MMU is off, as the caller guarantees.
        self.mmu = Some(unsafe { Mmu::enable(hardware, layout) }?);
        Ok(())
    }

    fn written(range: GuestRange) {
        cache::clean(range);
    }

    fn prepare_efi(&mut self, _: &Hardware) {
        enable_floating_point();
    }

    fn protect(&mut self, start: u64, len: u64, access: Access) -> Result<(), Status> {
        let mmu = self.mmu.as_mut().ok_or(Status::UNSUPPORTED)?;
        mmu.protect(start, len, access).map_err(|error| match error {
            MapError::TooManyTables { .. } => Status::OUT_OF_RESOURCES,
            _ => Status::UNSUPPORTED,
        })
    }

    fn sync_code(&mut self, range: GuestRange) {
        cache::sync_code(range);
    }

    fn counter(&self) -> (u64, u64) {
        let (ticks, per_second): (u64, u64);
        // SAFETY: reading the registers has no effect; `isb` keeps the reads in order.
        unsafe {
            asm!("isb", "mrs {}, cntvct_el0", out(reg) ticks, options(nomem, nostack, preserves_flags));
        };
        // SAFETY: as above.
        unsafe { asm!("mrs {}, cntfrq_el0", out(reg) per_second, options(nomem, nostack, preserves_flags)) };
        (ticks, per_second)
    }

    fn random(&mut self, buffer: &mut [u8]) -> bool {
        self.has_random
            && buffer.chunks_mut(8).all(|part| {
                let number = random_number().map(u64::to_le_bytes);
                if let Some(number) = &number {
                    part.iter_mut().zip(number).for_each(|(to, from)| *to = *from);
                }
                number.is_some()
            })
    }

    fn boot_hart(&self) -> Option<u64> {
        None
    }

    fn reset(&self, hardware: &Hardware) -> Reset {
        match hardware.psci {
            Some(PsciMethod::Hvc) => reset_by_hvc,
            Some(PsciMethod::Smc) => reset_by_smc,
            _ => no_reset,
        }
    }
}

/// Lets the current exception level use floating-point registers, UEFI 2.10 section 2.3.6.
fn enable_floating_point() {
    // SAFETY: no instruction of the firmware depends on the trap; the bits are those of the current exception level: FPEN in CPACR_EL1 and, with
    // E2H, in CPTR_EL2, and otherwise TFP in CPTR_EL2.
    unsafe {
        asm!(
            "mrs {level}, CurrentEL",
            "cmp {level}, #8",
            "b.eq 2f",
            "mrs {value}, cpacr_el1",
            "orr {value}, {value}, #0x300000",
            "msr cpacr_el1, {value}",
            "b 4f",
            "2: mrs {level}, hcr_el2",
            "mrs {value}, cptr_el2",
            "tbz {level}, #34, 3f",
            "orr {value}, {value}, #0x300000",
            "msr cptr_el2, {value}",
            "b 4f",
            "3: bic {value}, {value}, #0x400",
            "msr cptr_el2, {value}",
            "4: isb",
            level = out(reg) _,
            value = out(reg) _,
            options(nostack),
        );
    }
}

/// Functions of PSCI (Arm DEN0022).
const SYSTEM_OFF: u64 = 0x8400_0008;
const SYSTEM_RESET: u64 = 0x8400_0009;

/// The function for a kind of reset.
const fn psci_function(kind: ResetType) -> u64 {
    match kind {
        ResetType::SHUTDOWN => SYSTEM_OFF,
        _ => SYSTEM_RESET,
    }
}

unsafe extern "efiapi" fn reset_by_hvc(_: *mut c_void, kind: ResetType, _: RawStatus) -> ! {
    // SAFETY: the machine has PSCI, by this instruction; the function does not return if it succeeds.
    unsafe {
        asm!("hvc #0", inout("x0") psci_function(kind) => _, out("x1") _, out("x2") _, out("x3") _, options(nostack));
    };
    halt()
}

unsafe extern "efiapi" fn reset_by_smc(_: *mut c_void, kind: ResetType, _: RawStatus) -> ! {
    // SAFETY: as above.
    unsafe {
        asm!("smc #0", inout("x0") psci_function(kind) => _, out("x1") _, out("x2") _, out("x3") _, options(nostack));
    };
    halt()
}

unsafe extern "efiapi" fn no_reset(_: *mut c_void, _: ResetType, _: RawStatus) -> ! {
    halt()
}
