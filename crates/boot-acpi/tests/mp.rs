//! MP tables read by a parser of its own, as Linux finds and reads them (`arch/x86/kernel/mpparse.c`).

use std::num::NonZeroU32;

use boot_acpi::{AcpiError, MpTables, Pc};
use boot_core::machine::{Interrupt, Line, VirtioMmio};
use boot_core::{Arch, GuestMemory as _, GuestRange, Machine, MemoryMap, RegionKind, SliceMemory};

/// A PC with virtio-mmio slots at the interrupts from 5 on.
fn machine(vcpus: u32, slots: u32) -> Machine {
    let mut machine = Machine::new(Arch::X86_64, MemoryMap::pc(64 << 20).unwrap());
    machine.vcpus = NonZeroU32::new(vcpus).unwrap();
    machine.platform.virtio_mmio = (0..slots).map(|n| slot(Line::Gsi(5 + n))).collect();
    machine
}

fn slot(line: Line) -> VirtioMmio {
    let range = GuestRange::new(0xd000_0000, 0x1000).unwrap();
    VirtioMmio::new(range, Interrupt::level(line))
}

/// What the tables have.
#[derive(Debug, Default, PartialEq)]
struct Found {
    local_apic: u32,
    /// APIC identifiers of enabled processors, and the bootstrap processor.
    processors: Vec<u8>,
    bootstrap: Vec<u8>,
    /// Identifier and address.
    io_apics: Vec<(u8, u32)>,
    /// Flags, ISA interrupt and input of the I/O APIC.
    interrupts: Vec<(u16, u8, u8)>,
    /// Type and input of the local interrupts of all APICs.
    local: Vec<(u8, u8)>,
}

fn sum(bytes: &[u8]) -> u8 {
    bytes.iter().fold(0, |sum, byte| sum.wrapping_add(*byte))
}

/// Looks for the pointer at multiples of 16 in the last KiB of 640 KiB, and reads the table.
fn read(memory: &SliceMemory<'_>) -> Found {
    let bytes = |addr: u64, len: usize| {
        let mut bytes = vec![0; len];
        memory.read(addr, &mut bytes).map(|()| bytes)
    };
    let pointer = (0x9_fc00..0xa_0000)
        .step_by(16)
        .filter_map(|addr| bytes(addr, 16).ok())
        .find(|pointer| pointer.starts_with(b"_MP_"))
        .expect("a floating pointer");
    assert_eq!((pointer[8], pointer[9], sum(&pointer)), (1, 4, 0));
    // A configuration table, virtual wire mode.
    assert_eq!(pointer[11..], [0; 5]);
    let le16 = |bytes: &[u8], at: usize| u16::from_le_bytes([bytes[at], bytes[at + 1]]);
    let le32 = |bytes: &[u8], at: usize| u32::from_le_bytes(bytes[at..at + 4].try_into().unwrap());
    let table = u64::from(le32(&pointer, 4));
    let header = bytes(table, 44).unwrap();
    assert_eq!((&header[..4], header[6]), (&b"PCMP"[..], 4));
    let all = bytes(table, le16(&header, 4).into()).unwrap();
    assert_eq!(sum(&all), 0);
    let mut found = Found {
        local_apic: le32(&header, 36),
        ..Found::default()
    };
    let (mut entries, mut before, mut count) = (&all[44..], 0, 0);
    let (mut buses, mut wired_to) = (Vec::new(), Vec::new());
    while let Some(kind) = entries.first().copied() {
        assert!(kind >= before, "entries in the order of their types");
        let (entry, rest) = entries.split_at(if kind == 0 { 20 } else { 8 });
        match kind {
            0 => {
                // An integrated APIC, enabled.
                assert_eq!((entry[2] & 0xf0, entry[3] & 1), (0x10, 1));
                found.processors.push(entry[1]);
                found.bootstrap.extend((entry[3] & 2 != 0).then_some(entry[1]));
            }
            1 => buses.push((entry[1], entry[2..8].to_vec())),
            2 => {
                assert_eq!(entry[3], 1);
                found.io_apics.push((entry[1], le32(entry, 4)));
            }
            3 => {
                assert_eq!((entry[1], entry[4]), (0, 0), "an interrupt of the bus 0");
                wired_to.push(entry[6]);
                found.interrupts.push((le16(entry, 2), entry[5], entry[7]));
            }
            4 => {
                assert_eq!((le16(entry, 2), entry[4], entry[5], entry[6]), (0, 0, 0, 0xff));
                found.local.push((entry[1], entry[7]));
            }
            kind => panic!("{kind}"),
        }
        (entries, before, count) = (rest, kind, count + 1);
    }
    assert_eq!(le16(&header, 34), count);
    assert_eq!(buses, [(0, b"ISA   ".to_vec())]);
    let (io_apic, _) = found.io_apics[0];
    assert!(wired_to.iter().all(|apic| *apic == io_apic));
    found
}

