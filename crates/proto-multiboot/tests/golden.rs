//! Golden values: the bytes of the boot information, and the results of the header's requests.

use std::error::Error;

use boot_core::cpu::x86_64::State;
use boot_core::{
    Arch, BootPlan, BootProtocol, BootRequest, Cmdline, Endian, EntryAbi, FixedAddress, GuestRange,
    ImageBuilder, IncompatibleImage, KernelImage, LoadContent, Machine, MemoryMap, Module, Placement,
    PlanError, RegionKind, RequestPart, SourceRange, SupportLevel,
};
use boot_multiboot::v2::InfoTag;
use boot_multiboot::{
    Console, Framebuffer, InfoRequest, MULTIBOOT, MULTIBOOT2, Multiboot2Metadata, MultibootMetadata,
    Relocatable, UnknownTag,
};
use boot_test::loaded::x86_state as state;
use proto_multiboot::{InfoRequestError, PROTOCOL_MULTIBOOT, PROTOCOL_MULTIBOOT2, Rsdp, Warning};

const MIB: u64 = 1 << 20;

/// 8 KiB of kernel at 2 MiB, entered 0x20 bytes past the start.
fn builder() -> ImageBuilder {
    ImageBuilder::new("multiboot", Arch::X86_64, Endian::Little, 0x2000)
        .segment(
            SourceRange::whole(0x2000),
            GuestRange::new(2 * MIB, 0x2000).unwrap(),
        )
        .entry(MULTIBOOT, 2 * MIB + 0x20)
        .entry(MULTIBOOT2, 2 * MIB + 0x40)
}

fn first(flags: u32) -> KernelImage {
    builder()
        .metadata(MultibootMetadata::new(0, flags))
        .build()
        .unwrap()
}

fn second(change: impl FnOnce(&mut Multiboot2Metadata)) -> KernelImage {
    let mut header = Multiboot2Metadata::new(0, 0x100);
    change(&mut header);
    builder().metadata(header).build().unwrap()
}

fn pc(len: u64) -> Machine {
    Machine::new(Arch::X86_64, MemoryMap::pc(len).unwrap())
}

/// The bytes of the information, without the zeros behind it.
fn info(plan: &BootPlan) -> &[u8] {
    let load = plan
        .loads()
        .iter()
        .find(|load| load.range.start() == state(plan).rbx)
        .unwrap();
    match &load.content {
        LoadContent::Bytes(bytes) => bytes,
        other => panic!("{other:?}"),
    }
}

fn words(words: &[u32]) -> Vec<u8> {
    words.iter().flat_map(|word| word.to_le_bytes()).collect()
}

/// The regions of a PC with 16 MiB: start, length, type.
const REGIONS: [(u64, u64, u32); 4] = [
    (0, 0xa_0000, 1),
    (0xa_0000, 0x6_0000, 2),
    (0x10_0000, 0xf0_0000, 1),
    (0xfec0_0000, 0x140_0000, 2),
];

#[test]
fn the_information_of_version_1() {
    let modules = [
        Module::new(0x1001).with_cmdline("one a=b".parse().unwrap()),
        Module::new(0),
    ];
    let (image, machine) = (first(3), pc(16 * MIB));
    let cmdline: Cmdline = "kernel arg".parse().unwrap();
    let request = BootRequest::new(&image, &machine, &cmdline)
        .with_modules(&modules)
        .with_initrd(5);
    let plan = PROTOCOL_MULTIBOOT.plan(&request).unwrap();

    let map = 0x1000 + 116;
    let list = map + 4 * 24;
    let (name, line, string) = (list + 48, list + 55, list + 66);
    let mut expected = words(&[
        0x24d,
        640,
        15 << 10,
        0,
        line,
        3,
        list,
        0,
        0,
        0,
        0,
        96,
        map,
        0,
        0,
        0,
        name,
    ]);
    expected.resize(116, 0);
    for (start, len, kind) in REGIONS {
        expected.extend(words(&[20]));
        expected.extend(start.to_le_bytes());
        expected.extend(len.to_le_bytes());
        expected.extend(words(&[kind]));
    }
    expected.extend(words(&[0xff_e000, 0xff_f001, string, 0]));
    expected.extend(words(&[0, 0, 0, 0]));
    expected.extend(words(&[0xff_d000, 0xff_d005, 0, 0]));
    expected.extend(b"vmboot\0kernel arg\0one a=b\0");
    assert_eq!(info(&plan), expected);

    let mut registers = State::protected_mode(0x20_0020, 0x08, 0x10);
    registers.rax = 0x2bad_b002;
    registers.rbx = 0x1000;
    assert_eq!(*state(&plan), registers);
    assert!(plan.warnings().is_empty());
    let initrd = plan.loads().iter().find(|load| load.label == "initrd").unwrap();
    assert_eq!(initrd.range, GuestRange::new(0xff_d000, 5).unwrap());
}

