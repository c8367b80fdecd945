//! Placement, and requests and images that are refused.

use boot_core::{
    Arch, BootProtocol, BootRequest, Cmdline, Endian, EntryAbi, GuestRange, ImageBuilder, IncompatibleImage,
    KernelImage, Machine, MemoryMap, Module, Placement, PlanError, RegionKind, SourceRange, SupportLevel,
};
use boot_linux::vmlinux::{Evidence, LinuxMark, OtherMark};
use proto_linux_x86::{EntryChoice, LinuxX86, LinuxX86Error, PROTOCOL};

use crate::{BZIMAGE, BzImage, GIB, KERNEL_LEN, MIB, XLF_64, XLF_ABOVE, elf, labelled, pc};

/// The address of the kernel of `image` on a machine with one range of RAM, or the error.
fn place(image: &KernelImage, entry: EntryChoice, low: GuestRange, high: GuestRange) -> Result<u64, String> {
    let mut map = MemoryMap::new();
    map.insert(low, RegionKind::Ram).unwrap();
    map.insert(high, RegionKind::Ram).unwrap();
    let (machine, cmdline) = (Machine::new(Arch::X86_64, map), Cmdline::new());
    let plan = LinuxX86::new()
        .with_entry(entry)
        .plan(&BootRequest::new(image, &machine, &cmdline));
    plan.map(|plan| plan.kernel().start())
        .map_err(|error| error.to_string())
}

#[test]
fn kernels_are_placed_where_they_can_run() {
    let check = |image: KernelImage, entry, expected: Result<u64, &str>| {
        let low = GuestRange::new(0, 4 * MIB).unwrap();
        let found = place(&image, entry, low, GuestRange::new(4 * GIB, GIB).unwrap());
        assert_eq!(found.as_ref().map_err(|error| &**error).copied(), expected);
    };
    let auto = EntryChoice::Auto;
    check(BZIMAGE.image(), auto, Ok(4 * GIB));
    let no_room = "no free RAM for the kernel: it needs 4 MiB aligned to 0x200000, between 0x1000000 and 0x100000000; \
                   no RAM is free there";
    check(BZIMAGE.image(), EntryChoice::Only32Bit, Err(no_room));
    let low_only = BzImage {
        xloadflags: XLF_64,
        ..BZIMAGE
    };
    check(low_only.image(), auto, Err(no_room));
    // A kernel that is fixed at addresses without RAM.
    let fixed = BzImage {
        placement: Placement::Fixed,
        ..BZIMAGE
    };
    check(
        fixed.image(),
        auto,
        Err(
            "the kernel must be at 0x1000000..0x1400000, but the machine has no memory at 0x1000000..0x1400000",
        ),
    );
    check(elf(EntryAbi::ELF64, 4 * GIB + MIB), auto, Ok(4 * GIB + MIB));
    check(
        elf(EntryAbi::ELF32, 4 * GIB + MIB),
        auto,
        Err("the kernel must be at 0x100100000..0x100102000, but it can only be started below 0x100000000"),
    );
    check(elf(EntryAbi::ELF64, MIB), auto, Ok(MIB));
}

/// `p_memsz` of a segment is 1 TiB.
#[test]
fn a_kernel_larger_than_ram_is_refused() {
    let check = |placement, expected: &str| {
        let image = ImageBuilder::new("elf", Arch::X86_64, Endian::Little, KERNEL_LEN)
            .segment(
                SourceRange::whole(KERNEL_LEN),
                GuestRange::new(16 * MIB, 1 << 40).unwrap(),
            )
            .placement(placement)
            .entry(EntryAbi::ELF64, 16 * MIB)
            .build()
            .unwrap();
        let low = GuestRange::new(0, 64 * MIB).unwrap();
        let high = GuestRange::new(4 * GIB, GIB).unwrap();
        let found = place(&image, EntryChoice::Auto, low, high);
        assert_eq!(found.unwrap_err(), expected);
    };
    check(
        Placement::Fixed,
        "the kernel must be at 0x1000000..0x10001000000, but the machine has no memory at 0x4000000..0x100000000",
    );
    check(
        BZIMAGE.placement,
        "no free RAM for the kernel: it needs 1 TiB aligned to 0x200000, between 0x1000000 and 0x800000000000; the largest \
         free range there has 1 GiB",
    );
}