fn check(machine: &Machine, level: &[u8], edge: &[u8]) {
    let pc = Pc::default();
    let tables = MpTables::new(machine, &pc).unwrap();
    assert!(machine.memory.is_ram(tables.range()));
    let mut bytes = tables.bytes().to_vec();
    let mut memory = SliceMemory::new();
    memory.add(tables.range().start(), &mut bytes).unwrap();
    let found = read(&memory);
    let vcpus = u8::try_from(machine.vcpus.get()).unwrap();
    let io_apic = if vcpus == 255 { 0 } else { vcpus };
    let flags = |irq| match irq {
        _ if level.contains(&irq) => 0b1101,
        _ if edge.contains(&irq) => 0b0101,
        _ => 0,
    };
    let interrupts = (0..16).filter(|irq| *irq != 2).map(|irq| (flags(irq), irq, irq));
    let expected = Found {
        local_apic: pc.local_apic,
        processors: (0..vcpus).collect(),
        bootstrap: vec![0],
        io_apics: vec![(io_apic, pc.io_apic)],
        interrupts: interrupts.collect(),
        // The external interrupt controller at LINT0, NMIs at LINT1.
        local: vec![(3, 0), (1, 1)],
    };
    assert_eq!(found, expected);
}

#[test]
fn mp_tables_have_the_processors_and_interrupts_of_the_machine() {
    for vcpus in [1, 2, 254, 255] {
        check(&machine(vcpus, 0), &[], &[]);
    }
    let mut slots = machine(4, 3);
    check(&slots, &[5, 6, 7], &[]);
    slots.platform.virtio_mmio[1].interrupt = Interrupt::edge(Line::Gsi(15));
    check(&slots, &[5, 7], &[15]);
}

#[test]
fn machines_that_mp_tables_cannot_describe_are_refused() {
    let refused = |machine: &Machine, expected: &str| {
        let error = MpTables::new(machine, &Pc::default()).unwrap_err();
        assert_eq!(error.to_string(), expected);
    };
    refused(
        &machine(256, 0),
        "the machine has 256 CPUs, but its tables can have 255",
    );
    let most = NonZeroU32::new(u32::MAX).unwrap();
    let mut many = machine(1, 0);
    many.vcpus = most;
    assert_eq!(
        MpTables::new(&many, &Pc::default()),
        Err(AcpiError::TooManyCpus {
            found: u32::MAX,
            max: 255
        })
    );
    refused(
        &Machine::new(Arch::Aarch64, MemoryMap::new()),
        "MP tables describe a PC, not a machine of the architecture aarch64",
    );
    for line in [Line::Gsi(2), Line::Gsi(16), Line::Gsi(u32::MAX), Line::Spi(5)] {
        let mut wrong = machine(1, 0);
        wrong.platform.virtio_mmio = vec![slot(line)];
        refused(
            &wrong,
            &format!(
                "the virtio-mmio slot at 0xd0000000..0xd0001000 has {line}, expected a global system interrupt of an \
                 ISA bus, 0 to 15 except 2"
            ),
        );
    }
    let mut memory = MemoryMap::new();
    for range in [(0, 0x9_fc00), (0x10_0000, 64 << 20)] {
        let range = GuestRange::from_bounds(range.0, range.1).unwrap();
        memory.insert(range, RegionKind::Ram).unwrap();
    }
    let mut short = machine(1, 0);
    short.memory = memory;
    refused(
        &short,
        "the machine has no RAM at 0x9fb20..0x9fc10, the end of base memory, where guests look for MP tables",
    );
}