#[test]
fn the_information_of_version_2() {
    let modules = [Module::new(0x1001).with_cmdline("one a=b".parse().unwrap())];
    let mut machine = pc(16 * MIB);
    machine.acpi_rsdp = Some(0xe_0000);
    let image = second(|header| {
        header.relocatable = Some(Relocatable::new(0x10_0000, u32::MAX, 0x10_0000, 2, false));
    });
    let cmdline: Cmdline = "kernel".parse().unwrap();
    let request = BootRequest::new(&image, &machine, &cmdline)
        .with_modules(&modules)
        .with_initrd(5);
    let protocol = PROTOCOL_MULTIBOOT2.with_rsdp(Rsdp::Old(*b"RSD PTR 012345678901"));
    let plan = protocol.plan(&request).unwrap();

    let mut expected = words(&[272, 0]);
    expected.extend(words(&[1, 15]));
    expected.extend(b"kernel\0\0");
    expected.extend(words(&[2, 15]));
    expected.extend(b"vmboot\0\0");
    expected.extend(words(&[3, 24, 0xff_e000, 0xff_f001]));
    expected.extend(b"one a=b\0");
    expected.extend(words(&[3, 17, 0xff_d000, 0xff_d005, 0, 0]));
    expected.extend(words(&[4, 16, 640, 15 << 10]));
    expected.extend(words(&[6, 112, 24, 0]));
    for (start, len, kind) in REGIONS {
        expected.extend(start.to_le_bytes());
        expected.extend(len.to_le_bytes());
        expected.extend(words(&[kind, 0]));
    }
    expected.extend(words(&[14, 28]));
    expected.extend(b"RSD PTR 012345678901\0\0\0\0");
    expected.extend(words(&[21, 12, 0xf0_0000, 0]));
    expected.extend(words(&[0, 8]));
    assert_eq!(info(&plan), expected);

    let mut registers = State::protected_mode(0xf0_0040, 0x08, 0x10);
    registers.rax = 0x36d7_6289;
    registers.rbx = 0x1000;
    assert_eq!(*state(&plan), registers);
    assert!(plan.warnings().is_empty());
}

