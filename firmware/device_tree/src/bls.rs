//! Boot entries of the Boot Loader Specification, without EFI.
#![expect(unsafe_code, reason = "memory and devices of the machine")]

use alloc::vec::Vec;

use boot_core::{AdditionalLoad, ByteSource, CpuState, GuestMemory, GuestRange, Machine, MemoryError};
use disk::BlockDevice;
use fw_boot::{BootConfig, boot};
use fw_runtime::{Console, PhysicalMemory};

use crate::disks::FoundDisk;
use crate::hardware::Hardware;
use crate::layout::Layout;
use crate::print::print;
use crate::target::Target;

/// Loads the first boot entry of the disks, and returns the registers to start its kernel with. `None` if there is nothing to boot.
///
/// # Safety
///
/// `hardware` is that of the machine; its RAM is mapped at its physical addresses as normal memory, except for reserved ranges. Nothing but the
/// firmware, `tree` and the reserved ranges are in use.
pub(crate) unsafe fn boot_entries<T: Target>(
    hardware: &Hardware,
    layout: &Layout,
    tree: &[u8],
    disks: &[FoundDisk],
    console: &dyn Console,
) -> Option<CpuState> {
    let disks: Vec<&dyn BlockDevice> = disks.iter().map(|disk| &*disk.driver).collect();
    let machine = Machine::new(T::ARCH, hardware.memory.clone());
    let own = [Some(layout.whole()), range_of(tree)];
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
    let mut config = BootConfig::new(&machine, T::FORMATS, T::PROTOCOLS)
        .with_own(&loads)
        .with_device_tree(tree);
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
        written: T::written,
    };
    boot(&disks, &config, &mut memory, &mut |event| {
        print(console, format_args!("{event}"));
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
