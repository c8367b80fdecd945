//! Golden values: memory and registers of the guest, field by field, after a plan was loaded.

use boot_core::cpu::x86_64::{DescriptorTable, State};
use boot_core::{
    Arch, BootPlan, BootProtocol, BootRequest, Cmdline, Constraints, CpuState, Endian, EntryAbi, GuestRange,
    ImageBuilder, IncompatibleImage, KernelImage, Load, Machine, MemoryMap, Module, Placement, PlanError,
    RegionKind, SliceMemory, SourceRange, Sources,
};
use boot_linux::x86::{BootParams, E820Entry, SetupData, SetupHeader, SetupHeaderMetadata};
use proto_linux_x86::{EntryChoice, LinuxX86, LinuxX86Error, PROTOCOL};
use zerocopy::{FromBytes, FromZeros, IntoBytes};

const MIB: u64 = 1 << 20;
const GIB: u64 = 1 << 30;

/// `XLF_KERNEL_64`, `XLF_CAN_BE_LOADED_ABOVE_4G`.
const XLF_64: u16 = 1;
const XLF_ABOVE: u16 = 3;

/// A bzImage as its parser describes it: 8 KiB of code at 16 MiB, where it needs 4 MiB.
struct BzImage {
    version: u16,
    header_end: usize,
    xloadflags: u16,
    initrd_addr_max: u32,
    cmdline_size: u32,
    entries: &'static [EntryAbi],
    placement: Placement,
    at: u64,
}

const KERNEL_LEN: u64 = 0x2000;
const KERNEL_EXTENT: u64 = 4 * MIB;

const BZIMAGE: BzImage = BzImage {
    version: 0x20f,
    header_end: 0x26c,
    xloadflags: XLF_ABOVE,
    initrd_addr_max: 0x7fff_ffff,
    cmdline_size: 2047,
    entries: &[EntryAbi::LINUX_X86_64, EntryAbi::LINUX_X86_32],
    placement: Placement::Relocatable(
        Constraints::aligned(0x20_0000)
            .between(16 * MIB, u64::MAX)
            .prefer(16 * MIB),
    ),
    at: 16 * MIB,
};

impl BzImage {
    fn setup_header(&self) -> SetupHeaderMetadata {
        // A value that no field has, to detect lost and additional fields.
        let mut header = SetupHeader::read_from_bytes(&[0xa5; size_of::<SetupHeader>()]).unwrap();
        header.boot_flag = 0xaa55.into();
        header.header = *b"HdrS";
        header.version = self.version.into();
        header.xloadflags = self.xloadflags.into();
        header.initrd_addr_max = self.initrd_addr_max.into();
        header.cmdline_size = self.cmdline_size.into();
        SetupHeaderMetadata::new(&header, self.header_end - 0x1f1)
    }

    fn image(&self) -> KernelImage {
        let range = |len| GuestRange::new(self.at, len).unwrap();
        let builder = ImageBuilder::new("bzimage", Arch::X86_64, Endian::Little, KERNEL_LEN)
            .segment(SourceRange::whole(KERNEL_LEN), range(KERNEL_LEN))
            .extent(range(KERNEL_EXTENT))
            .placement(self.placement)
            .metadata(self.setup_header());
        let entry = |abi| match abi {
            EntryAbi::LINUX_X86_64 => self.at + 0x200,
            _ => self.at,
        };
        self.entries
            .iter()
            .fold(builder, |builder, abi| builder.entry(*abi, entry(*abi)))
            .build()
            .unwrap()
    }
}

/// An ELF kernel of one segment: 8 KiB at `at`.
fn elf(abi: EntryAbi, at: u64) -> KernelImage {
    ImageBuilder::new("elf", Arch::X86_64, Endian::Little, KERNEL_LEN)
        .segment(
            SourceRange::whole(KERNEL_LEN),
            GuestRange::new(at, KERNEL_LEN).unwrap(),
        )
        .entry(abi, at + 0x100)
        .build()
        .unwrap()
}

fn pc(len: u64) -> Machine {
    Machine::new(Arch::X86_64, MemoryMap::pc(len).unwrap())
}

fn state(plan: &BootPlan) -> &State {
    match plan.cpus() {
        [CpuState::X86_64(state)] => state,
        other => panic!("{other:?}"),
    }
}

fn labelled<'a>(plan: &'a BootPlan, label: &str) -> Option<&'a Load> {
    plan.loads().iter().find(|load| load.label == label)
}

