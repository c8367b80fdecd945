//! Tables read by another implementation, `fw-acpi`.

#[path = "support/any_machine.rs"]
mod any_machine;
#[path = "support/machines.rs"]
mod machines;

use std::num::NonZeroU32;

use any_machine::structures;
use boot_acpi::{AcpiError, AcpiTables, Pc, ResetPort, SerialPort};
use boot_core::machine::{
    Aplic, Arm64Cpu, Caches, Cpus, GicV2m, Interrupt, InterruptController, Line, NumaError, SerialKind,
    TopologyError, VirtioMmio,
};
use boot_core::{Arch, GuestRange, Machine, MemoryMap, RegionKind, SliceMemory};
use fw_acpi::{Acpi, AddressSpace, Fadt, MemoryRange, Namespace, Power, Register, Reset, Signature, SoftOff};
use hv_core::virt::{self, Gic, RiscvIrqchip};
use machines::{arm64, machine, numa_machine, riscv64, slot, with_numa, with_pci, with_topology};
use proptest::prelude::*;

const BASE: u64 = 0xe_0000;

fn memory_at(addr: u64, bytes: &mut [u8]) -> SliceMemory<'_> {
    let mut memory = SliceMemory::new();
    memory.add(addr, bytes).unwrap();
    memory
}

/// What the tables of `machine` and `pc` tell.
struct Found {
    memory: Vec<u8>,
    acpi: Acpi,
    namespace: Namespace,
    power: Power,
}

fn namespace(acpi: &Acpi, memory: &SliceMemory<'_>, fadt: &Fadt) -> Namespace {
    acpi.namespace(memory, Some(fadt), &mut |error| panic!("{error}"))
}

fn read(machine: &Machine, pc: &Pc) -> Found {
    let tables = AcpiTables::new(machine, pc, BASE).unwrap();
    assert_eq!(tables.rsdp(), BASE);
    let mut bytes = tables.bytes().to_vec();
    let memory = memory_at(BASE, &mut bytes);
    let acpi = Acpi::read(&memory, BASE).unwrap();
    let fadt = acpi.fadt(&memory).unwrap().unwrap();
    let ranges = acpi.ranges(&memory, Some(&fadt));
    assert!(
        ranges.iter().all(|range| tables.range().contains(*range)),
        "{ranges:?}"
    );
    let namespace = namespace(&acpi, &memory, &fadt);
    let power = Power::new(&fadt, &namespace);
    Found {
        memory: bytes,
        acpi,
        namespace,
        power,
    }
}

/// The structures of the MADT: their types and bytes.
fn madt(found: &mut Found) -> Vec<(u8, Vec<u8>)> {
    let memory = memory_at(BASE, &mut found.memory);
    let signature = Signature(*b"APIC");
    let table = found.acpi.table(&memory, signature).unwrap().unwrap();
    assert_eq!(table[36..40], 0xfee0_0000_u32.to_le_bytes());
    structures(&table, 44)
}

#[test]
fn the_tables_of_a_pc_are_complete() {
    let mut found = read(&machine(4, 2), &Pc::default());
    let signatures: Vec<_> = found
        .acpi
        .tables()
        .iter()
        .map(|table| table.signature.0)
        .collect();
    assert_eq!(signatures, [*b"FACP", *b"APIC", *b"SPCR"]);
    let memory = memory_at(BASE, &mut found.memory);
    let fadt = found.acpi.fadt(&memory).unwrap().unwrap();
    assert!(fadt.is_hardware_reduced());
    // No VGA.
    assert_eq!(fadt.iapc_boot_arch, 1 << 2);
    let port = |addr| Register {
        space: AddressSpace::IO,
        addr,
        width: 1,
    };
    assert_eq!(fadt.sleep_status, Some(port(0x601)));
    assert_eq!(
        found.power.reset,
        Some(Reset {
            register: port(0x64),
            value: 0xfe
        })
    );
    assert_eq!(
        found.power.soft_off,
        Some(SoftOff::SleepControl {
            register: port(0x600),
            // Sleep type 5 and SLP_EN.
            value: 5 << 2 | 1 << 5,
        })
    );
    let mut serial = found.namespace.devices_with_id("PNP0501");
    let port = serial.next().unwrap();
    assert_eq!(
        (port.ports.as_slice(), port.interrupts.as_slice()),
        (&[(0x3f8, 8)][..], &[4][..])
    );
    let slots: Vec<_> = found
        .namespace
        .devices_with_id("LNRO0005")
        .map(|slot| {
            (
                slot.path.clone(),
                slot.unique_id,
                slot.memory.clone(),
                slot.interrupts.clone(),
            )
        })
        .collect();
    let slot = |n: u32| {
        let registers = MemoryRange {
            addr: 0xd000_0000 + u64::from(n) * 0x1000,
            len: 0x1000,
        };
        (
            format!("\\_SB_.V00{n}"),
            Some(n.into()),
            vec![registers],
            vec![5 + n],
        )
    };
    assert_eq!(slots, [slot(0), slot(1)]);
}