#[test]
fn nothing_is_placed_between_the_segments_of_a_kernel() {
    let part = |builder: ImageBuilder, at| {
        builder.segment(SourceRange::whole(8), GuestRange::new(at, 0x1000).unwrap())
    };
    let builder = ImageBuilder::new("elf", Arch::X86_64, Endian::Little, 8).entry(EntryAbi::ELF64, 0x2000);
    let image = part(part(builder, 0x2000), 40 * MIB).build().unwrap();
    let (machine, cmdline) = (pc(64 * MIB), Cmdline::new());
    let request = BootRequest::new(&image, &machine, &cmdline);
    let plan = PROTOCOL.plan(&request.with_initrd(20 * MIB)).unwrap();
    // There is room for one page below the kernel; the other loads are above it.
    let at = |label| labelled(&plan, label).unwrap().range.start();
    assert_eq!(
        (at("zero page"), at("GDT"), at("initrd")),
        (0x1000, 40 * MIB + 0x1000, 44 * MIB)
    );
    assert!(PROTOCOL.plan(&request.with_initrd(25 * MIB)).is_err());
}

#[test]
fn what_cannot_be_mapped_at_entry_is_refused() {
    let check = |at: u64, expected: &str| {
        let low = GuestRange::new(0, 64 * MIB).unwrap();
        let high = GuestRange::new(1 << 36, (1 << 47) - (1 << 35)).unwrap();
        let image = elf(EntryAbi::ELF64, at);
        assert_eq!(place(&image, EntryChoice::Auto, low, high).unwrap_err(), expected);
    };
    check(
        1 << 47,
        "the kernel must be at 0x800000000000..0x800000002000, but it can only be started below 0x800000000000",
    );
    let (image, cmdline) = (BZIMAGE.image(), Cmdline::new());
    let machine = pc(1 << 42);
    let request = BootRequest::new(&image, &machine, &cmdline).with_initrd(1 << 41);
    let PlanError::Protocol { source, .. } = PROTOCOL.plan(&request).unwrap_err() else {
        panic!()
    };
    assert!(
        matches!(source.downcast_ref(), Some(LinuxX86Error::MappingTooLarge { .. })),
        "{source}"
    );
}

#[test]
fn unsuitable_images_are_refused_with_the_reason() {
    let check = |entry, image: KernelImage, expected: &str| {
        let error = LinuxX86::new().with_entry(entry).supports(&image).unwrap_err();
        assert_eq!(error.to_string(), expected);
        let (machine, cmdline) = (pc(64 * MIB), Cmdline::new());
        let error = LinuxX86::new()
            .with_entry(entry)
            .plan(&BootRequest::new(&image, &machine, &cmdline));
        assert!(matches!(error, Err(PlanError::Incompatible { .. })));
    };
    let bzimage = |version, header_end, entries, xloadflags| {
        let placement = Placement::Fixed;
        let image = BzImage {
            version,
            header_end,
            xloadflags,
            entries,
            placement,
            ..BZIMAGE
        };
        image.image()
    };
    let (auto, old) = (
        EntryChoice::Auto,
        "its setup header has no cmd_line_ptr, which boot protocol 2.02 introduced",
    );
    let protected: &[_] = &[EntryAbi::LINUX_X86_32];
    check(auto, bzimage(0x201, 0x26c, protected, 0), old);
    check(auto, bzimage(0x20f, 0x22b, protected, 0), old);
    check(
        auto,
        bzimage(0x20f, 0x26c, &[EntryAbi::LINUX_X86_16], 0),
        "it has no linux-x86-64 or elf64 or linux-x86-32 or elf32 entry point",
    );
    check(
        EntryChoice::Only64Bit,
        bzimage(0x20f, 0x26c, protected, XLF_ABOVE),
        "it has no linux-x86-64 or elf64 entry point",
    );
    check(
        EntryChoice::Only64Bit,
        bzimage(0x20f, 0x26c, &[EntryAbi::LINUX_X86_64], 0),
        "it has no 64-bit entry point: XLF_KERNEL_64 in xloadflags is clear",
    );
    check(
        auto,
        elf(EntryAbi::LINUX_X86_64, MIB),
        "it has a Linux entry point but no setup header",
    );
    let arm = ImageBuilder::new("elf", Arch::Aarch64, Endian::Little, 8)
        .segment(SourceRange::whole(8), GuestRange::new(MIB, 8).unwrap())
        .entry(EntryAbi::ELF64, MIB)
        .build()
        .unwrap();
    assert_eq!(
        PROTOCOL.supports(&arm),
        Err(IncompatibleImage::Arch {
            expected: Arch::X86_64,
            found: Arch::Aarch64
        })
    );
}

