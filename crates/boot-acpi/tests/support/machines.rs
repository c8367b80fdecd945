//! Machines that the tables describe.

use std::num::NonZeroU32;

use boot_core::machine::Isa;
use boot_core::machine::{
    Cache, CacheScope, Caches, Interrupt, Line, Numa, NumaNode, PciHost, PciSpace, PciWindow, Topology,
    VirtioMmio,
};
use boot_core::{Arch, GuestRange, Machine, MemoryMap};
use hv_core::virt::{self, Gic, RiscvIrqchip};

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

/// The reference machine of arm64 with 64 MiB and one virtio-mmio slot.
pub(crate) fn arm64(vcpus: u32, gic: Gic) -> Machine {
    let vcpus = NonZeroU32::new(vcpus).unwrap();
    let mut machine = virt::arm64_machine(64 << 20, vcpus, gic).unwrap();
    machine.platform.virtio_mmio = virt::virtio_mmio(Arch::Aarch64, 1);
    machine
}

/// The reference machine of riscv64 with 64 MiB and one virtio-mmio slot.
pub(crate) fn riscv64(vcpus: u32, irqchip: RiscvIrqchip) -> Machine {
    let vcpus = NonZeroU32::new(vcpus).unwrap();
    let isa = Isa::rv64gc();
    let mut machine = virt::riscv64_machine(64 << 20, vcpus, &isa, 10_000_000, irqchip).unwrap();
    machine.platform.virtio_mmio = virt::virtio_mmio(Arch::Riscv64, 1);
    machine
}

/// The PC with NUMA nodes.
pub(crate) fn numa_machine(vcpus: u32) -> Machine {
    with_numa(machine(vcpus, 1))
}

/// The same machine with its CPUs and its memory in two nodes and none in a third.
pub(crate) fn with_numa(mut machine: Machine) -> Machine {
    let half = 32 << 20;
    let vcpus = machine.vcpus.get();
    let start = machine.memory.ram().next().unwrap().start();
    let memory = |start| vec![GuestRange::new(start, half).unwrap()];
    let numa = Numa::new(vec![
        NumaNode::new((0..vcpus / 2).collect(), memory(start)),
        NumaNode::new((vcpus / 2..vcpus).collect(), memory(start + half)),
        NumaNode::default(),
    ]);
    machine.numa = Some(numa.with_distance(0, 1, 16).with_distance(2, 0, 254));
    machine
}

/// The same machine with its CPUs in sockets, clusters, cores and threads, and with caches.
pub(crate) fn with_topology(mut machine: Machine, levels: [u32; 4]) -> Machine {
    let [sockets, clusters, cores, threads] = levels.map(|count| NonZeroU32::new(count).unwrap());
    let mut caches = Caches::default();
    caches.l1d = Some(Cache::new(48 << 10, 64, 64));
    caches.l1i = Some(Cache::new(32 << 10, 64, 64));
    caches.l2 = Some(Cache::new(2 << 20, 64, 2048));
    caches.l3 = Some(Cache::new(32 << 20, 64, 0x8000).with_scope(CacheScope::Cluster));
    let topology = Topology::new(sockets, cores, threads).with_clusters(clusters);
    machine.topology = Some(topology.with_caches(caches));
    machine
}

/// A host with windows of all kinds, and interrupts if the machine has these lines.
pub(crate) fn with_pci(mut machine: Machine, line: fn(u32) -> Line) -> Machine {
    let window =
        |space, start, pci_addr| PciWindow::new(space, GuestRange::new(start, 0x1_0000).unwrap(), pci_addr);
    let windows = vec![
        window(PciSpace::Io, 0x3eff_0000, 0),
        window(PciSpace::Memory32, 0x4000_0000, 0x4000_0000),
        window(PciSpace::Memory64, 1 << 40, 1 << 40),
    ];
    let intx = [60, 61, 62, 63].map(|number| Interrupt::level(line(number)));
    let host = PciHost::new(virt::PCI_ECAM, windows)
        .with_intx(intx)
        .with_msi(true);
    machine.platform.pci = Some(host);
    machine
}
