//! Machines made of arbitrary bytes, and what another implementation has to find in their tables.

mod pptt;

use std::num::NonZeroU32;

use boot_acpi::{AcpiTables, Pc, ResetPort, SerialPort};
use boot_core::machine::{
    Aplic, Arm64Cpu, Arm64Timer, Cache, CacheScope, Cpus, GicV2, GicV2m, GicV3, Imsic, Interrupt,
    InterruptController, Isa, Line, MmuType, Numa, NumaNode, PciHost, PciSpace, PciWindow, Plic, Psci,
    PsciMethod, PsciVersion, RiscvCpus, RiscvHart, Serial, SerialKind, Topology, VirtioMmio,
};
use boot_core::{Arch, GuestRange, Machine, MemoryMap, SliceMemory};
use fw_acpi::{Acpi, Namespace, Power, Signature, SoftOff};

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

/// A line, mostly of the kind that the machine has.
fn line(bytes: &mut Bytes<'_>, arch: Arch) -> Line {
    match (bytes.u8(), arch) {
        (0xff, _) => Line::Ppi(bytes.number()),
        (0xfe, _) => Line::Spi(bytes.u32()),
        (small, Arch::Aarch64) => Line::Spi(small.into()),
        (small, Arch::Riscv64) => Line::Source(small.into()),
        _ => Line::Gsi(bytes.u32()),
    }
}

/// Registers anywhere.
fn registers(bytes: &mut Bytes<'_>) -> GuestRange {
    let (start, len) = (bytes.u64() >> (bytes.u8() & 63), bytes.u32());
    GuestRange::new(start, len.into()).unwrap_or(GuestRange::EMPTY)
}

fn interrupt(bytes: &mut Bytes<'_>, arch: Arch) -> Interrupt {
    let line = line(bytes, arch);
    if bytes.flag() {
        Interrupt::edge(line)
    } else {
        Interrupt::level(line)
    }
}

fn slots(bytes: &mut Bytes<'_>, arch: Arch) -> Vec<VirtioMmio> {
    let repeat = usize::from(bytes.u8()) + 1;
    let mut slots = Vec::new();
    for _ in 0..bytes.u8() & 0x1f {
        let slot = VirtioMmio::new(registers(bytes), interrupt(bytes, arch));
        slots.resize(slots.len() + repeat, slot);
    }
    slots
}

/// The CPUs of an arm64 or riscv64 machine: as many as it has, or nearly.
fn cpus(bytes: &mut Bytes<'_>, arch: Arch, vcpus: u32) -> Cpus {
    // More than the tables can have are refused before they are looked at.
    let described = if vcpus > 4096 { 0 } else { vcpus };
    let count = described + u32::from(bytes.u8() == 0xff);
    let first = bytes.number();
    let id = |n| u64::from(first) + u64::from(n);
    if arch == Arch::Aarch64 {
        return Cpus::Arm64((0..count).map(|n| Arm64Cpu::new(id(n))).collect());
    }
    let isas = [
        Isa::rv64gc(),
        Isa::new(["i", "zicbom", "zicboz"]).unwrap(),
        Isa::new(["i"]).unwrap(),
    ];
    let mmus = [MmuType::None, MmuType::Sv39, MmuType::Sv48, MmuType::Sv57];
    let kind = usize::from(bytes.u8());
    let hart = |n: u32| {
        let which = (n as usize + kind) % 5;
        let hart = RiscvHart::new(id(n), isas[which % 3].clone());
        let hart = hart.with_mmu(mmus[which % 4]);
        if which % 3 == 1 {
            hart.with_cbom_block_size(64).with_cboz_block_size(128)
        } else {
            hart
        }
    };
    Cpus::Riscv64(RiscvCpus::new(bytes.u32(), (0..count).map(hart).collect()))
}

