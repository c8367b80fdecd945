//! What cannot be described or planned is refused, by name.

#[path = "support/reference.rs"]
mod reference;

use boot_core::machine::{
    Arm64Cpu, Arm64Timer, Cpus, Interrupt, InterruptController, Line, PciSpace, Platform, SerialKind,
};
use boot_core::{
    Arch, BootProtocol, BootRequest, Cmdline, Endian, EntryAbi, GuestRange, ImageBuilder, KernelImage,
    Machine, MemoryMap, Module, Placement, PlanError, RegionKind, Relocation, SourceRange,
};
use proto_fdt::{Chosen, PROTOCOL_ARM64, PROTOCOL_RISCV64, TreeError, tree};

fn machine(name: &str) -> Machine {
    let found = reference::machines()
        .into_iter()
        .find(|(known, _)| *known == name);
    found.unwrap().1
}

/// Changes a reference machine and expects that no tree can be written for it.
fn check(name: &str, change: fn(&mut Machine), expected: fn(&TreeError) -> bool) {
    let mut machine = machine(name);
    change(&mut machine);
    let error = tree::write(&machine, &Chosen::default()).unwrap_err();
    assert!(expected(&error), "{error:?}");
    assert!(!error.to_string().is_empty());
}

const ARM64: &str = "arm64-gicv3-its";
const PLIC: &str = "riscv64-plic";

#[test]
fn cpus_and_parts_of_another_architecture_are_refused() {
    check(
        ARM64,
        |m| m.platform = Platform::new(),
        |e| *e == TreeError::NoCpus,
    );
    check(
        ARM64,
        |m| m.platform.cpus = Cpus::Arm64(vec![Arm64Cpu::new(0)]),
        |e| {
            *e == TreeError::CpuCount {
                described: 1,
                vcpus: 4,
            }
        },
    );
    check(
        ARM64,
        |m| m.platform.cpus = Cpus::Arm64((0..4).map(|i| Arm64Cpu::new(i / 2)).collect()),
        |e| *e == TreeError::CpuIdTwice { id: 0 },
    );
    check(ARM64, |m| m.platform.psci = None, |e| *e == TreeError::NoPsci);
    let other = |e: &TreeError| matches!(e, TreeError::OtherArch { .. });
    check(ARM64, |m| m.arch = Arch::Riscv64, other);
    check(PLIC, |m| m.platform.timer = Some(Arm64Timer::STANDARD), other);
    check(
        PLIC,
        |m| m.platform.interrupt_controller = machine("arm64-gicv2").platform.interrupt_controller,
        other,
    );
}

#[test]
fn lines_that_do_not_exist_are_refused() {
    let line = |e: &TreeError| {
        matches!(
            e,
            TreeError::Line {
                device: "serial port",
                ..
            }
        )
    };
    check(
        ARM64,
        |m| m.platform.serial[0].interrupt = Some(Interrupt::level(Line::Spi(988))),
        line,
    );
    check(
        ARM64,
        |m| m.platform.serial[0].interrupt = Some(Interrupt::level(Line::Source(1))),
        line,
    );
    check(
        PLIC,
        |m| m.platform.serial[0].interrupt = Some(Interrupt::level(Line::Source(96))),
        line,
    );
    check(
        PLIC,
        |m| m.platform.interrupt_controller = InterruptController::Undescribed,
        line,
    );
}

#[test]
fn values_that_the_bindings_forbid_are_refused() {
    let value = |e: &TreeError| matches!(e, TreeError::Value { .. });
    check(
        PLIC,
        |m| {
            m.platform.serial[0].kind = SerialKind::Ns16550a {
                reg_shift: 0,
                reg_io_width: 3,
            };
        },
        value,
    );
    check(
        PLIC,
        |m| m.platform.serial[0].range = GuestRange::new(4, 0).unwrap(),
        value,
    );
    check(
        PLIC,
        |m| m.platform.syscon.as_mut().unwrap().range = GuestRange::new(0x900_1000, 3).unwrap(),
        value,
    );
    check(
        PLIC,
        |m| m.platform.pci.as_mut().unwrap().ecam = GuestRange::new(0x3000_0000, 0x1000).unwrap(),
        value,
    );
    check(
        PLIC,
        |m| m.platform.pci.as_mut().unwrap().windows[1].space = PciSpace::Memory32,
        value,
    );
    check(
        ARM64,
        |m| {
            if let InterruptController::GicV3(gic) = &mut m.platform.interrupt_controller {
                gic.redistributors = vec![GuestRange::new(0xc00_0000, 0x7_ffff).unwrap()];
            }
        },
        value,
    );
    check(
        "riscv64-aplic-imsic",
        |m| {
            if let InterruptController::Aplic(aplic) = &mut m.platform.interrupt_controller {
                aplic.imsic.as_mut().unwrap().hart_index_bits = Some(1);
            }
        },
        value,
    );
}

