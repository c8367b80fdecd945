//! Machines made of arbitrary bytes, and what another implementation has to find in their tables.

use std::num::NonZeroU32;

use boot_acpi::{Pc, PcTables, ResetPort, SerialPort};
use boot_core::machine::{Interrupt, Line, Numa, NumaNode, VirtioMmio};
use boot_core::{Arch, GuestRange, Machine, MemoryMap, SliceMemory};
use fw_acpi::{Acpi, Power, Signature, SoftOff};

/// Bytes that are taken from the front; zeros behind the end.
struct Bytes<'a>(&'a [u8]);

impl Bytes<'_> {
    fn take<const N: usize>(&mut self) -> [u8; N] {
        let len = N.min(self.0.len());
        let (front, rest) = self.0.split_at(len);
        let mut taken = [0; N];
        taken[..len].copy_from_slice(front);
        self.0 = rest;
        taken
    }

    fn u8(&mut self) -> u8 {
        self.take::<1>()[0]
    }

    fn flag(&mut self) -> bool {
        self.u8() & 1 != 0
    }

    fn u16(&mut self) -> u16 {
        u16::from_le_bytes(self.take())
    }

    fn u32(&mut self) -> u32 {
        u32::from_le_bytes(self.take())
    }

    fn u64(&mut self) -> u64 {
        u64::from_le_bytes(self.take())
    }

    /// Something, or nothing.
    fn option<T>(&mut self, take: impl FnOnce(&mut Self) -> T) -> Option<T> {
        self.flag().then(|| take(self))
    }

    /// A number that is often small.
    fn number(&mut self) -> u32 {
        match self.u8() {
            0xff => self.u32(),
            small => (small & 0xf).into(),
        }
    }
}

/// A line of any kind.
fn line(bytes: &mut Bytes<'_>) -> Line {
    match bytes.u8() {
        0xff => Line::Spi(bytes.u32()),
        _ => Line::Gsi(bytes.u32()),
    }
}

fn slots(bytes: &mut Bytes<'_>) -> Vec<VirtioMmio> {
    let repeat = usize::from(bytes.u8()) + 1;
    let mut slots = Vec::new();
    for _ in 0..bytes.u8() & 0x1f {
        let (start, len) = (bytes.u64() >> (bytes.u8() & 63), bytes.u32());
        let (line, is_edge) = (line(bytes), bytes.flag());
        let range = GuestRange::new(start, len.into()).unwrap_or(GuestRange::EMPTY);
        let interrupt = if is_edge {
            Interrupt::edge(line)
        } else {
            Interrupt::level(line)
        };
        slots.resize(slots.len() + repeat, VirtioMmio::new(range, interrupt));
    }
    slots
}

/// Nodes that fit the machine, unless its CPUs are many, or arbitrary ones.
fn numa(bytes: &mut Bytes<'_>, machine: &Machine) -> Numa {
    let count = usize::from(bytes.u8() & 0x1f) + 1;
    let is_arbitrary = bytes.u8() == 0xff;
    let mut nodes = vec![NumaNode::default(); count];
    for (cpu, next) in (0..machine.vcpus.get().min(PcTables::MAX_VCPUS)).zip(0_usize..) {
        // The next node, or one farther by a byte.
        let node = next.wrapping_add(bytes.u8().into()) % count;
        nodes[node].cpus.push(cpu);
    }
    let mut start = 0;
    for (index, node) in nodes.iter_mut().enumerate() {
        let end = if is_arbitrary {
            bytes.u64() >> 24
        } else if index + 1 == count {
            machine.memory.ram_end().unwrap_or(0)
        } else {
            start + (u64::from(bytes.u16()) << 16)
        };
        node.memory.extend(GuestRange::from_bounds(start, end.max(start)));
        start = end.max(start);
    }
    // A node may be without memory, but not have none in a range.
    for node in &mut nodes {
        node.memory.retain(|range| !range.is_empty());
    }
    let mut numa = Numa::new(nodes);
    for _ in 0..bytes.u8() & 0xf {
        numa = numa.with_distance(bytes.number(), bytes.number(), bytes.u8());
    }
    numa
}