fn controller(bytes: &mut Bytes<'_>, arch: Arch) -> InterruptController {
    let kind = match (bytes.u8(), arch) {
        (0xff, _) => return InterruptController::Unspecified,
        (0xfe, _) => 1,
        (kind, Arch::Aarch64) => kind % 2,
        (kind, _) => 2 + kind % 2,
    };
    match kind {
        0 => {
            let v2m = bytes.option(|bytes| GicV2m::new(registers(bytes), bytes.number(), bytes.number()));
            InterruptController::GicV2(GicV2::new(registers(bytes), registers(bytes)).with_v2m(v2m))
        }
        1 => {
            let regions = (0..bytes.u8() & 3).map(|_| registers(bytes)).collect();
            let its = bytes.option(registers);
            InterruptController::GicV3(GicV3::new(registers(bytes), regions).with_its(its))
        }
        2 => InterruptController::Plic(Plic::new(registers(bytes), bytes.number() << 6)),
        _ => {
            let imsic = bytes.option(|bytes| {
                let imsic = Imsic::new(registers(bytes), bytes.number() << 6 | 63);
                imsic
                    .with_guest_index_bits(bytes.number())
                    .with_hart_index_bits(bytes.option(Bytes::number))
            });
            let aplic = Aplic::new(registers(bytes), bytes.number() << 6);
            InterruptController::Aplic(aplic.with_imsic(imsic))
        }
    }
}

fn serial(bytes: &mut Bytes<'_>, arch: Arch) -> Serial {
    let kind = match bytes.u8() & 3 {
        0 => SerialKind::Pl011,
        1 => SerialKind::Ns16550a {
            reg_shift: bytes.number(),
            reg_io_width: bytes.number(),
        },
        _ => SerialKind::NS16550A,
    };
    let interrupt = bytes.option(|bytes| interrupt(bytes, arch));
    Serial::new(kind, registers(bytes), bytes.u32()).with_interrupt(interrupt)
}

fn pci(bytes: &mut Bytes<'_>, arch: Arch) -> PciHost {
    let buses = u64::from(bytes.number()) << 20 | u64::from(bytes.u8() == 0xff);
    let ecam = GuestRange::new(u64::from(bytes.u32()) << 12, buses).unwrap_or(GuestRange::EMPTY);
    let spaces = [PciSpace::Io, PciSpace::Memory32, PciSpace::Memory64];
    let windows = (0..bytes.u8() & 3).map(|_| {
        let space = spaces[usize::from(bytes.u8() % 3)];
        let addr = bytes.u64() >> (bytes.u8() & 63);
        PciWindow::new(space, registers(bytes), addr)
    });
    let windows = windows.collect();
    let intx = bytes.option(|bytes| [(); 4].map(|()| interrupt(bytes, arch)));
    PciHost::new(ecam, windows).with_intx(intx).with_msi(bytes.flag())
}

/// The hardware of an arm64 or riscv64 machine.
fn platform(bytes: &mut Bytes<'_>, machine: &mut Machine) {
    let arch = machine.arch;
    let platform = &mut machine.platform;
    platform.cpus = cpus(bytes, arch, machine.vcpus.get());
    platform.interrupt_controller = controller(bytes, arch);
    platform.timer = (bytes.u8() != 0xff).then_some(Arm64Timer::STANDARD);
    if let Some(timer) = &mut platform.timer
        && bytes.u8() == 0xff
    {
        timer.physical = interrupt(bytes, arch);
    }
    let method = [PsciMethod::Hvc, PsciMethod::Smc][usize::from(bytes.u8() & 1)];
    platform.psci = (bytes.u8() != 0xff).then_some(Psci::new(method, PsciVersion::V1_0));
    platform.pci = bytes.option(|bytes| pci(bytes, arch));
    platform.serial = (0..bytes.u8() & 3).map(|_| serial(bytes, arch)).collect();
}

