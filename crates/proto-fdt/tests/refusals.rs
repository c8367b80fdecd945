//! Machines without a possible device tree and boots that cannot be planned are refused with the reason.

#[path = "support/reference.rs"]
mod reference;

use std::error::Error as _;

use boot_core::machine::{
    Aplic, Arm64Cpu, Arm64Timer, Cpus, GicV2m, Imsic, Interrupt, InterruptController, Isa, Line, PciSpace,
    Platform, RegisterWrite, RiscvCpus, RiscvHart, SerialKind,
};
use boot_core::{
    Arch, BootProtocol, BootRequest, Cmdline, Constraints, Endian, EntryAbi, GuestRange, ImageBuilder,
    KernelImage, Machine, MemoryMap, Module, Placement, PlanError, RegionKind, SourceRange, SupportLevel,
};
use boot_linux::vmlinux::{Evidence, LinuxMark, OtherMark};
use proto_fdt::{Chosen, CreateFdtError, PROTOCOL_ARM64, PROTOCOL_RISCV64, create_fdt};

fn machine(name: &str) -> Machine {
    let found = reference::machines()
        .into_iter()
        .find(|(known, _)| *known == name);
    found.unwrap().1
}

/// Changes a reference machine and expects an error from `create_fdt`.
fn check(name: &str, change: fn(&mut Machine), expected: fn(&CreateFdtError) -> bool) {
    let mut machine = machine(name);
    change(&mut machine);
    let error = create_fdt(&machine, &Chosen::default()).unwrap_err();
    assert!(expected(&error), "{error:?}");
    assert!(!error.to_string().is_empty());
}

const ARM64: &str = "arm64-gicv3-its";
const GICV2: &str = "arm64-gicv2";
const PLIC: &str = "riscv64-plic";
const APLIC: &str = "riscv64-aplic";
const IMSIC: &str = "riscv64-aplic-imsic";

fn harts(m: &mut Machine) -> &mut RiscvCpus {
    match &mut m.platform.cpus {
        Cpus::Riscv64(cpus) => cpus,
        other => panic!("no harts: {other:?}"),
    }
}

fn v2m(m: &mut Machine) -> &mut GicV2m {
    match &mut m.platform.interrupt_controller {
        InterruptController::GicV2(gic) => gic.v2m.as_mut().unwrap(),
        other => panic!("no GICv2: {other:?}"),
    }
}

fn aplic(m: &mut Machine) -> &mut Aplic {
    match &mut m.platform.interrupt_controller {
        InterruptController::Aplic(aplic) => aplic,
        other => panic!("no APLIC: {other:?}"),
    }
}

fn imsic(m: &mut Machine) -> &mut Imsic {
    aplic(m).imsic.as_mut().unwrap()
}

/// The machine with this number of CPUs, and sufficient ranges of its interrupt controller.
fn set_cpus(m: &mut Machine, count: u32) {
    m.vcpus = count.try_into().unwrap();
    match &mut m.platform.cpus {
        Cpus::Arm64(cpus) => *cpus = (0..count.into()).map(Arm64Cpu::new).collect(),
        Cpus::Riscv64(cpus) => {
            cpus.harts = (0..count.into())
                .map(|id| RiscvHart::new(id, Isa::rv64gc()))
                .collect();
        }
        other => panic!("no CPUs: {other:?}"),
    }
    if let InterruptController::Aplic(Aplic {
        imsic: Some(imsic), ..
    }) = &mut m.platform.interrupt_controller
    {
        imsic.range = GuestRange::new(imsic.range.start(), 0x1000 * u64::from(count)).unwrap();
    }
}

