//! What differs between architectures.
#![expect(unsafe_code, reason = "methods that need the right machine")]

use alloc::boxed::Box;
use core::error::Error;

use boot_core::{Arch, BootProtocol, GuestRange, KernelFormat};
use boot_paging::Access;
use efi_abi::Status;
use efi_abi::raw::Status as RawStatus;
use efi_abi::raw::table::runtime::ResetType;
use fw_runtime::Console;

use crate::hardware::Hardware;
use crate::layout::Layout;
use crate::registers::Registers;
use crate::serial::Port;

/// `RuntimeHooks::reset`. The function uses no static variable, because it also runs at a virtual address.
pub type Reset =
    unsafe extern "efiapi" fn(context: *mut core::ffi::c_void, kind: ResetType, status: RawStatus) -> !;

/// An architecture.
pub trait Target: 'static {
    /// Access to the registers of devices.
    type Registers: Registers + Default + 'static;

    /// The architecture.
    const ARCH: Arch;
    /// Formats of its kernels.
    const FORMATS: &'static [&'static dyn KernelFormat];
    /// Its boot protocols.
    const PROTOCOLS: &'static [&'static dyn BootProtocol];
    /// The path of the default EFI program.
    const DEFAULT_PROGRAM: &'static str;
    /// Multiple of pages of which runtime regions of EFI consist, UEFI 2.10 section 2.3.6.
    const RUNTIME_PAGES: u64;
    /// Number of pages of which a free range must have fewer to be used last, see [`MapConfig::small_range`](efi_core::memory::MapConfig).
    const SMALL_RANGE: u64;

    /// The console.
    fn console(&self) -> &'static dyn Console;

    /// Makes a serial port the console.
    fn set_console(&self, port: Port<Self::Registers>);

    /// Translates addresses by page tables with the [mappings](Layout::mappings) of the machine, where the CPU has them.
    ///
    /// # Errors
    ///
    /// The memory of the machine cannot be mapped.
    ///
    /// # Safety
    ///
    /// Addresses are not translated yet; hardware and layout are those of the machine.
    unsafe fn translate(&mut self, hardware: &Hardware, layout: &Layout) -> Result<(), Box<dyn Error>>;

    /// Called with each range of memory that was written for a kernel, which starts with its caches off.
    fn written(range: GuestRange);

    /// Makes the state of the CPU that of the handoff to EFI programs, UEFI 2.10 sections 2.3.6 and 2.3.7, apart from the page tables.
    fn prepare_efi(&mut self, hardware: &Hardware);

    /// Changes the access to whole pages. All of the range is mapped RAM.
    ///
    /// # Errors
    ///
    /// `UNSUPPORTED` if addresses are not translated; `OUT_OF_RESOURCES` if memory for page tables is missing.
    fn protect(&mut self, start: u64, len: u64, access: Access) -> Result<(), Status>;

    /// Makes written code visible to instruction fetches.
    fn sync_code(&mut self, range: GuestRange);

    /// The counter of time, and its ticks per second.
    fn counter(&self) -> (u64, u64);

    /// Fills the buffer with random bytes of full entropy; false without such a source.
    fn random(&mut self, buffer: &mut [u8]) -> bool;

    /// The hart that runs the firmware, on riscv64.
    fn boot_hart(&self) -> Option<u64>;

    /// How the machine is reset.
    fn reset(&self, hardware: &Hardware) -> Reset;
}