/// Nodes that fit the machine, unless its CPUs are many, or arbitrary ones.
fn numa(bytes: &mut Bytes<'_>, machine: &Machine) -> Numa {
    let count = usize::from(bytes.u8() & 0x1f) + 1;
    let is_arbitrary = bytes.u8() == 0xff;
    let mut nodes = vec![NumaNode::default(); count];
    for (cpu, next) in (0..machine.vcpus.get().min(AcpiTables::MAX_VCPUS)).zip(0_usize..) {
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

/// A topology with the CPUs of the machine, or nearly, and arbitrary caches.
fn topology(bytes: &mut Bytes<'_>, vcpus: NonZeroU32) -> Topology {
    let mut rest = vcpus.get();
    let mut level = || {
        let count = u32::from(bytes.u8()).max(1);
        if rest.is_multiple_of(count) {
            rest /= count;
            return NonZeroU32::new(count).unwrap();
        }
        NonZeroU32::MIN
    };
    let (sockets, clusters, threads) = (level(), level(), level());
    let cores = NonZeroU32::new(rest).unwrap();
    let wrong = u32::from(bytes.u8() == 0xff);
    let mut topology = Topology::new(sockets, cores.saturating_add(wrong), threads).with_clusters(clusters);
    let scopes = [CacheScope::Core, CacheScope::Cluster, CacheScope::Socket];
    let cache = |bytes: &mut Bytes<'_>, is_shared| {
        let scope = if is_shared { bytes.u8() } else { 0 };
        let (line_size, sets) = (1 << (bytes.u8() & 31), bytes.number());
        let ways = bytes.number();
        let size = ways.wrapping_mul(sets).wrapping_mul(line_size);
        Cache::new(size, line_size, sets).with_scope(scopes[usize::from(scope % 3)])
    };
    let mut option = |is_shared| bytes.option(|bytes| cache(bytes, is_shared));
    let caches = &mut topology.caches;
    caches.l1d = option(false);
    caches.l1i = option(false);
    caches.l2 = option(true);
    caches.l3 = option(true);
    topology
}

/// The tables for the machine and the address that `data` describes are refused with a message, or right.
pub(crate) fn check(data: &[u8]) {
    let bytes = &mut Bytes(data);
    let arch = match bytes.u8() {
        0x80.. => Arch::Aarch64,
        0x40.. => Arch::Riscv64,
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
    machine.platform.virtio_mmio = slots(bytes, arch);
    if arch != Arch::X86_64 {
        // A machine with thousands of CPUs takes most of the memory of a fuzzer; other tests have it.
        if (600..=4096).contains(&machine.vcpus.get()) {
            machine.vcpus = NonZeroU32::new(600).unwrap();
        }
        platform(bytes, &mut machine);
    }
    machine.numa = bytes.option(|bytes| numa(bytes, &machine));
    machine.topology = bytes.option(|bytes| topology(bytes, machine.vcpus));
    match AcpiTables::new(&machine, &pc, addr) {
        Ok(tables) => check_tables(&machine, &pc, &tables),
        Err(error) => assert!(!error.to_string().is_empty()),
    }
    if let Ok(tables) = AcpiTables::at_end_of_ram(&machine, &pc) {
        assert!(machine.memory.is_ram(tables.range()), "{}", tables.range());
        check_tables(&machine, &pc, &tables);
    }
}

/// Reads the tables with `fw-acpi`.
pub(crate) fn check_tables(machine: &Machine, pc: &Pc, tables: &AcpiTables) {
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
    check_slots(machine, &namespace);
    let power = Power::new(&fadt, &namespace);
    if machine.arch == Arch::X86_64 {
        check_pc(pc, &namespace, &power);
    } else {
        assert_eq!((power.reset, power.soft_off.is_none()), (None, true));
        check_devices(machine, &namespace);
    }
    let table = |signature| acpi.table(&memory, Signature(signature)).unwrap();
    let madt = table(*b"APIC").unwrap();
    let spcr = table(*b"SPCR");
    match (&machine.platform.cpus, machine.arch) {
        (_, Arch::X86_64) => {
            check_madt(machine, &madt);
            match (pc.serial, spcr) {
                (Some(port), Some(spcr)) => check_spcr(port, &spcr),
                (None, None) => {}
                (port, found) => panic!("{found:?} for {port:?}"),
            }
        }
        (Cpus::Arm64(cpus), _) => {
            check_gic(&machine.platform.interrupt_controller, cpus, &madt);
            check_gtdt(&machine.platform.timer.unwrap(), &table(*b"GTDT").unwrap());
            check_console(machine, spcr.as_deref());
        }
        (Cpus::Riscv64(cpus), _) => {
            check_harts(&machine.platform.interrupt_controller, &cpus.harts, &madt);
            check_rhct(cpus, &table(*b"RHCT").unwrap());
            check_console(machine, spcr.as_deref());
        }
        (cpus, arch) => panic!("{arch} {cpus:?}"),
    }
    match (&machine.platform.pci, table(*b"MCFG")) {
        (Some(host), Some(mcfg)) => {
            assert_eq!((mcfg.len(), le64(&mcfg, 44)), (60, host.ecam.start()));
            assert_eq!((u64::from(mcfg[55]) + 1) << 20, host.ecam.len());
        }
        (None, None) => {}
        (host, found) => panic!("{found:?} for {host:?}"),
    }
    match (&machine.topology, table(*b"PPTT")) {
        (Some(topology), Some(pptt)) => pptt::check(machine, topology, &pptt),
        (None, None) => {}
        (topology, found) => panic!("{found:?} for {topology:?}"),
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

/// The interrupt of a device as the tables number it.
fn gsi(machine: &Machine, interrupt: Interrupt) -> u32 {
    match (machine.arch, interrupt.line) {
        (Arch::X86_64, Line::Gsi(gsi)) => gsi,
        (Arch::Aarch64, Line::Spi(spi)) => 32 + spi,
        (Arch::Riscv64, Line::Source(source)) => source,
        (arch, line) => panic!("{line:?} is described for {arch}"),
    }
}

/// Most devices that `fw-acpi` finds.
fn limit(machine: &Machine, before: usize) -> usize {
    let is_controller = matches!(
        machine.platform.interrupt_controller,
        InterruptController::Plic(_) | InterruptController::Aplic(_)
    );
    let is_pc = machine.arch == Arch::X86_64;
    let is_first = usize::from(is_controller && !is_pc);
    // The host and its configuration space.
    let of_pci = if is_pc || machine.platform.pci.is_none() {
        0
    } else {
        2
    };
    fw_acpi::aml::MAX_DEVICES.saturating_sub(before + is_first + of_pci)
}

fn check_slots(machine: &Machine, namespace: &Namespace) {
    let found: Vec<_> = namespace
        .devices_with_id("LNRO0005")
        .map(|slot| {
            let memory = slot.memory.iter().map(|range| (range.addr, range.len));
            (memory.collect::<Vec<_>>(), slot.interrupts.clone())
        })
        .collect();
    let slots = &machine.platform.virtio_mmio;
    let serial = match machine.arch {
        Arch::X86_64 => namespace.devices_with_id("PNP0501").count(),
        _ => machine.platform.serial.len(),
    };
    assert_eq!(found.len(), slots.len().min(limit(machine, serial)));
    for (found, slot) in found.iter().zip(slots) {
        let gsi = gsi(machine, slot.interrupt);
        let expected = (vec![(slot.range.start(), slot.range.len())], vec![gsi]);
        assert_eq!(*found, expected);
    }
}

fn check_pc(pc: &Pc, namespace: &Namespace, power: &Power) {
    let serial = namespace.devices_with_id("PNP0501").next();
    assert_eq!(
        serial.map(|serial| (serial.ports.clone(), serial.interrupts.clone())),
        pc.serial.map(|serial| (vec![(serial.port, 8)], vec![serial.gsi]))
    );
    assert_eq!(
        power.reset.map(|reset| (reset.register.addr, reset.value)),
        pc.reset.map(|reset| (reset.port.into(), reset.value))
    );
    let control = power.soft_off.map(|off| match off {
        SoftOff::SleepControl { register, .. } => register.addr,
        SoftOff::Pm1 { .. } => panic!("{off:?} on hardware-reduced ACPI"),
    });
    assert_eq!(control, pc.sleep_control.map(u64::from));
}

/// The serial ports and CPUs of an arm64 or riscv64 machine.
fn check_devices(machine: &Machine, namespace: &Namespace) {
    let platform = &machine.platform;
    let ports = |hid: &'static str| {
        let devices = namespace.devices_with_id(hid);
        devices.map(|port| {
            let memory = port.memory.iter().map(|range| (range.addr, range.len));
            (memory.collect::<Vec<_>>(), port.interrupts.clone())
        })
    };
    let mut found: Vec<_> = ["ARMH0011", "PNP0501", "RSCV0003"]
        .into_iter()
        .flat_map(ports)
        .collect();
    let mut expected: Vec<_> = platform
        .serial
        .iter()
        .map(|port| {
            let interrupt = port.interrupt.map(|interrupt| gsi(machine, interrupt));
            let memory = vec![(port.range.start(), port.range.len())];
            (memory, interrupt.into_iter().collect::<Vec<_>>())
        })
        .collect();
    found.sort_unstable();
    expected.sort_unstable();
    assert_eq!(found, expected);
    let others = platform.serial.len() + platform.virtio_mmio.len();
    let cpus: Vec<_> = namespace
        .devices_with_id("ACPI0007")
        .map(|cpu| cpu.unique_id)
        .collect();
    let vcpus = machine.vcpus.get() as usize;
    assert_eq!(cpus.len(), vcpus.min(limit(machine, others)));
    assert!(cpus.iter().zip(0..).all(|(uid, index)| *uid == Some(index)));
}

/// ACPI 6.4, sections 5.2.12.14 to 5.2.12.18.
fn check_gic(controller: &InterruptController, cpus: &[Arm64Cpu], madt: &[u8]) {
    let structures = structures(madt, 44);
    let of_kind = |kind: u8| {
        let structures = structures.iter();
        structures
            .filter(move |(found, _)| *found == kind)
            .map(|(_, bytes)| bytes.as_slice())
    };
    assert_eq!(of_kind(0xb).count(), cpus.len());
    let interface = match controller {
        InterruptController::GicV2(gic) => gic.cpu_interface.start(),
        _ => 0,
    };
    for (uid, (cpu, gicc)) in (0..).zip(cpus.iter().zip(of_kind(0xb))) {
        assert_eq!((gicc.len(), le32(gicc, 8), le32(gicc, 12)), (80, uid, 1));
        assert_eq!((le64(gicc, 32), le64(gicc, 68)), (interface, cpu.affinity()));
    }
    let distributors: Vec<_> = of_kind(0xc).map(|gicd| (le64(gicd, 8), gicd[20])).collect();
    let frames: Vec<_> = of_kind(0xd)
        .map(|frame| (le64(frame, 8), le32(frame, 20)))
        .collect();
    let regions: Vec<_> = of_kind(0xe)
        .map(|gicr| (le64(gicr, 4), u64::from(le32(gicr, 12))))
        .collect();
    let its: Vec<_> = of_kind(0xf).map(|its| le64(its, 8)).collect();
    match controller {
        InterruptController::GicV2(gic) => {
            assert_eq!(distributors, [(gic.distributor.start(), 2)]);
            let frame = gic.v2m.as_ref();
            let frame = frame.map(|v2m| (v2m.frame.start(), (32 + v2m.first_spi) << 16 | v2m.spis));
            assert_eq!(
                (frames, regions, its),
                (frame.into_iter().collect(), vec![], vec![])
            );
        }
        InterruptController::GicV3(gic) => {
            assert_eq!(distributors, [(gic.distributor.start(), 3)]);
            let expected = gic.redistributors.iter();
            let expected: Vec<_> = expected.map(|at| (at.start(), at.len())).collect();
            let expected_its = gic.its.map(GuestRange::start).into_iter().collect();
            assert_eq!((frames, regions, its), (vec![], expected, expected_its));
        }
        other => panic!("{other:?}"),
    }
}

/// ACPI 6.5, section 5.2.25.
fn check_gtdt(timer: &Arm64Timer, gtdt: &[u8]) {
    assert_eq!(gtdt.len(), 96);
    let timers = [
        timer.secure_physical,
        timer.physical,
        timer.virtual_timer,
        timer.hypervisor,
    ];
    for (at, interrupt) in (48..).step_by(8).zip(timers) {
        let Line::Ppi(ppi) = interrupt.line else {
            panic!("{:?} is described", interrupt.line);
        };
        let is_edge = u32::from(interrupt == Interrupt::edge(interrupt.line));
        assert_eq!((le32(gtdt, at), le32(gtdt, at + 4)), (16 + ppi, 4 | is_edge));
    }
}

/// The RISC-V structures of the MADT.
fn check_harts(controller: &InterruptController, harts: &[RiscvHart], madt: &[u8]) {
    let structures = structures(madt, 44);
    let kinds: Vec<_> = structures
        .iter()
        .skip(harts.len())
        .map(|(kind, _)| *kind)
        .collect();
    let (expected, imsic): (&[u8], _) = match controller {
        InterruptController::Plic(_) => (&[0x1b], None),
        InterruptController::Aplic(Aplic { imsic: None, .. }) => (&[0x1a], None),
        InterruptController::Aplic(aplic) => (&[0x19, 0x1a], aplic.imsic.as_ref()),
        other => panic!("{other:?}"),
    };
    assert_eq!(kinds, expected);
    for (uid, (hart, (kind, rintc))) in (0..).zip(harts.iter().zip(&structures)) {
        assert_eq!((*kind, rintc.len(), le32(rintc, 4)), (0x18, 36, 1));
        assert_eq!((le64(rintc, 8), le32(rintc, 16)), (hart.hart_id, uid));
        let (context, files) = (le32(rintc, 20), (le64(rintc, 24), le32(rintc, 32)));
        match imsic {
            Some(imsic) => {
                let len = 0x1000 << imsic.guest_index_bits;
                let start = imsic.range.start() + u64::from(uid) * u64::from(len);
                assert_eq!((context, files), (0, (start, len)));
            }
            None => assert_eq!((context, files), (uid, (0, 0))),
        }
    }
    let of_kind = |kind: u8| {
        let found = structures.iter().find(|(found, _)| *found == kind);
        found.map(|(_, bytes)| bytes.as_slice()).unwrap()
    };
    match controller {
        InterruptController::Plic(plic) => {
            let found = of_kind(0x1b);
            assert_eq!(le32(found, 12) & 0xffff, plic.sources);
            let range = (le64(found, 24), u64::from(le32(found, 20)));
            assert_eq!(range, (plic.range.start(), plic.range.len()));
        }
        InterruptController::Aplic(aplic) => {
            let found = of_kind(0x1a);
            let idcs = if imsic.is_some() {
                0
            } else {
                harts.len().try_into().unwrap()
            };
            assert_eq!(le32(found, 16), aplic.sources << 16 | idcs);
            let range = (le64(found, 24), u64::from(le32(found, 32)));
            assert_eq!(range, (aplic.range.start(), aplic.range.len()));
        }
        _ => {}
    }
}

/// ACPI 6.6, section 5.2.37: every hart refers to its instruction set, and to its cache blocks and translation mode if it has them.
fn check_rhct(cpus: &RiscvCpus, rhct: &[u8]) {
    assert_eq!(le64(rhct, 40), cpus.timebase_frequency.into());
    let (count, mut at) = (le32(rhct, 48), le32(rhct, 52) as usize);
    let le16 = |at: usize| u16::from_le_bytes([rhct[at], rhct[at + 1]]);
    let mut harts = cpus.harts.iter().zip(0..);
    for _ in 0..count {
        if le16(at) == 0xffff {
            let (hart, uid) = harts.next().unwrap();
            assert_eq!(le32(rhct, at + 8), uid);
            let offsets: Vec<_> = (0..le16(at + 6).into())
                .map(|index: usize| le32(rhct, at + 12 + 4 * index) as usize)
                .collect();
            let isa = offsets[0];
            let len = usize::from(le16(isa + 6));
            assert_eq!(le16(isa), 0);
            assert_eq!(rhct[isa + 8..][..len], *format!("{}\0", hart.isa).as_bytes());
            let blocks = hart.cbom_block_size.is_some().then_some([0, 6, 0, 7].as_slice());
            let mmu: Option<&[u8]> = match hart.mmu {
                MmuType::Sv39 => Some(&[0, 0]),
                MmuType::Sv48 => Some(&[0, 1]),
                MmuType::Sv57 => Some(&[0, 2]),
                _ => None,
            };
            let expected: Vec<_> = blocks.into_iter().chain(mmu).collect();
            let contents = offsets.iter().skip(1);
            let contents: Vec<_> = contents
                .map(|at| &rhct[at + 6..at + usize::from(le16(at + 2))])
                .collect();
            assert_eq!(contents, expected);
        }
        assert!(le16(at + 2) >= 8);
        at += usize::from(le16(at + 2));
    }
    assert_eq!((at, harts.next()), (rhct.len(), None));
}

/// The first serial port in memory.
fn check_console(machine: &Machine, spcr: Option<&[u8]>) {
    let (port, spcr) = match (machine.platform.serial.first(), spcr) {
        (Some(port), Some(spcr)) => (port, spcr),
        (None, None) => return,
        (port, spcr) => panic!("{spcr:?} for {port:?}"),
    };
    assert_eq!(
        (spcr.len(), spcr[40], le64(spcr, 44)),
        (80, 0, port.range.start())
    );
    assert_eq!(spcr[36] == 3, port.kind == SerialKind::Pl011);
    let interrupt = port.interrupt.map_or(0, |interrupt| gsi(machine, interrupt));
    assert_eq!(le32(spcr, 54), interrupt);
    let kind = match machine.arch {
        _ if port.interrupt.is_none() => 0,
        Arch::Aarch64 => 8,
        _ => 16,
    };
    assert_eq!(spcr[52], kind);
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
            3 => {
                assert_eq!((bytes.len(), le32(&bytes, 10)), (18, 1));
                cpus.push((le32(&bytes, 6), le32(&bytes, 2)));
            }
            7 => {
                assert_eq!((bytes.len(), le32(&bytes, 12)), (20, 1));
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
