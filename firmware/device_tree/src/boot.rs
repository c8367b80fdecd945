//! From the hardware to an entry state.
#![expect(unsafe_code, reason = "memory and devices of the machine")]

use alloc::vec::Vec;
use core::fmt::Write as _;

use boot_core::{
    AdditionalLoad, Arch, BootProtocol, ByteSource, CpuState, GuestMemory, GuestRange, KernelFormat, Machine,
    MemoryError,
};
use disk::BlockDevice;
use fw_boot::{BootConfig, boot};
use fw_runtime::{Console, PhysicalMemory, Writer};

use crate::disks::disks;
use crate::hardware::Hardware;
use crate::registers::Registers;

/// What differs between architectures.
#[derive(Clone, Copy)]
pub struct Setup<'a, R> {
    /// The architecture.
    pub arch: Arch,
    /// Formats of kernels.
    pub formats: &'a [&'a dyn KernelFormat],
    /// Boot protocols.
    pub protocols: &'a [&'a dyn BootProtocol],
    /// Memory of the firmware.
    pub own: GuestRange,
    /// The device tree of the VMM.
    pub tree: &'a [u8],
    /// Access to registers.
    pub registers: R,
    /// The console.
    pub console: &'a dyn Console,
    /// Called with each range of memory that was written for the kernel, which starts with its caches off.
    pub written: fn(GuestRange),
}

/// Loads the first boot entry of the disks, and returns the registers to start its kernel with. `None` if there is nothing to boot.
///
/// # Safety
///
/// `hardware` is that of the machine; its devices are mapped at their physical addresses as device memory, its RAM as normal memory, except
/// for reserved ranges. Nothing but [`Setup::own`], [`Setup::tree`] and the reserved ranges are in use.
pub unsafe fn boot_disks<R: Registers>(hardware: &Hardware, setup: &Setup<'_, R>) -> Option<CpuState> {
    // SAFETY: as the caller guarantees.
    let disks = unsafe { disks(hardware, setup.registers, setup.console) };
    let disks: Vec<&dyn BlockDevice> = disks.iter().map(|disk| &**disk).collect();
    let machine = Machine::new(setup.arch, hardware.memory.clone());
    let own = [Some(setup.own), range_of(setup.tree)];
    let labels = ["firmware", "device tree of the VMM"];
    // The tree is needed until a new one is loaded. Memory that the tree reserves is not the kernel's either.
    let loads: Vec<AdditionalLoad<'_>> = labels
        .into_iter()
        .zip(own)
        .filter_map(|(label, range)| Some((label, range?)))
        .filter(|(_, range)| is_free_ram(hardware, *range))
        .map(|(label, range)| AdditionalLoad::present(label, range.start(), range.len()))
        .collect();
    let mut in_use: Vec<GuestRange> = own.into_iter().flatten().collect();
    in_use.extend(hardware.reserved.iter().map(|reserved| reserved.range));
    let mut config = BootConfig::new(&machine, setup.formats, setup.protocols)
        .with_own(&loads)
        .with_device_tree(setup.tree);
    if let Some(seed) = &hardware.rng_seed {
        config = config.with_rng_seed(seed);
    }
    if let Some(seed) = hardware.kaslr_seed {
        config = config.with_kaslr_seed(seed);
    }
    // SAFETY: RAM is mapped, and what is in use is cut out, as the caller guarantees.
    let memory = unsafe { PhysicalMemory::new(hardware.memory.ram(), &in_use) };
    let mut memory = Written {
        memory,
        written: setup.written,
    };
    boot(&disks, &config, &mut memory, &mut |event| {
        let _ = writeln!(Writer(setup.console), "firmware: {event}");
    })
}

/// The addresses of bytes in memory.
fn range_of(bytes: &[u8]) -> Option<GuestRange> {
    let start = u64::try_from(bytes.as_ptr().addr()).ok()?;
    GuestRange::new(start, u64::try_from(bytes.len()).ok()?)
}

/// Whether the range is RAM without a reserved part: other memory has no place in a plan.
fn is_free_ram(hardware: &Hardware, range: GuestRange) -> bool {
    let mut reserved = hardware.reserved.iter();
    hardware.memory.is_ram(range) && !reserved.any(|reserved| reserved.range.overlaps(range))
}

/// Memory that reports what is written.
struct Written {
    memory: PhysicalMemory,
    written: fn(GuestRange),
}

impl GuestMemory for Written {
    fn check(&self, range: GuestRange) -> Result<(), MemoryError> {
        self.memory.check(range)
    }

    fn write(&mut self, addr: u64, bytes: &[u8]) -> Result<(), MemoryError> {
        self.memory.write(addr, bytes)?;
        let len = u64::try_from(bytes.len()).unwrap_or(u64::MAX);
        (self.written)(GuestRange::new(addr, len).unwrap_or(GuestRange::EMPTY));
        Ok(())
    }

    fn zero(&mut self, range: GuestRange) -> Result<(), MemoryError> {
        self.memory.zero(range)?;
        (self.written)(range);
        Ok(())
    }

    fn read(&self, addr: u64, buf: &mut [u8]) -> Result<(), MemoryError> {
        self.memory.read(addr, buf)
    }

    fn copy_from(
        &mut self,
        range: GuestRange,
        source: &dyn ByteSource,
        offset: u64,
    ) -> Result<(), MemoryError> {
        self.memory.copy_from(range, source, offset)?;
        (self.written)(range);
        Ok(())
    }
}
