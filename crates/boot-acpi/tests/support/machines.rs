//! Machines that the tables describe.

use std::num::NonZeroU32;

use boot_core::machine::{Interrupt, Line, VirtioMmio};
use boot_core::{Arch, GuestRange, Machine, MemoryMap};

/// A virtio-mmio slot.
pub(crate) fn slot(start: u64, len: u64, line: Line) -> VirtioMmio {
    VirtioMmio::new(GuestRange::new(start, len).unwrap(), Interrupt::level(line))
}

/// A PC with 64 MiB, and as many CPUs and virtio-mmio slots.
pub(crate) fn machine(vcpus: u32, slots: u32) -> Machine {
    let mut machine = Machine::new(Arch::X86_64, MemoryMap::pc(64 << 20).unwrap());
    machine.vcpus = NonZeroU32::new(vcpus).unwrap();
    machine.platform.virtio_mmio = (0..slots)
        .map(|n| slot(0xd000_0000 + u64::from(n) * 0x1000, 0x1000, Line::Gsi(5 + n)))
        .collect();
    machine
}