#[test]
fn the_kernel_goes_where_its_header_allows() {
    let elsewhere =
        Placement::Relocatable(boot_core::Constraints::aligned(0x1000).between(8 * MIB, 16 * MIB));
    let check = |tag: Option<Relocatable>, expected: Result<u64, &str>| {
        for placement in [Placement::Fixed, elsewhere] {
            let mut header = Multiboot2Metadata::new(0, 0x100);
            header.relocatable = tag;
            let image = builder().placement(placement).metadata(header).build().unwrap();
            let (machine, cmdline) = (pc(16 * MIB), Cmdline::new());
            let request = BootRequest::new(&image, &machine, &cmdline);
            let plan = PROTOCOL_MULTIBOOT2.plan(&request);
            let found = plan.map(|plan| plan.kernel().start()).map_err(|error| {
                let source = error.source().map(|source| format!(": {source}"));
                format!("{error}{}", source.unwrap_or_default())
            });
            assert_eq!(found, expected.map_err(str::to_owned), "{tag:?}");
            // Version 1 has no such tag.
            assert_eq!(
                PROTOCOL_MULTIBOOT.plan(&request).unwrap().kernel().start(),
                2 * MIB
            );
        }
    };
    let tag = |min, max, align, preference| Some(Relocatable::new(min, max, align, preference, true));
    check(None, Ok(2 * MIB));
    check(tag(0, u32::MAX, 0x1000, 0), Ok(2 * MIB));
    check(tag(0x1000, u32::MAX, 0x1000, 1), Ok(0x1000));
    check(tag(0, u32::MAX, 0x1000, 2), Ok(16 * MIB - 0x2000));
    check(tag(0x30_0000, 0x3f_ffff, 0x1000, 2), Ok(4 * MIB - 0x2000));
    check(tag(0x30_0000, 0x3f_ffff, 0x10_0000, 0), Ok(3 * MIB));
    check(
        tag(0x4000_0000, u32::MAX, 0x1000, 0),
        Err(
            "no free RAM for the kernel: it needs 8 KiB aligned to 0x1000, between 0x40000000 and 0x100000000; no RAM is free \
             there",
        ),
    );
    check(
        tag(0, 0x1000, 0x1000, 0),
        Err(
            "the multiboot2 protocol cannot plan this boot: an image of 0x2000 bytes cannot be placed between 0x0 and 0x1001",
        ),
    );
}

#[test]
fn requirements_that_cannot_be_met_are_named() {
    let check = |image: KernelImage, protocol: &dyn BootProtocol, expected: Option<&str>| {
        let found = protocol.supports(&image).err().map(|reason| reason.to_string());
        assert_eq!(found.as_deref(), expected);
        let (machine, cmdline) = (pc(16 * MIB), Cmdline::new());
        let plan = protocol.plan(&BootRequest::new(&image, &machine, &cmdline));
        assert_eq!(plan.is_ok(), expected.is_none());
    };
    let v1 = |flags, expected| check(first(flags), &PROTOCOL_MULTIBOOT, expected);
    v1(0, None);
    v1(3, None);
    v1(0xffff_0003, None);
    v1(
        4,
        Some("its Multiboot header requires information about the video mode, which is not supported"),
    );
    v1(
        8,
        Some("its Multiboot header has a required flag that version 0.6.96 does not define"),
    );
    let v2 =
        |change: fn(&mut Multiboot2Metadata), expected| check(second(change), &PROTOCOL_MULTIBOOT2, expected);
    v2(|_| {}, None);
    v2(
        |header| header.unknown = vec![UnknownTag::new(11, true, 0), UnknownTag::new(12, false, 8)],
        Some("its Multiboot2 header has a required tag that version 2.0 does not define"),
    );
    v2(|header| header.unknown = vec![UnknownTag::new(11, true, 0)], None);
    v2(
        |header| header.framebuffer = Some(Framebuffer::new(1024, 768, 32, false)),
        Some("its Multiboot2 header requires a framebuffer, which is not supported"),
    );
    v2(
        |header| header.console = Some(Console::new(3, false)),
        Some("its Multiboot2 header requires a console, which is not supported"),
    );
    v2(|header| header.console = Some(Console::new(2, false)), None);
}

