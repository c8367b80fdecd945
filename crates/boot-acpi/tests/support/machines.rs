//! Machines that the tables describe.

use std::num::NonZeroU32;

use boot_core::machine::{Interrupt, Line, Numa, NumaNode, VirtioMmio};
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

/// The same PC with its CPUs and its memory in two nodes and none in a third.
pub(crate) fn numa_machine(vcpus: u32) -> Machine {
    let mut machine = machine(vcpus, 1);
    let half = 32 << 20;
    let memory = |start| vec![GuestRange::new(start, half).unwrap()];
    let numa = Numa::new(vec![
        NumaNode::new((0..vcpus / 2).collect(), memory(0)),
        NumaNode::new((vcpus / 2..vcpus).collect(), memory(half)),
        NumaNode::default(),
    ]);
    machine.numa = Some(numa.with_distance(0, 1, 16).with_distance(2, 0, 254));
    machine
}