/// What `plan` writes, by address.
struct Loaded(Vec<(u64, Vec<u8>)>);

impl Loaded {
    fn new(plan: &BootPlan, initrd: &[u8]) -> Self {
        let empty = |load: &Load| {
            let len = usize::try_from(load.range.len()).unwrap();
            (load.range.start(), vec![0xee; len])
        };
        let mut ram: Vec<_> = plan.loads().iter().map(empty).collect();
        let mut memory = SliceMemory::new();
        for (addr, bytes) in &mut ram {
            memory.add(*addr, bytes).unwrap();
        }
        let kernel = vec![0x90; usize::try_from(KERNEL_LEN).unwrap()];
        let sources = Sources::kernel(&kernel).with_initrd(&initrd);
        plan.load(&sources, &mut memory).unwrap();
        Self(ram)
    }

    fn at(&self, addr: u64) -> &[u8] {
        let inside = |(start, bytes): &&(u64, Vec<u8>)| {
            addr.checked_sub(*start)
                .is_some_and(|offset| offset < bytes.len() as u64)
        };
        let (start, bytes) = self.0.iter().find(inside).unwrap();
        &bytes[usize::try_from(addr - start).unwrap()..]
    }

    fn zero_page(&self, plan: &BootPlan) -> BootParams {
        BootParams::read_from_prefix(self.at(state(plan).rsi)).unwrap().0
    }

    fn e820(&self, plan: &BootPlan) -> Vec<E820Entry> {
        let page = self.zero_page(plan);
        let mut entries = page.e820_table[..page.e820_entries.into()].to_vec();
        let mut next = page.hdr.setup_data.get();
        while next != 0 {
            let (head, data) = SetupData::read_from_prefix(self.at(next)).unwrap();
            assert_eq!(head.kind.get(), 1);
            let data = &data[..usize::try_from(head.len.get()).unwrap()];
            entries.extend_from_slice(<[E820Entry]>::ref_from_bytes(data).unwrap());
            next = head.next.get();
        }
        entries
    }
}

#[test]
fn a_bzimage_at_its_64_bit_entry() {
    let image = BZIMAGE.image();
    let mut machine = pc(256 * MIB);
    machine.acpi_rsdp = Some(0xe_1230);
    let cmdline: Cmdline = "console=ttyS0 quiet".parse().unwrap();
    let initrd: Vec<u8> = (0..0x1801u32).map(|i| i.to_le_bytes()[0]).collect();
    let plan = PROTOCOL
        .plan(&BootRequest::new(&image, &machine, &cmdline).with_initrd(0x1801))
        .unwrap();
    let loaded = Loaded::new(&plan, &initrd);

    let mut expected = BootParams::new_zeroed();
    expected.hdr = *BZIMAGE.setup_header().header();
    expected.hdr.vid_mode = 0xffff.into();
    expected.hdr.type_of_loader = 0xff;
    expected.hdr.loadflags = 1;
    expected.hdr.code32_start = 0x100_0000.into();
    expected.hdr.ramdisk_image = 0xfff_e000.into();
    expected.hdr.ramdisk_size = 0x1801.into();
    expected.hdr.ext_loader_ver = 0;
    expected.hdr.ext_loader_type = 0;
    expected.hdr.cmd_line_ptr = 0x3000.into();
    expected.hdr.hardware_subarch = 0.into();
    expected.hdr.setup_data = 0.into();
    expected.acpi_rsdp_addr = 0xe_1230.into();
    expected.alt_mem_k = (255 * 1024).into();
    expected.e820_entries = 4;
    let entries = [
        (0, 0xa_0000, 1),
        (0xa_0000, 0x6_0000, 2),
        (0x10_0000, 0xff0_0000, 1),
        (0xfec0_0000, 0x140_0000, 2),
    ];
    for (entry, (addr, size, kind)) in expected.e820_table.iter_mut().zip(entries) {
        *entry = E820Entry {
            addr: u64::into(addr),
            size: u64::into(size),
            kind: u32::into(kind),
        };
    }
    let found = loaded.zero_page(&plan);
    assert_eq!(found.as_bytes(), expected.as_bytes(), "{found:#?}");
    assert!(loaded.at(0x3000).starts_with(b"console=ttyS0 quiet\0"));
    assert!(loaded.at(0xfff_e000).starts_with(&initrd));

    let state = state(&plan);
    let gdtr = DescriptorTable::new(0x2000, 0x1f);
    let mut registers = State::long_mode(0x100_0200, 0x4000, 0x10, 0x18);
    registers.rsi = 0x1000;
    registers.gdtr = gdtr;
    assert_eq!(*state, registers);
    let gdt = [0, 0, 0x00af_9b00_0000_ffff, 0x00cf_9300_0000_ffff];
    assert!(
        loaded
            .at(0x2000)
            .starts_with(gdt.map(u64::to_le_bytes).as_flattened())
    );
    // One table for each level: everything is in the first GiB. Pages: 0, 16 to 20 MiB, and that of the initrd.
    assert_eq!(
        labelled(&plan, "page tables").unwrap().range,
        GuestRange::new(0x4000, 0x3000).unwrap()
    );
    let mut tables = vec![0u64; 3 * 512];
    tables[0] = 0x5003;
    tables[512] = 0x6003;
    for page in [0, 8, 9, 127] {
        tables[1024 + page] = (page as u64) << 21 | 0x83;
    }
    assert!(loaded.at(0x4000) == tables.as_bytes(), "the page tables");
}