#[test]
fn what_is_optional_is_left_out_with_a_warning() {
    let check = |change: fn(&mut Multiboot2Metadata), expected: &[Warning]| {
        let (image, machine, cmdline) = (second(change), pc(16 * MIB), Cmdline::new());
        let plan = PROTOCOL_MULTIBOOT2
            .plan(&BootRequest::new(&image, &machine, &cmdline))
            .unwrap();
        let found: Vec<&Warning> = plan
            .warnings()
            .iter()
            .map(|warning| warning.downcast_ref().unwrap())
            .collect();
        assert_eq!(found, expected.iter().collect::<Vec<_>>());
    };
    check(|_| {}, &[]);
    check(
        |header| {
            header.requests = (0..=6)
                .filter(|tag| *tag != 5)
                .map(|tag| InfoRequest::new(InfoTag(tag), false))
                .collect();
        },
        &[],
    );
    check(
        |header| {
            header.requests = vec![
                InfoRequest::new(InfoTag(0x99), true),
                InfoRequest::new(InfoTag::ELF_SECTIONS, true),
                // This machine has neither.
                InfoRequest::new(InfoTag::VBE, false),
                InfoRequest::new(InfoTag::ACPI_NEW_RSDP, false),
                InfoRequest::new(InfoTag::LOAD_BASE, false),
            ];
        },
        &[0x99, 9, 7, 15, 21].map(|tag| Warning::TagLeftOut(InfoTag(tag))),
    );
    check(
        |header| {
            header.relocatable = Some(Relocatable::new(0, u32::MAX, 1, 0, true));
            header.requests = vec![InfoRequest::new(InfoTag::LOAD_BASE, false)];
        },
        &[],
    );
    check(
        |header| {
            header.framebuffer = Some(Framebuffer::new(0, 0, 0, true));
            header.console = Some(Console::new(1, true));
        },
        &[Warning::NoFramebuffer, Warning::NoConsole],
    );
    // The kernel supports EGA text mode, but does not require a console.
    check(|header| header.console = Some(Console::new(2, true)), &[]);
    assert_eq!(
        Warning::TagLeftOut(InfoTag::VBE).to_string(),
        "the kernel requests the VBE info (type 7) information tag, which the boot information does not have"
    );
}

#[test]
fn required_information_that_is_not_supported_is_an_error() {
    let check = |tag: InfoTag, rsdp: Option<u64>, copy: Option<Rsdp>, expected: Option<InfoRequestError>| {
        let image = second(|header| header.requests = vec![InfoRequest::new(tag, false)]);
        let (mut machine, cmdline) = (pc(16 * MIB), Cmdline::new());
        machine.acpi_rsdp = rsdp;
        let protocol = match copy {
            Some(copy) => PROTOCOL_MULTIBOOT2.with_rsdp(copy),
            None => PROTOCOL_MULTIBOOT2,
        };
        match protocol.plan(&BootRequest::new(&image, &machine, &cmdline)) {
            Ok(plan) => {
                assert_eq!(expected, None);
                // Only a tag that the machine does not have is left out.
                assert_eq!(plan.warnings().is_empty(), copy.is_some(), "{tag}");
            }
            Err(PlanError::Protocol { protocol, source }) => {
                assert_eq!(protocol, "multiboot2");
                assert_eq!(source.downcast_ref(), expected.as_ref());
            }
            Err(other) => panic!("{other:?}"),
        }
    };
    let unsupported = |tag| Some(InfoRequestError::Unsupported(tag));
    let (elf, old, new) = (
        InfoTag::ELF_SECTIONS,
        InfoTag::ACPI_OLD_RSDP,
        InfoTag::ACPI_NEW_RSDP,
    );
    check(elf, None, None, unsupported(elf));
    check(InfoTag(22), None, None, unsupported(InfoTag(22)));
    check(old, None, None, None);
    let missing = |tag| Some(InfoRequestError::NoRsdpCopy { tag, addr: 0xe_0000 });
    for tag in [old, new] {
        check(tag, Some(0xe_0000), None, missing(tag));
    }
    check(old, Some(0xe_0000), Some(Rsdp::Old([0; 20])), None);
    check(new, Some(0xe_0000), Some(Rsdp::New([0; 36])), None);
    check(new, Some(0xe_0000), Some(Rsdp::Old([0; 20])), missing(new));
    check(old, Some(0xe_0000), Some(Rsdp::New([0; 36])), missing(old));
    assert_eq!(
        unsupported(elf).unwrap().to_string(),
        "the Multiboot2 header requires the ELF symbols (type 9) information tag, which is not supported"
    );
}