#[test]
fn cpus_and_parts_of_another_architecture_are_refused() {
    check(
        ARM64,
        |m| m.platform = Platform::new(),
        |e| *e == CreateFdtError::NoCpus,
    );
    check(
        ARM64,
        |m| m.platform.cpus = Cpus::Arm64(vec![Arm64Cpu::new(0)]),
        |e| {
            *e == CreateFdtError::CpuCountMismatch {
                described: 1,
                vcpus: 4,
            }
        },
    );
    check(
        ARM64,
        |m| m.platform.cpus = Cpus::Arm64((0..4).map(|i| Arm64Cpu::new(i / 2)).collect()),
        |e| *e == CreateFdtError::DuplicateCpuId { id: 0 },
    );
    check(
        ARM64,
        |m| m.platform.psci = None,
        |e| *e == CreateFdtError::NoPsci,
    );
    let other = |e: &CreateFdtError| matches!(e, CreateFdtError::WrongArch { .. });
    check(ARM64, |m| m.arch = Arch::Riscv64, other);
    check(PLIC, |m| m.platform.timer = Some(Arm64Timer::STANDARD), other);
    check(
        PLIC,
        |m| m.platform.interrupt_controller = machine("arm64-gicv2").platform.interrupt_controller,
        other,
    );
    check(
        ARM64,
        |m| m.platform.interrupt_controller = machine(PLIC).platform.interrupt_controller,
        other,
    );
    check(
        ARM64,
        |m| m.platform.interrupt_controller = machine(APLIC).platform.interrupt_controller,
        other,
    );
}