#[test]
fn an_elf_kernel_gets_a_header_of_its_own() {
    let check = |abi, initrd_addr_max: u32, xloadflags: u16, long| {
        let image = elf(abi, 0x100_0000);
        let (machine, cmdline) = (pc(64 * MIB), Cmdline::new());
        let plan = PROTOCOL
            .plan(&BootRequest::new(&image, &machine, &cmdline))
            .unwrap();
        let page = Loaded::new(&plan, &[]).zero_page(&plan);
        let mut header = SetupHeader::new_zeroed();
        header.vid_mode = 0xffff.into();
        header.boot_flag = 0xaa55.into();
        header.jump = [0xeb, 0x66];
        header.header = *b"HdrS";
        header.version = 0x20c.into();
        header.type_of_loader = 0xff;
        header.loadflags = 1;
        header.code32_start = 0x100_0000.into();
        header.cmd_line_ptr = 0x3000.into();
        header.initrd_addr_max = initrd_addr_max.into();
        header.kernel_alignment = 0x20_0000.into();
        header.xloadflags = xloadflags.into();
        header.cmdline_size = 2047.into();
        header.pref_address = 0x100_0000.into();
        header.init_size = 0x2000.into();
        assert_eq!(page.hdr, header);
        assert_eq!(state(&plan).rip, 0x100_0100);
        assert_eq!(state(&plan).efer != 0, long);
    };
    check(EntryAbi::ELF64, 0x7fff_ffff, 1, true);
    check(EntryAbi::ELF32, 0x37ff_ffff, 0, false);
}

#[test]
fn the_32_bit_entry() {
    let check = |entry: EntryChoice, entries: &'static [EntryAbi], xloadflags| {
        let image = BzImage {
            xloadflags,
            entries,
            ..BZIMAGE
        }
        .image();
        let (machine, cmdline) = (pc(64 * MIB), Cmdline::new());
        let plan = LinuxX86::new()
            .with_entry(entry)
            .plan(&BootRequest::new(&image, &machine, &cmdline))
            .unwrap();
        let loaded = Loaded::new(&plan, &[]);
        let mut registers = State::protected_mode(0x100_0000, 0x10, 0x18);
        registers.rsi = 0x1000;
        registers.gdtr = DescriptorTable::new(0x2000, 0x1f);
        assert_eq!(*state(&plan), registers);
        let gdt = [0, 0, 0x00cf_9b00_0000_ffff, 0x00cf_9300_0000_ffff];
        assert!(
            loaded
                .at(0x2000)
                .starts_with(gdt.map(u64::to_le_bytes).as_flattened())
        );
        assert!(labelled(&plan, "page tables").is_none());
    };
    check(EntryChoice::Only32Bit, BZIMAGE.entries, XLF_ABOVE);
    check(EntryChoice::Auto, &[EntryAbi::LINUX_X86_32], XLF_ABOVE);
    // The 64-bit entry point is not used if the header excludes it.
    check(EntryChoice::Auto, BZIMAGE.entries, 0);
}

/// 64 MiB of RAM from zero and `count - 1` more regions, none of which touch.
fn regions(count: u64) -> MemoryMap {
    let mut map = MemoryMap::new();
    for i in 0..count {
        let range = match i {
            0 => GuestRange::new(0, 64 * MIB),
            i => GuestRange::new(GIB + i * 0x2000, 0x1000),
        };
        let kind =
            [RegionKind::Ram, RegionKind::Reserved, RegionKind::AcpiNvs][usize::try_from(i % 3).unwrap()];
        map.insert(range.unwrap(), kind).unwrap();
    }
    map
}