#[test]
fn the_bios_data_area_needs_base_memory() {
    let check = |base: u64, expected: bool| {
        let mut map = MemoryMap::new();
        for (start, end) in [(base, 0x8_0000), (MIB, 4 * MIB)] {
            map.insert(GuestRange::from_bounds(start, end).unwrap(), RegionKind::Ram)
                .unwrap();
        }
        let (image, machine, cmdline) = (first(3), Machine::new(Arch::X86_64, map), Cmdline::new());
        let plan = PROTOCOL_MULTIBOOT
            .plan(&BootRequest::new(&image, &machine, &cmdline))
            .unwrap();
        let has_area = plan.loads().iter().any(|load| load.label == "BIOS data area");
        assert_eq!(has_area, expected, "{base:#x}");
    };
    check(0, true);
    // The area is RAM, but the PC has no base memory: that starts at 0.
    check(0x400, false);
    check(0x1000, false);
}

#[test]
fn a_movable_kernel_keeps_clear_of_a_fixed_bios_data_area() {
    let image = second(|header| header.relocatable = Some(Relocatable::new(0, u32::MAX, 0x100, 1, false)));
    let (machine, cmdline) = (pc(16 * MIB), Cmdline::new());
    let request = BootRequest::new(&image, &machine, &cmdline);
    let check = |fixed: &[FixedAddress<'_>], expected: Result<(u64, bool), &str>| {
        let plan = PROTOCOL_MULTIBOOT2.plan(&request.with_fixed_addresses(fixed));
        let found = plan.map(|plan| {
            let has_area = plan.loads().iter().any(|load| load.label == "BIOS data area");
            (plan.kernel().start(), has_area)
        });
        assert_eq!(
            found.map_err(|error| error.to_string()),
            expected.map_err(str::to_owned)
        );
    };
    let area = FixedAddress::new("BIOS data area", 0x400);
    check(&[], Ok((0, false)));
    check(&[area], Ok((0x500, true)));
    check(
        &[area, FixedAddress::new("kernel", 0x300)],
        Err("the BIOS data area must be at 0x400..0x500, but the kernel is at 0x300..0x2300"),
    );
}

#[test]
fn memory_sizes_end_at_the_first_hole() {
    let check = |ranges: &[(u64, u64)], expected: [u32; 2]| {
        let mut map = MemoryMap::new();
        for (start, end) in ranges {
            map.insert(GuestRange::from_bounds(*start, *end).unwrap(), RegionKind::Ram)
                .unwrap();
        }
        let (image, machine, cmdline) = (first(3), Machine::new(Arch::X86_64, map), Cmdline::new());
        let plan = PROTOCOL_MULTIBOOT
            .plan(&BootRequest::new(&image, &machine, &cmdline))
            .unwrap();
        assert_eq!(info(&plan)[4..12], words(&expected));
    };
    check(&[(0, 16 * MIB)], [640, 15 << 10]);
    check(&[(0, 0x8_0000), (2 * MIB, 4 * MIB)], [512, 0]);
    check(&[(0x1000, 0x2000), (MIB, 4 * MIB + 1023)], [0, 3 << 10]);
    check(&[(MIB / 2, 1 << 44)], [0, u32::MAX]);
}