#[test]
fn parts_in_impossible_places_are_refused() {
    let overlap = |e: &TreeError| matches!(e, TreeError::Overlap { .. });
    check(
        PLIC,
        |m| m.platform.serial[1].range = m.platform.serial[0].range,
        overlap,
    );
    check(
        PLIC,
        |m| m.platform.serial[1].range = GuestRange::new(0x8000_0000, 0x1000).unwrap(),
        overlap,
    );
    check(
        PLIC,
        |m| m.platform.pci.as_mut().unwrap().msi = true,
        |e| *e == TreeError::NoMsiController,
    );
    check(
        PLIC,
        |m| m.platform.reserved_memory[0].range = GuestRange::new(0xbfff_f000, 0x2000).unwrap(),
        |e| matches!(e, TreeError::ReservedNotRam { .. }),
    );
    check(
        PLIC,
        |m| m.platform.reserved_memory[0].name = "a@1".into(),
        |e| matches!(e, TreeError::ReservedName { .. }),
    );
    check(
        PLIC,
        |m| m.platform.model = "a\0b".into(),
        |e| matches!(e, TreeError::Writer(vm_fdt::Error::InvalidString)),
    );
}

/// An `Image` of one page that uses `memory` bytes.
fn image(arch: Arch, endian: Endian, memory: u64) -> KernelImage {
    let abi = match arch {
        Arch::Aarch64 => EntryAbi::Arm64Image,
        _ => EntryAbi::RiscvImage,
    };
    ImageBuilder::new("image", arch, endian, 0x1000)
        .segment(SourceRange::whole(0x1000), GuestRange::new(0, 0x1000).unwrap())
        .extent(GuestRange::new(0, memory).unwrap())
        .placement(Placement::Relocatable(Relocation::aligned(2 << 20)))
        .entry(abi, 0)
        .build()
        .unwrap()
}

#[test]
fn requests_that_the_protocols_have_no_words_for_are_refused() {
    let cmdline = Cmdline::new();
    let image = image(Arch::Aarch64, Endian::Little, 0x1000);
    let machine = machine("arm64-gicv3-its");
    let request = BootRequest::new(&image, &machine, &cmdline);
    assert!(PROTOCOL_ARM64.plan(&request).is_ok());
    let check = |request: &BootRequest<'_>, expected: fn(&PlanError) -> bool| {
        let error = PROTOCOL_ARM64.plan(request).unwrap_err();
        assert!(expected(&error), "{error:?}");
    };
    let modules = [Module {
        len: 1,
        cmdline: Cmdline::new(),
    }];
    check(&request.with_modules(&modules), |e| {
        matches!(e, PlanError::NotInProtocol { .. })
    });
    let mut acpi = machine.clone();
    acpi.acpi_rsdp = Some(0x8000_0000);
    check(&BootRequest::new(&image, &acpi, &cmdline), |e| {
        matches!(e, PlanError::NotInProtocol { .. })
    });
    let long: Cmdline = "a".repeat(2048).parse().unwrap();
    check(&BootRequest::new(&image, &machine, &long), |e| {
        matches!(e, PlanError::Cmdline(_))
    });
    check(&request.with_rng_seed(&vec![0; 2 << 20]), |e| {
        matches!(e, PlanError::TooLarge { .. })
    });
    check(&request.with_device_tree(b"dts"), |e| {
        matches!(e, PlanError::Protocol { .. })
    });
    check(&request.with_initrd(1 << 40), |e| {
        matches!(e, PlanError::Placement(_))
    });
    assert!(PROTOCOL_RISCV64.supports(&image).is_err());
    let big = self::image(Arch::Riscv64, Endian::Big, 0x1000);
    assert!(PROTOCOL_RISCV64.supports(&big).is_err());
}