/// The tables for the machine and the address that `data` describes are refused with a message, or right.
pub(crate) fn check(data: &[u8]) {
    let bytes = &mut Bytes(data);
    let arch = match bytes.u8() {
        0xff => Arch::Aarch64,
        _ => Arch::X86_64,
    };
    let memory = MemoryMap::pc((bytes.u64() >> (bytes.u8() & 63)).max(1 << 12) & !0xfff);
    let mut machine = Machine::new(arch, memory.unwrap_or_default());
    machine.vcpus = NonZeroU32::new(match bytes.u8() {
        0xff => bytes.u32(),
        0xfe => bytes.u16().into(),
        small => small.into(),
    })
    .unwrap_or(NonZeroU32::MIN);
    let pc = Pc::default()
        .with_serial(bytes.option(|bytes| SerialPort::new(bytes.u16(), bytes.number())))
        .with_sleep_control(bytes.option(Bytes::u16))
        .with_reset(bytes.option(|bytes| ResetPort::new(bytes.u16(), bytes.u8())))
        .with_keyboard_controller(bytes.flag())
        .with_cmos_rtc(bytes.flag());
    let addr = match bytes.u8() {
        0xff => bytes.u64(),
        page => u64::from(page) << 12,
    };
    machine.platform.virtio_mmio = slots(bytes);
    machine.numa = bytes.option(|bytes| numa(bytes, &machine));
    match PcTables::new(&machine, &pc, addr) {
        Ok(tables) => check_tables(&machine, &pc, &tables),
        Err(error) => assert!(!error.to_string().is_empty()),
    }
    if let Ok(tables) = PcTables::at_end_of_ram(&machine, &pc) {
        assert!(machine.memory.is_ram(tables.range()), "{}", tables.range());
        check_tables(&machine, &pc, &tables);
    }
}

/// Reads the tables with `fw-acpi`.
pub(crate) fn check_tables(machine: &Machine, pc: &Pc, tables: &PcTables) {
    let mut bytes = tables.bytes().to_vec();
    let mut memory = SliceMemory::new();
    memory.add(tables.rsdp(), &mut bytes).unwrap();
    let acpi = Acpi::read(&memory, tables.rsdp()).unwrap();
    let fadt = acpi.fadt(&memory).unwrap().unwrap();
    assert!(fadt.is_hardware_reduced());
    let mut ranges = acpi.ranges(&memory, Some(&fadt));
    ranges.sort_by_key(|range| range.start());
    assert!(ranges.iter().all(|range| tables.range().contains(*range)));
    assert!(ranges.windows(2).all(|pair| !pair[0].overlaps(pair[1])));
    for table in acpi.tables() {
        assert!(
            acpi.table(&memory, table.signature).unwrap().is_some(),
            "{table:?}"
        );
    }
    let namespace = acpi.namespace(&memory, Some(&fadt), &mut |error| panic!("{error}"));
    let found: Vec<_> = namespace
        .devices_with_id("LNRO0005")
        .map(|slot| {
            let memory = slot.memory.iter().map(|range| (range.addr, range.len));
            (memory.collect::<Vec<_>>(), slot.interrupts.clone())
        })
        .collect();
    let slots = &machine.platform.virtio_mmio;
    // It has a limit of its own, which the serial port counts for too.
    let limit = fw_acpi::aml::MAX_DEVICES - usize::from(pc.serial.is_some());
    assert_eq!(found.len(), slots.len().min(limit));
    for (found, slot) in found.iter().zip(slots) {
        let Line::Gsi(gsi) = slot.interrupt.line else {
            panic!("{:?} is described", slot.interrupt.line);
        };
        let expected = (vec![(slot.range.start(), slot.range.len())], vec![gsi]);
        assert_eq!(*found, expected);
    }
    let serial = namespace.devices_with_id("PNP0501").next();
    assert_eq!(
        serial.map(|serial| (serial.ports.clone(), serial.interrupts.clone())),
        pc.serial.map(|serial| (vec![(serial.port, 8)], vec![serial.gsi]))
    );
    let power = Power::new(&fadt, &namespace);
    assert_eq!(
        power.reset.map(|reset| (reset.register.addr, reset.value)),
        pc.reset.map(|reset| (reset.port.into(), reset.value))
    );
    let control = power.soft_off.map(|off| match off {
        SoftOff::SleepControl { register, .. } => register.addr,
        SoftOff::Pm1 { .. } => panic!("{off:?} on hardware-reduced ACPI"),
    });
    assert_eq!(control, pc.sleep_control.map(u64::from));
    let table = |signature| acpi.table(&memory, Signature(signature)).unwrap();
    check_madt(machine, &table(*b"APIC").unwrap());
    match (pc.serial, table(*b"SPCR")) {
        (Some(port), Some(spcr)) => check_spcr(port, &spcr),
        (None, None) => {}
        (port, found) => panic!("{found:?} for {port:?}"),
    }
    let found = (table(*b"SRAT"), table(*b"SLIT"));
    match (&machine.numa, found) {
        (Some(numa), (Some(srat), Some(slit))) => {
            check_srat(machine, numa, &srat);
            check_slit(numa, &slit);
        }
        (None, (None, None)) => {}
        (numa, found) => panic!("{found:?} for {numa:?}"),
    }
}