#[test]
fn every_cpu_has_an_apic() {
    let check = |vcpus: u32| {
        let structures = madt(&mut read(&machine(vcpus, 0), &Pc::default()));
        let (io_apic, cpus) = structures.split_last().unwrap();
        assert_eq!(
            *io_apic,
            (
                1,
                [&[1, 12, 0, 0][..], &0xfec0_0000_u32.to_le_bytes(), &[0; 4]].concat()
            )
        );
        assert_eq!(cpus.len(), vcpus as usize);
        for (id, cpu) in (0_u32..).zip(cpus) {
            let short = u8::try_from(id).unwrap_or(0xff);
            let expected = if short < 0xff {
                (0, vec![0, 8, short, short, 1, 0, 0, 0])
            } else {
                let [id, one] = [id, 1].map(u32::to_le_bytes);
                (9, [&[9, 16, 0, 0][..], &id, &one, &id].concat())
            };
            assert_eq!(*cpu, expected, "CPU {id}");
        }
    };
    for vcpus in [1, 2, 255, 256, 300, 1024] {
        check(vcpus);
    }
}

#[test]
fn hardware_that_is_absent_is_not_described() {
    let pc = Pc::default()
        .with_serial(None)
        .with_sleep_control(None)
        .with_reset(None)
        .with_keyboard_controller(true)
        .with_cmos_rtc(false);
    let mut found = read(&machine(1, 0), &pc);
    assert_eq!((found.power.reset, found.power.soft_off), (None, None));
    assert_eq!(found.namespace.devices_with_id("PNP0501").count(), 0);
    let memory = memory_at(BASE, &mut found.memory);
    let fadt = found.acpi.fadt(&memory).unwrap().unwrap();
    assert_eq!(fadt.iapc_boot_arch, 1 << 1 | 1 << 2 | 1 << 5);
    let pc = Pc::default()
        .with_serial(Some(SerialPort::new(0x2f8, 3)))
        .with_reset(Some(ResetPort::new(0xcf9, 6)));
    let found = read(&machine(1, 0), &pc);
    assert_eq!(found.power.reset.unwrap().value, 6);
    let serial = found.namespace.devices_with_id("PNP0501").next().unwrap();
    assert_eq!((serial.ports[0].0, serial.interrupts[0]), (0x2f8, 3));
}

#[test]
fn machines_that_the_tables_cannot_describe_are_refused() {
    let check = |machine: &Machine, addr, expected: &str| {
        let error = AcpiTables::new(machine, &Pc::default(), addr).unwrap_err();
        assert_eq!(error.to_string(), expected);
    };
    check(
        &Machine::new(Arch::Aarch64, MemoryMap::new()),
        0,
        "the platform of the machine does not describe its aarch64 CPUs",
    );
    let with = |slots: Vec<VirtioMmio>| {
        let mut machine = machine(1, 0);
        machine.platform.virtio_mmio = slots;
        machine
    };
    check(
        &with(vec![slot(0xd000_0000, 0x200, Line::Spi(3))]),
        0,
        "the virtio-mmio slot at 0xd0000000..0xd0000200 has SPI 3, expected a global system interrupt",
    );
    check(
        &with(vec![slot(0xffff_f000, 0, Line::Gsi(3))]),
        0,
        "the virtio-mmio slot at 0xfffff000..0xfffff000 has no registers",
    );
    let many = (0..0x1001)
        .map(|n| slot(0x8000_0000 + n * 0x200, 0x200, Line::Gsi(1)))
        .collect();
    check(
        &with(many),
        0,
        "the machine has 4097 virtio-mmio slots, but the DSDT has names for 4096",
    );
    let small = machine(1, 0);
    let len = AcpiTables::new(&small, &Pc::default(), 0).unwrap().bytes().len();
    for addr in [8, u64::MAX - 15] {
        check(
            &small,
            addr,
            &format!(
                "ACPI tables of {len} bytes cannot be at {addr:#x}: the address must be a multiple of 16"
            ),
        );
    }
}

