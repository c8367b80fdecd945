#![doc = include_str!("../README.md")]
#![no_std]
#![forbid(unsafe_code)]

use core::ops::Range;

use boot_core::{
    BootProtocol, BootRequest, ByteSource, Cmdline, CmdlineError, CpuState, DetectError, GuestMemory,
    GuestRange, KernelFormat, LoadError, Machine, MemoryError, PlanError, SelectError, Sources, detect,
    protocol,
};

/// The formats, in any order: their priorities decide. Firmware lists those that it has room for.
const FORMATS: [&dyn KernelFormat; 4] = [
    &fmt_bzimage::FORMAT,
    &fmt_elf::FORMAT,
    &fmt_pe::ARM64_IMAGE,
    &fmt_pe::RISCV_IMAGE,
];

/// The protocols.
const PROTOCOLS: [&dyn BootProtocol; 4] = [
    &proto_linux_x86::PROTOCOL,
    &proto_pvh::PROTOCOL,
    &proto_fdt::PROTOCOL_ARM64,
    &proto_fdt::PROTOCOL_RISCV64,
];

/// Why a kernel was not loaded.
#[derive(Debug, thiserror::Error)]
pub enum LoaderError {
    /// The kernel is in no known format, or malformed.
    #[error("the kernel cannot be used")]
    Detect(#[from] DetectError),
    /// The command line is not valid.
    #[error("the command line is not valid")]
    Cmdline(#[from] CmdlineError),
    /// No protocol starts the kernel.
    #[error("the kernel cannot be started")]
    Select(#[from] SelectError),
    /// The boot does not fit the machine.
    #[error("the boot cannot be planned")]
    Plan(#[from] PlanError),
    /// The plan could not be loaded.
    #[error("the kernel cannot be loaded")]
    Load(#[from] LoadError),
}

/// Loads the kernel and an initrd, which may be empty, to `memory`, and returns the registers to start it with.
///
/// The machine describes CPU, memory and, for a device tree, devices; all RAM of its memory map is in `memory`.
///
/// # Errors
///
/// [`LoaderError`]. Unless it is [`LoaderError::Load`], `memory` is unchanged.
pub fn load(
    kernel: &[u8],
    initrd: &[u8],
    cmdline: &str,
    machine: &Machine,
    memory: &mut FlatMemory<'_>,
) -> Result<CpuState, LoaderError> {
    let image = detect(&FORMATS, &kernel)?;
    let cmdline = Cmdline::parse(cmdline)?;
    let initrd_len = u64::try_from(initrd.len()).unwrap_or(u64::MAX);
    let request = BootRequest::new(&image, machine, &cmdline).with_initrd(initrd_len);
    let plan = protocol::select(&PROTOCOLS, &image)?.plan(&request)?;
    plan.load(&Sources::kernel(&kernel).with_initrd(&initrd), memory)?;
    Ok(plan.boot_cpu().clone())
}

/// Guest memory in one slice.
///
/// [`boot_core::SliceMemory`] is the same for any number of slices; this type shows what an implementation needs.
#[derive(Debug)]
pub struct FlatMemory<'a> {
    start: u64,
    bytes: &'a mut [u8],
}

impl<'a> FlatMemory<'a> {
    /// Memory whose first byte is at the guest physical address `start`.
    #[must_use]
    pub fn new(start: u64, bytes: &'a mut [u8]) -> Self {
        Self { start, bytes }
    }

    /// The indices of a range of guest physical addresses.
    fn indices(&self, range: GuestRange) -> Result<Range<usize>, MemoryError> {
        let index = |addr: u64| usize::try_from(addr.checked_sub(self.start)?).ok();
        match (index(range.start()), index(range.end())) {
            (Some(start), Some(end)) if end <= self.bytes.len() => Ok(start..end),
            _ => Err(MemoryError::NotBacked(range)),
        }
    }

    fn slice_mut(&mut self, range: GuestRange) -> Result<&mut [u8], MemoryError> {
        let indices = self.indices(range)?;
        Ok(&mut self.bytes[indices])
    }
}

/// The range of `len` bytes at `addr`.
fn range(addr: u64, len: usize) -> Result<GuestRange, MemoryError> {
    let range = u64::try_from(len).ok().and_then(|len| GuestRange::new(addr, len));
    range.ok_or(MemoryError::NotBacked(GuestRange::EMPTY))
}

impl GuestMemory for FlatMemory<'_> {
    fn check(&self, range: GuestRange) -> Result<(), MemoryError> {
        self.indices(range).map(|_| ())
    }

    fn write(&mut self, addr: u64, bytes: &[u8]) -> Result<(), MemoryError> {
        self.slice_mut(range(addr, bytes.len())?)?.copy_from_slice(bytes);
        Ok(())
    }

    fn zero(&mut self, range: GuestRange) -> Result<(), MemoryError> {
        self.slice_mut(range)?.fill(0);
        Ok(())
    }

    fn read(&self, addr: u64, buf: &mut [u8]) -> Result<(), MemoryError> {
        let indices = self.indices(range(addr, buf.len())?)?;
        buf.copy_from_slice(&self.bytes[indices]);
        Ok(())
    }

    /// Without the buffer of the default.
    fn copy_from(
        &mut self,
        range: GuestRange,
        source: &dyn ByteSource,
        offset: u64,
    ) -> Result<(), MemoryError> {
        Ok(source.read_exact_at(offset, self.slice_mut(range)?)?)
    }
}