#[test]
fn the_bios_data_area_has_the_size_of_base_memory() {
    let check = |kernel_at: u64, map: MemoryMap, expected: Option<u16>| {
        let image = ImageBuilder::new("multiboot", Arch::X86_64, Endian::Little, 0x100)
            .segment(
                SourceRange::whole(0x100),
                GuestRange::new(kernel_at, 0x100).unwrap(),
            )
            .entry(MULTIBOOT, kernel_at)
            .entry(MULTIBOOT2, kernel_at)
            .build()
            .unwrap();
        let (machine, cmdline) = (Machine::new(Arch::X86_64, map), Cmdline::new());
        let request = BootRequest::new(&image, &machine, &cmdline);
        for protocol in [&PROTOCOL_MULTIBOOT as &dyn BootProtocol, &PROTOCOL_MULTIBOOT2] {
            let plan = protocol.plan(&request).unwrap();
            let area = plan.loads().iter().find(|load| load.label == "BIOS data area");
            let found = area.map(|load| match &load.content {
                LoadContent::Bytes(bytes) => {
                    assert_eq!(load.range, GuestRange::new(0x400, 0x100).unwrap());
                    assert!(
                        bytes
                            .iter()
                            .enumerate()
                            .all(|(i, byte)| *byte == 0 || i == 0x13 || i == 0x14)
                    );
                    u16::from_le_bytes([bytes[0x13], bytes[0x14]])
                }
                other => panic!("{other:?}"),
            });
            assert_eq!(found, expected);
        }
    };
    let pc = || MemoryMap::pc(16 * MIB).unwrap();
    check(MIB, pc(), Some(640));
    // The kernel is loaded there.
    check(0x480, pc(), None);
    let mut high = MemoryMap::new();
    high.insert(GuestRange::new(MIB, 16 * MIB).unwrap(), RegionKind::Ram)
        .unwrap();
    check(2 * MIB, high, None);
}

#[test]
fn nothing_reaches_the_end_of_32_bits() {
    let mut map = MemoryMap::new();
    for (start, end) in [(0, 4 * MIB), (0xc000_0000, 1 << 32)] {
        map.insert(GuestRange::from_bounds(start, end).unwrap(), RegionKind::Ram)
            .unwrap();
    }
    let (image, machine, cmdline) = (first(3), Machine::new(Arch::X86_64, map), Cmdline::new());
    let modules = [Module::new(0x1000)];
    let request = BootRequest::new(&image, &machine, &cmdline).with_modules(&modules);
    for protocol in [&PROTOCOL_MULTIBOOT as &dyn BootProtocol, &PROTOCOL_MULTIBOOT2] {
        let plan = protocol.plan(&request).unwrap();
        let module = plan.loads().iter().find(|load| load.label == "module 0").unwrap();
        assert_eq!(module.range.end(), 0xffff_f000);
    }
}

#[test]
fn unsuitable_images_and_requests_are_refused_with_the_reason() {
    let image = |arch, abi| {
        ImageBuilder::new("elf", arch, Endian::Little, 8)
            .segment(SourceRange::whole(8), GuestRange::new(MIB, 8).unwrap())
            .entry(abi, MIB)
            .build()
            .unwrap()
    };
    let check = |protocol: &dyn BootProtocol, abi, expected: &'static [EntryAbi], priority| {
        assert_eq!(
            protocol.supports(&image(Arch::X86_64, EntryAbi::ELF32)),
            Err(IncompatibleImage::NoEntry { expected })
        );
        assert_eq!(
            protocol.supports(&image(Arch::Riscv64, abi)),
            Err(IncompatibleImage::Arch {
                expected: Arch::X86_64,
                found: Arch::Riscv64
            })
        );
        let support = protocol.supports(&image(Arch::X86_64, abi)).unwrap();
        assert_eq!(support.level, SupportLevel::Declared);
        assert_eq!(
            (protocol.name(), protocol.priority().value()),
            (abi.name(), priority)
        );
        let (image, machine, cmdline) = (image(Arch::X86_64, abi), pc(16 * MIB), Cmdline::new());
        let request = BootRequest::new(&image, &machine, &cmdline);
        assert!(protocol.plan(&request).is_ok());
        assert!(matches!(
            protocol.plan(&request.with_device_tree(b"")),
            Err(PlanError::NotAccepted {
                part: RequestPart::DeviceTree,
                ..
            })
        ));
    };
    check(&PROTOCOL_MULTIBOOT, MULTIBOOT, &[MULTIBOOT], 45);
    check(&PROTOCOL_MULTIBOOT2, MULTIBOOT2, &[MULTIBOOT2], 40);
}