#[test]
fn tables_are_placed_at_the_end_of_ram_below_4_gib() {
    let at = |map: MemoryMap| {
        let machine = Machine::new(Arch::X86_64, map);
        AcpiTables::at_end_of_ram(&machine, &Pc::default()).map(|tables| tables.rsdp())
    };
    assert_eq!(at(MemoryMap::pc(64 << 20).unwrap()), Ok(0x3ff_f000));
    assert_eq!(at(MemoryMap::pc(8 << 30).unwrap()), Ok(0xbfff_f000));
    let error = at(MemoryMap::new()).unwrap_err();
    assert_eq!(
        error.to_string(),
        "no RAM below 4 GiB has room for 652 bytes of ACPI tables"
    );
    // Other machines may have their RAM anywhere.
    let mut machine = arm64(1, Gic::V3);
    machine.memory = MemoryMap::new();
    let high = GuestRange::new(1 << 33, 1 << 20).unwrap();
    machine.memory.insert(high, RegionKind::Ram).unwrap();
    let tables = AcpiTables::at_end_of_ram(&machine, &Pc::default()).unwrap();
    assert_eq!(tables.rsdp(), high.end() - 0x1000);
}

#[test]
fn more_cpus_than_the_tables_can_have_are_refused() {
    let max = AcpiTables::MAX_VCPUS;
    let tables = AcpiTables::new(&machine(max, 0), &Pc::default(), 0).unwrap();
    any_machine::check_tables(&machine(max, 0), &Pc::default(), &tables);
    for vcpus in [max + 1, u32::MAX] {
        assert_eq!(
            AcpiTables::new(&machine(vcpus, 0), &Pc::default(), 0).unwrap_err(),
            AcpiError::TooManyCpus { found: vcpus, max }
        );
    }
}

#[test]
fn numa_nodes_are_described_or_refused() {
    for vcpus in [1, 4, 300] {
        let machine = numa_machine(vcpus);
        let tables = AcpiTables::new(&machine, &Pc::default(), BASE).unwrap();
        any_machine::check_tables(&machine, &Pc::default(), &tables);
    }
    let mut machine = numa_machine(4);
    machine.vcpus = NonZeroU32::new(5).unwrap();
    assert_eq!(
        AcpiTables::new(&machine, &Pc::default(), BASE).unwrap_err(),
        AcpiError::Numa(NumaError::CpuWithoutNode { cpu: 4 })
    );
}

#[test]
fn a_topology_is_described_or_refused() {
    let arm64 = |vcpus| with_numa(arm64(vcpus, Gic::V3));
    let riscv64 = |vcpus| riscv64(vcpus, RiscvIrqchip::AplicImsic);
    let described: [(Machine, [u32; 4]); 7] = [
        (arm64(1), [1, 1, 1, 1]),
        (arm64(4), [2, 1, 1, 2]),
        (arm64(24), [2, 3, 2, 2]),
        (arm64(300), [1, 75, 4, 1]),
        (riscv64(12), [3, 2, 2, 1]),
        (machine(4, 0), [1, 1, 2, 2]),
        (machine(300, 0), [300, 1, 1, 1]),
    ];
    let check = |machine: &Machine| {
        let tables = AcpiTables::new(machine, &Pc::default(), BASE).unwrap();
        any_machine::check_tables(machine, &Pc::default(), &tables);
    };
    for (machine, levels) in described {
        check(&with_topology(machine.clone(), levels));
        let mut without_caches = with_topology(machine, levels);
        let topology = without_caches.topology.as_mut().unwrap();
        topology.caches = Caches::default();
        check(&without_caches);
    }
    let wrong = with_topology(machine(4, 0), [1, 2, 3, 1]);
    let error = AcpiTables::new(&wrong, &Pc::default(), BASE).unwrap_err();
    assert!(
        matches!(error, AcpiError::Topology(TopologyError::CpuCount { .. })),
        "{error:?}"
    );
}