const GIB: u64 = 1 << 30;

/// Where kernel, initrd and tree go in RAM of these banks.
fn places(name: &str, banks: &[(u64, u64)], kernel: u64, initrd: u64) -> [GuestRange; 3] {
    let mut machine = machine(name);
    machine.memory = MemoryMap::new();
    for (start, len) in banks {
        let range = GuestRange::new(*start, *len).unwrap();
        machine.memory.insert(range, RegionKind::Ram).unwrap();
    }
    machine.platform.pci = None;
    machine.platform.reserved_memory.clear();
    let image = image(machine.arch, Endian::Little, kernel);
    let cmdline = Cmdline::new();
    let request = BootRequest::new(&image, &machine, &cmdline).with_initrd(initrd);
    let plan = match machine.arch {
        Arch::Aarch64 => PROTOCOL_ARM64.plan(&request).unwrap(),
        _ => PROTOCOL_RISCV64.plan(&request).unwrap(),
    };
    let find = |label: &str| {
        plan.loads()
            .iter()
            .find(|load| load.label == label)
            .unwrap()
            .range
    };
    [plan.kernel(), find("initrd"), find("device tree")]
}

#[test]
fn initrd_and_tree_go_as_high_as_their_windows_reach() {
    const RAM: u64 = 0x8000_0000;
    // All of RAM is near: both at its end.
    let [kernel, initrd, dtb] = places("arm64-gicv3", &[(RAM, GIB / 4)], 1 << 24, 0x1234);
    assert_eq!((kernel.start(), initrd.start()), (RAM, RAM + GIB / 4 - 0x2000));
    assert!(dtb.end() <= initrd.start() && initrd.start() - dtb.end() < 0x4000);
    // More RAM than the windows: 32 GiB for the initrd, 512 MiB for the tree.
    let [_, initrd, dtb] = places("arm64-gicv3", &[(RAM, 100 * GIB)], 1 << 24, 0x1000);
    assert_eq!(initrd.end(), RAM + 32 * GIB);
    assert!(dtb.end() > RAM + GIB / 2 - 0x4000 && dtb.end() <= RAM + GIB / 2);
    // RAM beyond the window does not count.
    let [kernel, initrd, dtb] = places(
        "arm64-gicv3",
        &[(70 * GIB, GIB / 16), (100 * GIB, 1 << 22)],
        1 << 21,
        1 << 25,
    );
    assert_eq!((kernel.start(), initrd.end()), (70 * GIB, 70 * GIB + GIB / 16));
    assert!(dtb.end() <= initrd.start());
    let [kernel, initrd, _] = places(
        "arm64-gicv3",
        &[(69 * GIB, 1 << 20), (70 * GIB, 1 << 23)],
        1 << 23,
        0x1000,
    );
    assert_eq!((kernel.start(), initrd.end()), (70 * GIB, 69 * GIB + (1 << 20)));
    // riscv64 with Sv39: not beyond what the kernel maps.
    let [kernel, initrd, dtb] = places("riscv64-plic", &[(RAM, 200 * GIB)], 1 << 24, 0x1000);
    assert_eq!((kernel.start(), initrd.end()), (RAM, RAM + 124 * GIB));
    assert!(dtb.end() <= initrd.start() && initrd.start() - dtb.end() < 0x4000);
}

#[test]
fn the_tree_shares_no_block_with_memory_that_must_not_be_mapped() {
    let mut machine = machine("arm64-gicv3");
    let image = image(Arch::Aarch64, Endian::Little, 0x1000);
    let cmdline = Cmdline::new();
    // In the very block that the tree would be in.
    machine.platform.reserved_memory[0].range = GuestRange::new(0xa000_0000 - 0x20_0000, 0x1000).unwrap();
    let place = |machine: &Machine| {
        let plan = PROTOCOL_ARM64
            .plan(&BootRequest::new(&image, machine, &cmdline))
            .unwrap();
        let dtb = plan.loads().iter().find(|load| load.label == "device tree");
        dtb.unwrap().range.start() / 0x20_0000
    };
    assert_eq!(place(&machine), 0x9fc0_0000 / 0x20_0000);
    machine.platform.reserved_memory[0].no_map = false;
    assert_eq!(place(&machine), 0x9fe0_0000 / 0x20_0000);
}
