//! riscv64 for [`fw_device_tree`].
#![expect(unsafe_code, reason = "instructions for the counter and for fetches")]

use alloc::boxed::Box;
use core::arch::asm;
use core::error::Error;
use core::ffi::c_void;

use boot_core::{Arch, BootProtocol, GuestRange, KernelFormat};
use boot_paging::{Access, MapError};
use efi_abi::Status;
use efi_abi::raw::Status as RawStatus;
use efi_abi::raw::table::runtime::ResetType;
use fw_device_tree::{Hardware, Layout, Port, Reset, Target};
use fw_runtime::Console;

use crate::console::{Output, PORT};
use crate::halt::halt;
use crate::paging::Paging;
use crate::registers::Mmio;
use crate::sbi;

/// The hart that runs the firmware.
pub(crate) struct Riscv64 {
    hart: u64,
    paging: Option<Paging>,
    /// Ticks per second of the `time` CSR.
    timebase: u64,
}

/// Ticks per second where the tree does not have the number: that of QEMU.
const DEFAULT_TIMEBASE: u32 = 10_000_000;

impl Riscv64 {
    /// The hart of this id, without translation of addresses.
    pub(crate) fn new(hart: u64) -> Self {
        Self {
            hart,
            paging: None,
            timebase: DEFAULT_TIMEBASE.into(),
        }
    }
}

impl Target for Riscv64 {
    type Registers = Mmio;

    const ARCH: Arch = Arch::Riscv64;
    const FORMATS: &'static [&'static dyn KernelFormat] = &[&fmt_pe::RISCV_IMAGE, &fmt_elf::FORMAT];
    const PROTOCOLS: &'static [&'static dyn BootProtocol] = &[&proto_fdt::PROTOCOL_RISCV64];
    const DEFAULT_PROGRAM: &'static str = fw_efi::DEFAULT_RISCV64;
    const RUNTIME_PAGES: u64 = 1;
    const SMALL_RANGE: u64 = 512;

    fn console(&self) -> &'static dyn Console {
        &Output
    }

    fn set_console(&self, port: Port<Mmio>) {
        PORT.set(port);
    }

    unsafe fn translate(&mut self, hardware: &Hardware, layout: &Layout) -> Result<(), Box<dyn Error>> {
        // SAFETY: addresses are not translated, as the caller guarantees.
        self.paging = unsafe { Paging::enable(hardware, layout) }?;
        Ok(())
    }

    fn written(_: GuestRange) {
        // Caches are coherent; `start.s` orders stores before instruction fetches.
    }

    fn prepare_efi(&mut self, hardware: &Hardware) {
        self.timebase = hardware.timebase.unwrap_or(DEFAULT_TIMEBASE).into();
    }

    fn protect(&mut self, start: u64, len: u64, access: Access) -> Result<(), Status> {
        let paging = self.paging.as_mut().ok_or(Status::UNSUPPORTED)?;
        paging.protect(start, len, access).map_err(|error| match error {
            MapError::TooManyTables { .. } => Status::OUT_OF_RESOURCES,
            _ => Status::UNSUPPORTED,
        })
    }

    fn sync_code(&mut self, _: GuestRange) {
        // SAFETY: a fence.
        unsafe { asm!("fence rw, rw", "fence.i", options(nostack)) }
    }

    fn counter(&self) -> (u64, u64) {
        let ticks;
        // SAFETY: reading the register has no effect.
        unsafe { asm!("rdtime {}", out(reg) ticks, options(nomem, nostack)) };
        (ticks, self.timebase)
    }

    fn random(&mut self, _: &mut [u8]) -> bool {
        // The `seed` CSR belongs to M-mode unless that gives it away, which cannot be read.
        false
    }

    fn boot_hart(&self) -> Option<u64> {
        Some(self.hart)
    }

    fn reset(&self, _: &Hardware) -> Reset {
        reset
    }
}

unsafe extern "efiapi" fn reset(_: *mut c_void, kind: ResetType, _: RawStatus) -> ! {
    sbi::reset(match kind {
        ResetType::SHUTDOWN => sbi::SHUTDOWN,
        ResetType::WARM => sbi::WARM_REBOOT,
        _ => sbi::COLD_REBOOT,
    });
    halt()
}