#[test]
fn a_register_at_port_0_is_refused() {
    let check = |pc: Pc, register| {
        let error = AcpiTables::new(&machine(1, 0), &pc, 0).unwrap_err();
        assert_eq!(error, AcpiError::Port0 { register });
    };
    let reset = ResetPort::new(0, 1);
    check(Pc::default().with_reset(Some(reset)), "reset");
    check(Pc::default().with_sleep_control(Some(0)), "sleep control");
    // Its status register would be at port 0x10000.
    let pc = Pc::default().with_sleep_control(Some(0xffff));
    assert_eq!(
        AcpiTables::new(&machine(1, 0), &pc, 0).unwrap_err(),
        AcpiError::PortRange { port: 0xffff, len: 2 }
    );
    let serial = SerialPort::new(0xfff9, 4);
    assert_eq!(
        AcpiTables::new(&machine(1, 0), &Pc::default().with_serial(Some(serial)), 0).unwrap_err(),
        AcpiError::PortRange { port: 0xfff9, len: 8 }
    );
}

proptest! {
    #[test]
    fn tables_of_any_machine_can_be_read(data in proptest::collection::vec(any::<u8>(), 0..300)) {
        any_machine::check(&data);
    }
}

/// Reads the tables of the machine with `fw-acpi`.
fn check_machine(machine: &Machine) {
    let pc = Pc::default();
    let tables = AcpiTables::new(machine, &pc, BASE).unwrap();
    any_machine::check_tables(machine, &pc, &tables);
    let tables = AcpiTables::at_end_of_ram(machine, &pc).unwrap();
    assert_eq!(tables.range().end().div_ceil(0x1000), 0x8400_0000 >> 12);
    any_machine::check_tables(machine, &pc, &tables);
}

#[test]
fn the_tables_of_arm64_machines_are_complete() {
    for gic in [Gic::V2, Gic::V3, Gic::V3WithIts] {
        check_machine(&arm64(1, gic));
        check_machine(&with_numa(arm64(4, gic)));
    }
    check_machine(&with_numa(arm64(300, Gic::V3WithIts)));
    let mut pl011 = arm64(1, Gic::V3);
    pl011.platform.serial[0].kind = SerialKind::Pl011;
    check_machine(&pl011);
    let mut v2m = arm64(1, Gic::V2);
    if let InterruptController::GicV2(gic) = &mut v2m.platform.interrupt_controller {
        gic.v2m = Some(GicV2m::new(virt::GICV2M_FRAME, 64, 32));
    }
    check_machine(&v2m);
}

#[test]
fn the_tables_of_riscv64_machines_are_complete() {
    for irqchip in [RiscvIrqchip::Plic, RiscvIrqchip::Aplic, RiscvIrqchip::AplicImsic] {
        check_machine(&riscv64(1, irqchip));
        check_machine(&with_numa(riscv64(4, irqchip)));
        check_machine(&with_numa(riscv64(300, irqchip)));
    }
}

/// Machine that is changed by `change`, with the message of its refusal.
fn refused(mut machine: Machine, change: impl FnOnce(&mut Machine), expected: &str) {
    change(&mut machine);
    let error = AcpiTables::new(&machine, &Pc::default(), BASE).unwrap_err();
    assert_eq!(error.to_string(), expected);
}

#[test]
fn platforms_without_what_the_tables_need_are_refused() {
    let arm = || arm64(2, Gic::V3);
    let riscv = || riscv64(2, RiscvIrqchip::AplicImsic);
    refused(
        arm(),
        |machine| machine.platform.cpus = Cpus::Unspecified,
        "the platform of the machine does not describe its aarch64 CPUs",
    );
    refused(
        arm(),
        |machine| machine.vcpus = NonZeroU32::new(3).unwrap(),
        "the platform of the machine describes 2 CPUs, but the machine has 3 vCPUs",
    );
    refused(
        arm(),
        |machine| machine.platform.cpus = Cpus::Arm64(vec![Arm64Cpu::new(5), Arm64Cpu::new(5)]),
        "two CPUs of the machine have the identifier 0x5",
    );
    refused(
        arm(),
        |machine| machine.platform.psci = None,
        "the machine has more than one CPU, but no PSCI to start them by",
    );
    refused(
        arm(),
        |machine| machine.platform.timer = None,
        "the arm64 machine has no timer, which its guests cannot do without",
    );
    let unspecified = |machine: &mut Machine| {
        machine.platform.interrupt_controller = InterruptController::Unspecified;
    };
    let no_controller = "the machine has no interrupt controller that its MADT can describe, expected";
    refused(arm(), unspecified, &format!("{no_controller} a GIC"));
    // Without devices, whose interrupts would be refused.
    let without_devices = |machine: &mut Machine| {
        unspecified(machine);
        machine.platform.serial.clear();
        machine.platform.virtio_mmio.clear();
    };
    refused(
        riscv(),
        without_devices,
        &format!("{no_controller} a PLIC or an APLIC"),
    );
    let many = riscv64(4096, RiscvIrqchip::Plic);
    assert!(AcpiTables::new(&many, &Pc::default(), BASE).is_ok());
    refused(
        many,
        |machine| machine.vcpus = NonZeroU32::new(4097).unwrap(),
        "the machine has 4097 CPUs, but its tables can have 4096",
    );
}

