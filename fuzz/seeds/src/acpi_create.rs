//! Machines for `acpi_create`: a head with memory, CPUs, devices and the address of the tables, then virtio-mmio slots, NUMA nodes and a topology.

use crate::seed::Seed;

/// PCs with and without devices, with many CPUs, with slots, with NUMA nodes, and with a topology.
pub(crate) fn seeds() -> Vec<Seed> {
    /// 1 GiB of RAM: architecture, size, and how many bits it is shifted to the right.
    const GIB: [u8; 10] = [0, 0, 0, 0, 0x40, 0, 0, 0, 0, 0];
    /// COM1 with interrupt 4, a sleep control register, a reset register, no keyboard controller, a clock; tables at 0xe0000.
    const DEVICES: [u8; 14] = [1, 0xf8, 0x03, 4, 1, 0x00, 0x06, 1, 0x64, 0, 0xfe, 0, 1, 0xe0];
    /// None of them.
    const BARE: [u8; 6] = [0, 0, 0, 0, 0, 0xe0];
    /// A slot at 0xd0000000 with 0x1000 bytes and the level-triggered interrupt 5.
    const SLOT: [u8; 19] = [0, 0, 0, 0xd0, 0, 0, 0, 0, 0, 0, 0x10, 0, 0, 0, 5, 0, 0, 0, 0];
    /// No slots; two NUMA nodes with every second CPU of four, the first with 512 MiB, and their distance.
    const NUMA: [u8; 15] = [0, 0, 1, 1, 0, 0, 0, 0, 0, 0, 0x20, 1, 0, 1, 33];
    /// No slots and no NUMA nodes; two sockets of one core of two threads, with caches of level 1 for data and of level 2 for each cluster.
    const TOPOLOGY: [u8; 19] = [0, 0, 0, 1, 2, 1, 2, 0, 1, 6, 8, 4, 0, 1, 1, 6, 8, 8, 0];
    let pc = |cpus: &[u8], devices: &[u8], slots: &[u8]| [&GIB, cpus, devices, slots].concat();
    let slots = |repeat: u8, count: usize| {
        let count_byte = u8::try_from(count).unwrap_or(0);
        [&[repeat, count_byte], SLOT.repeat(count).as_slice()].concat()
    };
    vec![
        ("bare", pc(&[1], &BARE, &[])),
        ("devices", pc(&[4], &DEVICES, &slots(0, 2))),
        ("numa", pc(&[4], &DEVICES, &NUMA)),
        ("topology", pc(&[4], &DEVICES, &TOPOLOGY)),
        ("x2apic", pc(&[0xfe, 0x2c, 0x01], &DEVICES, &[])),
        ("many-slots", pc(&[2], &DEVICES, &slots(255, 16))),
        ("too-many-cpus", pc(&[0xff, 0xff, 0xff, 0xff, 0xff], &BARE, &[])),
    ]
}