#[test]
fn lines_that_do_not_exist_are_refused() {
    let line = |e: &CreateFdtError| {
        matches!(
            e,
            CreateFdtError::NoSuchLine {
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
        |m| m.platform.interrupt_controller = InterruptController::Unspecified,
        line,
    );
}

#[test]
fn values_that_the_bindings_forbid_are_refused() {
    let value = |e: &CreateFdtError| matches!(e, CreateFdtError::InvalidValue { .. });
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
    for len in [0x18_0000, 257 << 20] {
        check_value(
            PLIC,
            |m| m.platform.pci.as_mut().unwrap().ecam = GuestRange::new(0x3000_0000, len).unwrap(),
            "PCI host",
            "size of the configuration space",
            len,
        );
    }
    let syscon = |offset| {
        move |m: &mut Machine| {
            m.platform.syscon.as_mut().unwrap().reset = Some(RegisterWrite::new(offset, 1));
        }
    };
    check_fits(PLIC, syscon(0xffc));
    for offset in [1, 0xffe, 0x1000] {
        check_value(PLIC, syscon(offset), "syscon", "register offset", offset.into());
    }
    check(
        ARM64,
        |m| {
            if let InterruptController::GicV3(gic) = &mut m.platform.interrupt_controller {
                gic.redistributors = vec![GuestRange::new(0xc00_0000, 0x7_ffff).unwrap()];
            }
        },
        value,
    );
}

/// Changes a reference machine and expects an error for the value of this name.
fn check_value(name: &str, change: impl Fn(&mut Machine), device: &str, field: &str, value: u64) {
    let mut machine = machine(name);
    change(&mut machine);
    match create_fdt(&machine, &Chosen::default()).unwrap_err() {
        CreateFdtError::InvalidValue {
            device: found_device,
            field: found_field,
            found,
            ..
        } => assert_eq!((found_device, found_field, found), (device, field, value)),
        other => panic!("{device} {field} {value}: {other:?}"),
    }
}

/// Changes a reference machine and expects that a tree can be created.
fn check_fits(name: &str, change: impl Fn(&mut Machine)) {
    let mut machine = machine(name);
    change(&mut machine);
    assert_eq!(create_fdt(&machine, &Chosen::default()).err(), None, "{name}");
}

#[test]
fn values_of_harts_are_checked() {
    type Block = fn(&mut RiscvHart) -> &mut Option<u32>;
    check_value(
        PLIC,
        |m| harts(m).timebase_frequency = 0,
        "time counter",
        "frequency",
        0,
    );
    let blocks: [(&str, &str, Block); 3] = [
        ("zicbom", "Zicbom block size", |hart| &mut hart.cbom_block_size),
        ("zicboz", "Zicboz block size", |hart| &mut hart.cboz_block_size),
        ("zicbop", "Zicbop block size", |hart| &mut hart.cbop_block_size),
    ];
    for (extension, field, block) in blocks {
        let change = |m: &mut Machine, size| {
            let hart = &mut harts(m).harts[2];
            hart.isa = Isa::new(["i", extension]).unwrap();
            *block(hart) = size;
        };
        for bad in [0, 3, 65] {
            check_value(PLIC, |m| change(m, Some(bad)), "hart", field, bad.into());
        }
        check_fits(PLIC, |m| change(m, Some(1)));
        let mut machine = machine(PLIC);
        change(&mut machine, None);
        assert_eq!(
            create_fdt(&machine, &Chosen::default()),
            Err(CreateFdtError::NoBlockSize {
                hart_id: 2,
                extension
            })
        );
    }
}

#[test]
fn values_of_arm64_controllers_are_checked() {
    check_fits(GICV2, |m| set_cpus(m, 8));
    check_value(GICV2, |m| set_cpus(m, 9), "GICv2", "number of CPUs", 9);
    let spis = |first_spi, spis| {
        move |m: &mut Machine| {
            v2m(m).first_spi = first_spi;
            v2m(m).spis = spis;
        }
    };
    check_fits(GICV2, spis(987, 1));
    for (first, count) in [(64, 0), (988, 1), (900, 89), (1, u32::MAX)] {
        check_value(
            GICV2,
            spis(first, count),
            "GICv2m frame",
            "number of SPIs",
            count.into(),
        );
    }
}

#[test]
fn values_of_riscv64_controllers_are_checked() {
    let sources = |sources| {
        move |m: &mut Machine| match &mut m.platform.interrupt_controller {
            InterruptController::Plic(plic) => plic.sources = sources,
            InterruptController::Aplic(aplic) => aplic.sources = sources,
            other => panic!("{other:?}"),
        }
    };
    for (name, device) in [(PLIC, "PLIC"), (APLIC, "APLIC"), (IMSIC, "APLIC")] {
        check_fits(name, sources(1023));
        for bad in [0, 1024, u32::MAX] {
            check_value(name, sources(bad), device, "number of sources", bad.into());
        }
    }
    // The registers of an APLIC: 16 KiB, and without IMSICs 32 bytes for each hart.
    let len = |harts, len| {
        move |m: &mut Machine| {
            set_cpus(m, harts);
            let aplic = aplic(m);
            aplic.range = GuestRange::new(aplic.range.start(), len).unwrap();
        }
    };
    check_fits(APLIC, len(4, 0x4080));
    check_value(APLIC, len(4, 0x407f), "APLIC", "size", 0x407f);
    check_fits(APLIC, len(4096, 0x2_4000));
    check_value(APLIC, len(4096, 0x8000), "APLIC", "size", 0x8000);
    check_fits(IMSIC, len(4096, 0x4000));
    check_value(IMSIC, len(4, 0x3fff), "APLIC", "size", 0x3fff);
}

#[test]
fn values_of_imsics_are_checked() {
    for good in [63, 127, 2047] {
        check_fits(IMSIC, |m| imsic(m).ids = good);
    }
    for bad in [0, 62, 64, 2048, 2111] {
        let change = |m: &mut Machine| imsic(m).ids = bad;
        check_value(IMSIC, change, "IMSIC", "number of identities", bad.into());
    }
    for bad in [8, 64, u32::MAX] {
        let change = |m: &mut Machine| imsic(m).guest_index_bits = bad;
        check_value(IMSIC, change, "IMSIC", "number of guest index bits", bad.into());
    }
    // The machine has four harts.
    check_fits(IMSIC, |m| imsic(m).hart_index_bits = Some(15));
    for bad in [0, 1, 16, u32::MAX] {
        let change = |m: &mut Machine| imsic(m).hart_index_bits = Some(bad);
        check_value(IMSIC, change, "IMSIC", "number of hart index bits", bad.into());
    }
    let shrink = |m: &mut Machine| imsic(m).range = GuestRange::new(0x1000_0000, 0x3fff).unwrap();
    check_value(IMSIC, shrink, "IMSIC", "size", 0x3fff);
}

#[test]
fn imsics_are_aligned_to_their_index_bits() {
    let place = |harts, start, guest_bits, hart_bits| {
        let mut machine = machine(IMSIC);
        set_cpus(&mut machine, harts);
        let range = GuestRange::new(start, u64::from(harts) << (12 + guest_bits)).unwrap();
        *imsic(&mut machine) = Imsic::new(range, 255)
            .with_guest_index_bits(guest_bits)
            .with_hart_index_bits(hart_bits);
        create_fdt(&machine, &Chosen::default()).err()
    };
    // Without a number of bits, guests use the fewest bits that distinguish the harts.
    for (harts, guest_bits, hart_bits, alignment) in [
        (1, 0, None, 0x1000),
        (2, 0, None, 0x2000),
        (3, 0, None, 0x4000),
        (4, 0, None, 0x4000),
        (5, 0, None, 0x8000),
        (4, 3, None, 0x2_0000),
        (4, 0, Some(8), 0x10_0000),
        (4, 1, Some(15), 0x1000_0000),
    ] {
        assert_eq!(place(harts, 0x1000_0000, guest_bits, hart_bits), None);
        let start = 0x1000_0000 + alignment / 2;
        assert_eq!(
            place(harts, start, guest_bits, hart_bits),
            Some(CreateFdtError::Misaligned {
                device: "IMSIC",
                start,
                alignment
            })
        );
    }
}

#[test]
fn the_timer_has_private_lines() {
    type Timer = fn(&mut Arm64Timer) -> &mut Interrupt;
    let interrupts: [Timer; 4] = [
        |timer| &mut timer.secure_physical,
        |timer| &mut timer.physical,
        |timer| &mut timer.virtual_timer,
        |timer| &mut timer.hypervisor,
    ];
    for name in [GICV2, ARM64] {
        for interrupt in interrupts {
            let mut machine = machine(name);
            interrupt(machine.platform.timer.as_mut().unwrap()).line = Line::Spi(11);
            assert_eq!(
                create_fdt(&machine, &Chosen::default()),
                Err(CreateFdtError::NotPpi {
                    device: "timer",
                    line: Line::Spi(11)
                })
            );
        }
    }
}

#[test]
fn devices_and_msis_have_different_lines() {
    // MSIs use the SPIs 64 to 95.
    let wire = |line| {
        let mut machine = machine(GICV2);
        machine.platform.virtio_mmio[1].interrupt.line = line;
        create_fdt(&machine, &Chosen::default()).err()
    };
    for line in [Line::Spi(63), Line::Spi(96), Line::Ppi(15)] {
        assert_eq!(wire(line), None, "{line:?}");
    }
    for line in [Line::Spi(64), Line::Spi(95)] {
        let device = "virtio-mmio slot";
        assert_eq!(wire(line), Some(CreateFdtError::MsiLine { device, line }));
    }
}

#[test]
fn errors_state_what_was_found() {
    let line = Line::Spi(64);
    for (error, expected) in [
        (
            CreateFdtError::NotPpi {
                device: "timer",
                line,
            },
            "the timer interrupt of each CPU must be a PPI, but is SPI 64",
        ),
        (
            CreateFdtError::MsiLine {
                device: "serial port",
                line,
            },
            "the serial port is wired to SPI 64, which the GICv2m frame uses for MSIs",
        ),
        (
            CreateFdtError::NoBlockSize {
                hart_id: 18,
                extension: "zicbom",
            },
            "hart 0x12 has the extension zicbom, but its block size is unspecified",
        ),
        (
            CreateFdtError::Misaligned {
                device: "IMSIC",
                start: 0x1000,
                alignment: 0x4000,
            },
            "the IMSIC is at 0x1000, but must be at a multiple of 0x4000",
        ),
        (
            CreateFdtError::NoSuchLine {
                device: "serial port",
                line: Line::Source(1024),
            },
            "the serial port is wired to interrupt source 1024, which the interrupt controller does not have",
        ),
        (
            CreateFdtError::WrongArch {
                what: "a GIC",
                arch: Arch::Riscv64,
            },
            "the platform has a GIC, which riscv64 machines cannot have",
        ),
    ] {
        assert_eq!(error.to_string(), expected);
    }
}

#[test]
fn overlapping_and_misplaced_parts_are_refused() {
    let overlap = |e: &CreateFdtError| matches!(e, CreateFdtError::Overlap { .. });
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
        |e| *e == CreateFdtError::NoMsiController,
    );
    check(
        PLIC,
        |m| m.platform.reserved_memory[0].range = GuestRange::new(0xbfff_f000, 0x2000).unwrap(),
        |e| matches!(e, CreateFdtError::ReservedMemoryNotRam { .. }),
    );
    check(
        PLIC,
        |m| m.platform.reserved_memory[0].name = "a@1".into(),
        |e| matches!(e, CreateFdtError::InvalidReservedMemoryName { .. }),
    );
    check(
        PLIC,
        |m| m.platform.model = "a\0b".into(),
        |e| {
            let source = e.source().map(ToString::to_string);
            matches!(e, CreateFdtError::Writer(_)) && source.as_deref() == Some("Strings cannot contain NUL")
        },
    );
}

/// An `Image` of one page that uses `memory` bytes.
fn image(arch: Arch, endian: Endian, memory: u64) -> KernelImage {
    let abi = match arch {
        Arch::Aarch64 => EntryAbi::ARM64_IMAGE,
        _ => EntryAbi::RISCV_IMAGE,
    };
    ImageBuilder::new("image", arch, endian, 0x1000)
        .segment(SourceRange::whole(0x1000), GuestRange::new(0, 0x1000).unwrap())
        .extent(GuestRange::new(0, memory).unwrap())
        .placement(Placement::Relocatable(Constraints::aligned(2 << 20)))
        .entry(abi, 0)
        .build()
        .unwrap()
}

#[test]
fn requests_that_the_protocols_do_not_support_are_refused() {
    let cmdline = Cmdline::new();
    let image = image(Arch::Aarch64, Endian::Little, 0x1000);
    let machine = machine("arm64-gicv3-its");
    let request = BootRequest::new(&image, &machine, &cmdline);
    assert!(PROTOCOL_ARM64.plan(&request).is_ok());
    let check = |request: &BootRequest<'_>, expected: fn(&PlanError) -> bool| {
        let error = PROTOCOL_ARM64.plan(request).unwrap_err();
        assert!(expected(&error), "{error:?}");
    };
    let modules = [Module::new(1)];
    check(&request.with_modules(&modules), |e| {
        matches!(e, PlanError::NotAccepted { .. })
    });
    let mut acpi = machine.clone();
    acpi.acpi_rsdp = Some(0x8000_0000);
    check(&BootRequest::new(&image, &acpi, &cmdline), |e| {
        matches!(e, PlanError::RsdpInRam { addr: 0x8000_0000 })
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
}

#[test]
fn images_that_the_protocols_do_not_support_are_refused() {
    let check = |protocol: &dyn BootProtocol, image: &KernelImage, expected: &str| {
        assert_eq!(protocol.supports(image).unwrap_err().to_string(), expected);
    };
    let arm64 = image(Arch::Aarch64, Endian::Big, 0x1000);
    let riscv64 = image(Arch::Riscv64, Endian::Little, 0x1000);
    let level = |protocol: &dyn BootProtocol, image: &KernelImage| protocol.supports(image).unwrap().level;
    assert_eq!(level(&PROTOCOL_ARM64, &arm64), SupportLevel::Declared);
    assert_eq!(level(&PROTOCOL_RISCV64, &riscv64), SupportLevel::Declared);
    for (protocol, arch) in [
        (&PROTOCOL_ARM64 as &dyn BootProtocol, Arch::Aarch64),
        (&PROTOCOL_RISCV64, Arch::Riscv64),
    ] {
        let elf = || {
            ImageBuilder::new("elf", arch, Endian::Little, 0x1000)
                .segment(SourceRange::whole(0x1000), GuestRange::new(0, 0x1000).unwrap())
                .entry(EntryAbi::ELF64, 0)
        };
        assert_eq!(level(protocol, &elf().build().unwrap()), SupportLevel::Possible);
        let with = |evidence: Evidence| elf().metadata(evidence).build().unwrap();
        assert_eq!(
            level(protocol, &with(Evidence::Linux(LinuxMark::Note))),
            SupportLevel::Indicated
        );
        assert_eq!(
            level(protocol, &with(Evidence::Other(OtherMark::MachineMode))),
            SupportLevel::Contradicted
        );
    }
    check(
        &PROTOCOL_ARM64,
        &riscv64,
        "it is for riscv64 machines, the protocol for aarch64",
    );
    check(
        &PROTOCOL_RISCV64,
        &arm64,
        "it is for aarch64 machines, the protocol for riscv64",
    );
    check(
        &PROTOCOL_RISCV64,
        &image(Arch::Riscv64, Endian::Big, 0x1000),
        "it is big-endian, but the entry state of a riscv64 hart is little-endian",
    );
    let other_entry = |arch| {
        ImageBuilder::new("test", arch, Endian::Little, 8)
            .segment(SourceRange::whole(8), GuestRange::new(0, 8).unwrap())
            .entry(EntryAbi::PVH, 0)
            .build()
            .unwrap()
    };
    check(
        &PROTOCOL_ARM64,
        &other_entry(Arch::Aarch64),
        "it has no arm64-image or elf64 entry point",
    );
    check(
        &PROTOCOL_RISCV64,
        &other_entry(Arch::Riscv64),
        "it has no riscv-image or elf64 entry point",
    );
    assert_eq!(
        (PROTOCOL_ARM64.name(), PROTOCOL_RISCV64.name()),
        ("fdt-arm64", "fdt-riscv64")
    );
}

#[test]
fn command_lines_that_linux_truncates_are_refused() {
    let check = |name: &str, protocol: &dyn BootProtocol, image: &KernelImage, max: usize| {
        let machine = machine(name);
        let plan = |len| {
            let cmdline: Cmdline = "a".repeat(len).parse().unwrap();
            protocol.plan(&BootRequest::new(image, &machine, &cmdline))
        };
        assert!(plan(max).is_ok(), "{name}");
        assert!(matches!(plan(max + 1), Err(PlanError::Cmdline(_))), "{name}");
    };
    let arm64 = image(Arch::Aarch64, Endian::Little, 0x1000);
    check(ARM64, &PROTOCOL_ARM64, &arm64, 2047);
    let riscv64 = image(Arch::Riscv64, Endian::Little, 0x1000);
    check(PLIC, &PROTOCOL_RISCV64, &riscv64, 1023);
}

#[test]
fn a_tree_may_have_two_mib() {
    let machine = machine(ARM64);
    // With `bootargs`, the length of the strings block is a multiple of four.
    let cmdline: Cmdline = "quiet".parse().unwrap();
    let image = image(Arch::Aarch64, Endian::Little, 0x1000);
    let tree_len = |seed_len: usize| {
        let seed = vec![0; seed_len];
        let request = BootRequest::new(&image, &machine, &cmdline).with_rng_seed(&seed);
        let plan = PROTOCOL_ARM64.plan(&request)?;
        let tree = plan.loads().iter().find(|load| load.label == "device tree");
        Ok::<_, PlanError>(tree.unwrap().range.len())
    };
    let empty = usize::try_from(tree_len(0).unwrap()).unwrap();
    let rest = (2 << 20) - empty;
    assert!(rest % 4 == 0, "values are padded to 4 bytes: {rest}");
    assert_eq!(tree_len(rest).unwrap(), 2 << 20);
    assert!(matches!(
        tree_len(rest + 1),
        Err(PlanError::TooLarge {
            found: 0x20_0004,
            max: 0x20_0000,
            ..
        })
    ));
}

const GIB: u64 = 1 << 30;

/// Addresses of kernel, initrd and tree in RAM of these banks.
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
fn initrd_and_tree_are_at_the_highest_allowed_address() {
    const RAM: u64 = 0x8000_0000;
    // All RAM is inside the windows: both at its end.
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
    // riscv64 with Sv39: inside the direct mapping of the kernel.
    let [kernel, initrd, dtb] = places("riscv64-plic", &[(RAM, 200 * GIB)], 1 << 24, 0x1000);
    assert_eq!((kernel.start(), initrd.end()), (RAM, RAM + 124 * GIB));
    assert!(dtb.end() <= initrd.start() && initrd.start() - dtb.end() < 0x4000);
}

#[test]
fn the_tree_shares_no_block_with_no_map_memory() {
    let mut machine = machine("arm64-gicv3");
    let image = image(Arch::Aarch64, Endian::Little, 0x1000);
    let cmdline = Cmdline::new();
    // In the block that would otherwise contain the tree.
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