#[test]
fn a_memory_map_of_any_length_arrives() {
    // Nodes hold 204 entries each.
    let check = |count: u64, in_page: u8, node_pages: u64| {
        let image = BZIMAGE.image();
        let machine = Machine::new(Arch::X86_64, regions(count));
        let cmdline = Cmdline::new();
        let plan = PROTOCOL
            .plan(&BootRequest::new(&image, &machine, &cmdline))
            .unwrap();
        let loaded = Loaded::new(&plan, &[]);
        assert_eq!(loaded.zero_page(&plan).e820_entries, in_page, "{count}");
        let nodes = labelled(&plan, "setup data").map_or(0, |load| load.range.len());
        assert_eq!(nodes, node_pages * 0x1000, "{count}");
        let found: Vec<_> = loaded
            .e820(&plan)
            .iter()
            .map(|entry| (entry.addr.get(), entry.size.get(), entry.kind.get()))
            .collect();
        let expected: Vec<_> = machine
            .memory
            .regions()
            .iter()
            .map(|region| {
                let kind = match region.kind {
                    RegionKind::Ram => 1,
                    RegionKind::Reserved => 2,
                    _ => 4,
                };
                (region.range.start(), region.range.len(), kind)
            })
            .collect();
        assert_eq!(found, expected);
    };
    check(1, 1, 0);
    check(127, 127, 0);
    check(128, 128, 0);
    check(129, 128, 1);
    check(300, 128, 1);
    check(128 + 204, 128, 1);
    check(128 + 205, 128, 2);
    check(1000, 128, 5);
}

#[test]
fn a_kernel_without_setup_data_takes_128_regions() {
    let image = BzImage {
        version: 0x208,
        placement: Placement::Fixed,
        xloadflags: 0,
        entries: &[EntryAbi::LINUX_X86_32],
        ..BZIMAGE
    }
    .image();
    let cmdline = Cmdline::new();
    let plan = |count| {
        let machine = Machine::new(Arch::X86_64, regions(count));
        PROTOCOL.plan(&BootRequest::new(&image, &machine, &cmdline))
    };
    assert!(plan(128).is_ok());
    let PlanError::Protocol { source, .. } = plan(129).unwrap_err() else {
        panic!()
    };
    assert_eq!(
        source.to_string(),
        "the memory map has 129 regions, but a kernel of boot protocol 2.08 supports only 128; kernels of 2.09 and later \
         support more"
    );
    assert!(matches!(
        source.downcast_ref(),
        Some(LinuxX86Error::TooManyRegions { regions: 129, .. })
    ));
}

#[test]
fn initrds_go_as_high_as_kernel_and_ram_allow() {
    let check = |ram: u64, len: u64, bzimage: BzImage, entry, expected: Option<u64>| {
        let (image, machine, cmdline) = (bzimage.image(), pc(ram), Cmdline::new());
        let request = BootRequest::new(&image, &machine, &cmdline).with_initrd(len);
        let found = LinuxX86::new().with_entry(entry).plan(&request);
        let found = found.map(|plan| labelled(&plan, "initrd").unwrap().range.start());
        assert_eq!(
            found.as_ref().ok(),
            expected.as_ref(),
            "{ram:#x} {len:#x} {found:?}"
        );
    };
    let auto = EntryChoice::Auto;
    let with = |initrd_addr_max, xloadflags| BzImage {
        xloadflags,
        initrd_addr_max,
        ..BZIMAGE
    };
    let max = 0x7fff_ffff;
    // RAM ends below the limit.
    check(64 * MIB, 1, BZIMAGE, auto, Some(64 * MIB - 0x1000));
    check(64 * MIB, 0x1001, BZIMAGE, auto, Some(64 * MIB - 0x2000));
    // The limit is the address of the last byte.
    check(4 * GIB, 0x1000, BZIMAGE, auto, Some(0x7fff_f000));
    check(
        4 * GIB,
        MIB,
        with(0x37ff_ffff, XLF_ABOVE),
        auto,
        Some(0x37f0_0000),
    );
    check(
        4 * GIB,
        0x2_0000,
        with(0x37ff_fffe, XLF_ABOVE),
        auto,
        Some(0x37fd_f000),
    );
    // Above the limit, but below 4 GiB: there is no room below the limit, and the kernel supports it.
    check(6 * GIB, 2 * GIB, with(max, XLF_ABOVE), auto, Some(GIB));
    check(6 * GIB, 2 * GIB, with(max, XLF_64), auto, None);
    check(
        6 * GIB,
        2 * GIB,
        with(max, XLF_ABOVE),
        EntryChoice::Only32Bit,
        None,
    );
    // Above 4 GiB, where RAM continues.
    check(8 * GIB, 3 * GIB, with(max, XLF_ABOVE), auto, Some(6 * GIB));
    check(8 * GIB, 3 * GIB, with(max, XLF_64), auto, None);
    check(
        8 * GIB,
        3 * GIB,
        with(max, XLF_ABOVE),
        EntryChoice::Only32Bit,
        None,
    );
    // Longer than RAM, and longer than the address space.
    check(8 * GIB, 8 * GIB, with(max, XLF_ABOVE), auto, None);
    check(8 * GIB, u64::MAX, with(max, XLF_ABOVE), auto, None);
    // Between kernel and the end of RAM there is no room: below the kernel.
    check(24 * MIB, 6 * MIB, BZIMAGE, auto, Some(10 * MIB));
    // Before 2.03 the limit is the default of boot.rst.
    let old = BzImage {
        version: 0x202,
        xloadflags: 0,
        placement: Placement::Fixed,
        entries: &[EntryAbi::LINUX_X86_32],
        ..BZIMAGE
    };
    check(2 * GIB, 0x2_0000, old, auto, Some(0x37fe_0000));
}