/// The structures behind the `head` bytes of a table: their types and bytes.
pub(crate) fn structures(table: &[u8], head: usize) -> Vec<(u8, Vec<u8>)> {
    let mut rest = &table[head..];
    let mut structures = Vec::new();
    while let [kind, len, ..] = *rest {
        let (structure, behind) = rest.split_at(len.into());
        assert!(len >= 2);
        structures.push((kind, structure.to_vec()));
        rest = behind;
    }
    assert!(rest.is_empty());
    structures
}

/// The identifier of a CPU in a structure of the MADT (ACPI 6.5, sections 5.2.12.2 and 5.2.12.12).
fn apic_id(kind: u8, structure: &[u8]) -> Option<u32> {
    match kind {
        0 => Some(structure[3].into()),
        9 => Some(u32::from_le_bytes(structure[4..8].try_into().unwrap())),
        _ => None,
    }
}

fn check_madt(machine: &Machine, madt: &[u8]) {
    let structures = structures(madt, 44);
    let ids = structures
        .iter()
        .filter_map(|(kind, bytes)| apic_id(*kind, bytes));
    assert!(ids.eq(0..machine.vcpus.get()));
    assert_eq!(structures.iter().filter(|(kind, _)| *kind == 1).count(), 1);
}

fn le32(bytes: &[u8], at: usize) -> u32 {
    u32::from_le_bytes(bytes[at..at + 4].try_into().unwrap())
}

fn le64(bytes: &[u8], at: usize) -> u64 {
    u64::from_le_bytes(bytes[at..at + 8].try_into().unwrap())
}

/// A 16550 with I/O ports and an interrupt of an I/O APIC.
fn check_spcr(port: SerialPort, spcr: &[u8]) {
    assert_eq!(spcr.len(), 80);
    assert_eq!((spcr[36], spcr[40], le64(spcr, 44)), (0, 1, port.port.into()));
    assert_eq!((spcr[52], le32(spcr, 54)), (2, port.gsi));
}

/// ACPI 6.5, section 5.2.16: every CPU and every byte of RAM is in its node.
fn check_srat(machine: &Machine, numa: &Numa, srat: &[u8]) {
    let (mut cpus, mut memory) = (Vec::new(), Vec::new());
    for (kind, bytes) in structures(srat, 48) {
        match kind {
            0 => {
                let domain = u32::from_le_bytes([bytes[2], bytes[9], bytes[10], bytes[11]]);
                assert_eq!(le32(&bytes, 4), 1);
                cpus.push((u32::from(bytes[3]), domain));
            }
            1 => {
                assert_eq!((bytes.len(), le32(&bytes, 28)), (40, 1));
                let range = GuestRange::new(le64(&bytes, 8), le64(&bytes, 16)).unwrap();
                memory.push((range, le32(&bytes, 2)));
            }
            2 => {
                assert_eq!((bytes.len(), le32(&bytes, 12)), (24, 1));
                cpus.push((le32(&bytes, 8), le32(&bytes, 4)));
            }
            _ => panic!("{bytes:?}"),
        }
    }
    assert!(cpus.iter().map(|(cpu, _)| *cpu).eq(0..machine.vcpus.get()));
    for (cpu, domain) in cpus {
        assert!(numa.nodes[domain as usize].cpus.contains(&cpu));
    }
    let mut len = 0;
    for (range, domain) in memory {
        let node = &numa.nodes[domain as usize];
        assert!(node.memory.iter().any(|of_node| of_node.contains(range)));
        assert!(machine.memory.is_ram(range), "{range}");
        len += range.len();
    }
    assert_eq!(len, machine.memory.ram_len());
}

/// ACPI 6.5, section 5.2.17: a matrix that is symmetric, with 10 on its diagonal and more elsewhere.
fn check_slit(numa: &Numa, slit: &[u8]) {
    let (count, matrix) = (numa.nodes.len(), &slit[44..]);
    assert_eq!(le64(slit, 36), count as u64);
    assert_eq!(matrix.len(), count * count);
    let pairs = numa
        .numbered()
        .flat_map(|(a, _)| numa.numbered().map(move |(b, _)| (a, b)));
    for (found, (a, b)) in matrix.iter().zip(pairs) {
        let mut given = numa.distances.iter();
        let given = given.find(|given| given.nodes == [a, b] || given.nodes == [b, a]);
        let expected = match given {
            _ if a == b => 10,
            Some(given) => given.distance,
            None => 20,
        };
        assert_eq!(*found, expected, "{a} {b}");
    }
}