#[test]
fn an_elf_file_is_supported_by_its_evidence() {
    let level = |image: &KernelImage| PROTOCOL.supports(image).unwrap().level;
    for abi in [EntryAbi::ELF64, EntryAbi::ELF32] {
        let with = |evidence: Option<Evidence>| {
            let mut builder = ImageBuilder::new("elf", Arch::X86_64, Endian::Little, 8)
                .segment(SourceRange::whole(8), GuestRange::new(MIB, 8).unwrap())
                .entry(abi, MIB);
            if let Some(evidence) = evidence {
                builder = builder.metadata(evidence);
            }
            builder.build().unwrap()
        };
        let linux = with(Some(Evidence::Linux(LinuxMark::Note)));
        assert_eq!(level(&linux), SupportLevel::Indicated);
        assert_eq!(level(&with(None)), SupportLevel::Possible);
        let other = with(Some(Evidence::Other(OtherMark::Multiboot)));
        assert_eq!(level(&other), SupportLevel::Contradicted);
        // An explicit choice of the protocol starts it.
        let (machine, cmdline) = (pc(64 * MIB), Cmdline::new());
        PROTOCOL
            .plan(&BootRequest::new(&other, &machine, &cmdline))
            .unwrap();
    }
    assert_eq!(level(&BZIMAGE.image()), SupportLevel::Declared);
}

#[test]
fn command_lines_and_modules_that_do_not_fit_are_refused() {
    let check = |bzimage: &BzImage, len: usize, fits: bool| {
        let (image, machine) = (bzimage.image(), pc(64 * MIB));
        let cmdline: Cmdline = "a".repeat(len).parse().unwrap();
        let plan = PROTOCOL.plan(&BootRequest::new(&image, &machine, &cmdline));
        assert_eq!(plan.is_ok(), fits, "{len}");
        assert!(plan.is_ok() || matches!(plan, Err(PlanError::Cmdline(_))));
    };
    check(&BZIMAGE, 2047, true);
    check(&BZIMAGE, 2048, false);
    let old = BzImage {
        version: 0x205,
        xloadflags: 0,
        entries: &[EntryAbi::LINUX_X86_32],
        ..BZIMAGE
    };
    check(&old, 255, true);
    check(&old, 256, false);
    let unlimited = BzImage {
        cmdline_size: u32::MAX,
        ..BZIMAGE
    };
    check(&unlimited, 0x2_0000, true);

    let (image, machine, cmdline) = (BZIMAGE.image(), pc(64 * MIB), Cmdline::new());
    let modules = [Module::new(1)];
    let request = BootRequest::new(&image, &machine, &cmdline).with_modules(&modules);
    assert_eq!(
        PROTOCOL.plan(&request).unwrap_err().to_string(),
        "the protocol linux cannot hand over modules"
    );
    let request = BootRequest::new(&image, &machine, &cmdline).with_device_tree(b"");
    assert_eq!(
        PROTOCOL.plan(&request).unwrap_err().to_string(),
        "the protocol linux cannot hand over a device tree"
    );
    assert_eq!((PROTOCOL.name(), PROTOCOL.priority().value()), ("linux", 50));
}