#[test]
fn interrupts_that_a_platform_does_not_have_are_refused() {
    let serial = |line| {
        move |machine: &mut Machine| machine.platform.serial[0].interrupt = Some(Interrupt::edge(line))
    };
    let at = "the serial port at 0x9000000..0x9001000";
    for line in [Line::Ppi(1), Line::Spi(988), Line::Source(1)] {
        refused(
            arm64(1, Gic::V3),
            serial(line),
            &format!("{at} has {line}, expected a shared peripheral interrupt, 0 to 987"),
        );
    }
    for line in [Line::Spi(1), Line::Source(0), Line::Source(96)] {
        refused(
            riscv64(1, RiscvIrqchip::Plic),
            serial(line),
            &format!("{at} has {line}, expected a source of the interrupt controller"),
        );
    }
    refused(
        arm64(1, Gic::V3),
        |machine| machine.platform.timer.as_mut().unwrap().physical = Interrupt::level(Line::Spi(1)),
        "the physical timer has SPI 1, expected a private peripheral interrupt, 0 to 15",
    );
}

#[test]
fn a_pci_host_has_its_configuration_space_and_windows() {
    let machines = [
        (with_pci(arm64(2, Gic::V3WithIts), Line::Spi), true),
        (with_pci(arm64(2, Gic::V2), Line::Spi), false),
        (with_pci(riscv64(2, RiscvIrqchip::Plic), Line::Source), false),
    ];
    for (machine, has_iort) in machines {
        check_machine(&machine);
        let mut found = read(&machine, &Pc::default());
        let memory = memory_at(BASE, &mut found.memory);
        let table = |signature| found.acpi.table(&memory, Signature(signature)).unwrap();
        // Base address, segment, first and last bus (PCI Firmware Specification 3.3, table 4-3).
        let mcfg = table(*b"MCFG").unwrap();
        assert_eq!(mcfg.len(), 60);
        assert_eq!(mcfg[44..52], virt::PCI_ECAM.start().to_le_bytes());
        assert_eq!(mcfg[52..56], [0, 0, 0, 255]);
        assert_eq!(table(*b"IORT").is_some(), has_iort);
        let host = found.namespace.devices_with_id("PNP0A08").next().unwrap();
        assert_eq!(host.path, "\\_SB_.PCI0");
        let ecam = found.namespace.devices_with_id("PNP0C02").next().unwrap();
        assert_eq!(ecam.memory[0].addr, virt::PCI_ECAM.start());
    }
}

#[test]
fn pci_hosts_that_the_tables_cannot_describe_are_refused() {
    let host = || with_pci(arm64(1, Gic::V3), Line::Spi);
    refused(
        host(),
        |machine| machine.platform.pci.as_mut().unwrap().ecam = GuestRange::new(0, 0x1_8000).unwrap(),
        "the PCI configuration space at 0x0..0x18000 must have 1 MiB for each of 1 to 256 buses",
    );
    refused(
        host(),
        |machine| machine.platform.pci.as_mut().unwrap().windows[1].pci_addr = 0xffff_8000,
        "the PCI window at 0x40000000..0x40010000, which leads to 0xffff8000, is empty or ends beyond its PCI address space",
    );
}

#[test]
fn values_too_large_for_their_fields_are_refused() {
    refused(
        arm64(1, Gic::V3),
        |machine| {
            if let InterruptController::GicV3(gic) = &mut machine.platform.interrupt_controller {
                gic.redistributors = vec![GuestRange::new(0, 1 << 32).unwrap()];
            }
        },
        "the length of a redistributor region is 0x100000000, but its field in the ACPI tables ends at 0xffffffff",
    );
    refused(
        riscv64(2, RiscvIrqchip::AplicImsic),
        |machine| {
            if let InterruptController::Aplic(Aplic {
                imsic: Some(imsic), ..
            }) = &mut machine.platform.interrupt_controller
            {
                imsic.range = GuestRange::new(imsic.range.start(), 0x1000).unwrap();
            }
        },
        "the IMSICs at 0x10000000..0x10001000 have no interrupt files for hart 1: each hart has 4 KiB for each of its files",
    );
}