#[test]
fn the_address_of_an_initrd_above_4_gib_is_in_two_fields() {
    let (image, machine, cmdline) = (BZIMAGE.image(), pc(16 * GIB), Cmdline::new());
    let request = BootRequest::new(&image, &machine, &cmdline).with_initrd(5 * GIB + 1);
    let plan = PROTOCOL.plan(&request).unwrap();
    let Some(boot_core::LoadContent::Bytes(page)) = labelled(&plan, "zero page").map(|load| &load.content)
    else {
        panic!()
    };
    let page = BootParams::read_from_bytes(page).unwrap();
    // RAM ends at 17 GiB: 12 GiB less a page.
    assert_eq!(
        (page.hdr.ramdisk_image.get(), page.ext_ramdisk_image.get()),
        (0xffff_f000, 2)
    );
    assert_eq!(
        (page.hdr.ramdisk_size.get(), page.ext_ramdisk_size.get()),
        (0x4000_0001, 1)
    );
    // PML4, one PDPT, and directories for the first GiB and those of the initrd, 11 to 16.
    assert_eq!(
        labelled(&plan, "page tables").unwrap().range.len(),
        (1 + 1 + 1 + 6) * 0x1000
    );
}

#[test]
fn an_initrd_of_no_bytes_is_none() {
    let (image, machine, cmdline) = (BZIMAGE.image(), pc(64 * MIB), Cmdline::new());
    let request = BootRequest::new(&image, &machine, &cmdline);
    let without = PROTOCOL.plan(&request).unwrap();
    let empty = PROTOCOL.plan(&request.with_initrd(0)).unwrap();
    assert_eq!(without.loads(), empty.loads());
}

#[test]
fn a_machine_without_low_memory_boots_too() {
    let mut map = MemoryMap::new();
    map.insert(GuestRange::new(GIB, GIB).unwrap(), RegionKind::Ram)
        .unwrap();
    let (image, machine, cmdline) = (BZIMAGE.image(), Machine::new(Arch::X86_64, map), Cmdline::new());
    let plan = PROTOCOL
        .plan(&BootRequest::new(&image, &machine, &cmdline))
        .unwrap();
    assert_eq!(plan.kernel().start(), GIB);
    assert_eq!(state(&plan).rsi, GIB + KERNEL_EXTENT);
    assert_eq!(Loaded::new(&plan, &[]).zero_page(&plan).alt_mem_k.get(), 0);
}

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
    let no_room = "no free RAM for the kernel: it needs 0x400000 bytes aligned to 0x200000, between 0x1000000 and \
                   0x100000000";
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
        "the linux protocol cannot hand over modules"
    );
    let request = BootRequest::new(&image, &machine, &cmdline).with_device_tree(b"");
    assert_eq!(
        PROTOCOL.plan(&request).unwrap_err().to_string(),
        "the linux protocol cannot hand over a device tree"
    );
    assert_eq!((PROTOCOL.name(), PROTOCOL.priority().value()), ("linux", 50));
}
