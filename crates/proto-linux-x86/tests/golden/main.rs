//! Golden values: memory and registers of the guest, field by field, after a plan was loaded.

use boot_core::cpu::x86_64::{DescriptorTable, State};
use boot_core::{
    Arch, BootPlan, BootProtocol, BootRequest, Cmdline, Constraints, Endian, EntryAbi, GuestRange,
    ImageBuilder, KernelImage, Load, Machine, MemoryMap, Placement, PlanError, RegionKind, RequestPart,
    SourceRange, Sources,
};
use boot_linux::x86::{BootParams, E820Entry, SetupData, SetupHeader, SetupHeaderMetadata};
use boot_test::loaded::{Loaded, x86_state as state};
use proto_linux_x86::{EntryChoice, LinuxX86, LinuxX86Error, PROTOCOL};
use zerocopy::{FromBytes, FromZeros, IntoBytes};

mod refusals;

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

fn labelled<'a>(plan: &'a BootPlan, label: &str) -> Option<&'a Load> {
    plan.loads().iter().find(|load| load.label == label)
}

fn load(plan: &BootPlan, initrd: &[u8]) -> Loaded {
    let kernel = vec![0x90; usize::try_from(KERNEL_LEN).unwrap()];
    Loaded::new(plan, &Sources::kernel(&kernel).with_initrd(&initrd))
}

fn zero_page(loaded: &Loaded, plan: &BootPlan) -> BootParams {
    loaded.read(state(plan).rsi)
}

fn e820(loaded: &Loaded, plan: &BootPlan) -> Vec<E820Entry> {
    let page = zero_page(loaded, plan);
    let mut entries = page.e820_table[..page.e820_entries.into()].to_vec();
    let mut next = page.hdr.setup_data.get();
    while next != 0 {
        let (head, data) = SetupData::read_from_prefix(loaded.at(next)).unwrap();
        assert_eq!(head.kind.get(), 1);
        let data = &data[..usize::try_from(head.len.get()).unwrap()];
        entries.extend_from_slice(<[E820Entry]>::ref_from_bytes(data).unwrap());
        next = head.next.get();
    }
    entries
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
    let loaded = load(&plan, &initrd);

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
    let found = zero_page(&loaded, &plan);
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
    // A PML4, a PDPT and four page directories, which map the first 4 GiB.
    assert_eq!(
        labelled(&plan, "page tables").unwrap().range,
        GuestRange::new(0x4000, 0x6000).unwrap()
    );
    let mut tables = vec![0u64; 6 * 512];
    tables[0] = 0x5003;
    for (directory, entry) in (0..).zip(&mut tables[512..516]) {
        *entry = 0x6003 + directory * 0x1000;
    }
    for (page, entry) in (0..).zip(&mut tables[1024..]) {
        *entry = page << 21 | 0x83;
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
        let page = zero_page(&load(&plan, &[]), &plan);
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
        let loaded = load(&plan, &[]);
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
        let loaded = load(&plan, &[]);
        assert_eq!(zero_page(&loaded, &plan).e820_entries, in_page, "{count}");
        let nodes = labelled(&plan, "setup data").map_or(0, |load| load.range.len());
        assert_eq!(nodes, node_pages * 0x1000, "{count}");
        let found: Vec<_> = e820(&loaded, &plan)
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
    // PML4, one PDPT, and directories for the first 4 GiB and those of the initrd, 11 to 16.
    assert_eq!(
        labelled(&plan, "page tables").unwrap().range.len(),
        (1 + 1 + 4 + 6) * 0x1000
    );
}

/// Whether the page tables of `plan` map the 2 MiB page of `addr` to itself.
fn maps(plan: &BootPlan, addr: u64) -> bool {
    let tables = labelled(plan, "page tables").unwrap();
    let boot_core::LoadContent::Bytes(bytes) = &tables.content else {
        panic!()
    };
    let mut table = tables.range.start();
    for shift in [39, 30, 21] {
        let at = usize::try_from(table - tables.range.start() + 8 * (addr >> shift & 0x1ff)).unwrap();
        let entry = u64::from_le_bytes(bytes[at..at + 8].try_into().unwrap());
        match entry & 0xfff {
            0x83 if shift == 21 => return entry & !0xfff == addr & !0x1f_ffff,
            0x03 => table = entry & !0xfff,
            _ => return false,
        }
    }
    false
}

#[test]
fn everything_that_a_kernel_reads_early_is_mapped() {
    let image = BZIMAGE.image();
    let mut machine = pc(6 * GIB);
    let tables = GuestRange::new(0x1_7000_0000, 0x1_0000).unwrap();
    let nvs = GuestRange::new(0x1_6fff_0000, 0x1_0000).unwrap();
    machine
        .memory
        .reserve(tables, RegionKind::AcpiReclaimable)
        .unwrap();
    machine.memory.reserve(nvs, RegionKind::AcpiNvs).unwrap();
    machine.acpi_rsdp = Some(9 * GIB);
    let cmdline = Cmdline::new();
    let plan = PROTOCOL
        .plan(&BootRequest::new(&image, &machine, &cmdline))
        .unwrap();
    let low = (0..4 * GIB).step_by(2 << 20);
    for addr in low.chain([tables.start(), tables.end() - 1, nvs.start(), 9 * GIB]) {
        assert!(maps(&plan, addr), "{addr:#x}");
    }
    for addr in [4 * GIB, tables.end() + (2 << 20), 9 * GIB + (2 << 20)] {
        assert!(!maps(&plan, addr), "{addr:#x}");
    }
}

#[test]
fn a_random_seed_is_the_last_node_of_setup_data() {
    let check = |count: u64, seed: &[u8], nodes: u64| {
        let image = BZIMAGE.image();
        let machine = Machine::new(Arch::X86_64, regions(count));
        let cmdline = Cmdline::new();
        let request = BootRequest::new(&image, &machine, &cmdline).with_rng_seed(seed);
        let plan = PROTOCOL.plan(&request).unwrap();
        let loaded = load(&plan, &[]);
        let mut node = zero_page(&loaded, &plan).hdr.setup_data.get();
        let mut found = Vec::new();
        while node != 0 {
            let bytes = loaded.at(node);
            let (head, data) = SetupData::read_from_prefix(bytes).unwrap();
            let len = usize::try_from(head.len.get()).unwrap();
            found.push((head.kind.get(), data[..len].to_vec()));
            node = head.next.get();
        }
        assert_eq!(found.len() as u64, nodes, "{count}");
        // SETUP_RNG_SEED
        assert_eq!(found.last().unwrap(), &(9, seed.to_vec()), "{count}");
        assert!(found.iter().rev().skip(1).all(|(kind, _)| *kind == 1), "{count}");
    };
    check(1, b"seed", 1);
    check(1, b"", 1);
    check(128, &[7; 4080], 1);
    check(129, b"seed", 2);
    check(333, b"seed", 3);
}

#[test]
fn seeds_that_cannot_be_handed_over_are_refused() {
    let machine = pc(256 * MIB);
    let cmdline = Cmdline::new();
    let plan = |image: &KernelImage, rng: Option<&[u8]>, kaslr| {
        let mut request = BootRequest::new(image, &machine, &cmdline);
        request.rng_seed = rng;
        request.kaslr_seed = kaslr;
        PROTOCOL.plan(&request).map(drop)
    };
    let refused = |result: Result<(), PlanError>, expected| match result {
        Err(PlanError::NotAccepted { part, .. }) => assert_eq!(part, expected),
        other => panic!("{expected}: {other:?}"),
    };
    let old = BzImage {
        version: 0x208,
        ..BZIMAGE
    };
    let (new, old) = (BZIMAGE.image(), old.image());
    assert!(plan(&new, Some(&[1]), None).is_ok());
    assert!(plan(&elf(EntryAbi::ELF64, 0x100_0000), Some(&[1]), None).is_ok());
    assert!(plan(&old, None, None).is_ok());
    refused(plan(&old, Some(&[1]), None), RequestPart::RngSeed);
    refused(plan(&new, None, Some(1)), RequestPart::KaslrSeed);
    assert!(matches!(
        plan(&new, Some(&[0; 4081]), None),
        Err(PlanError::TooLarge {
            found: 4081,
            max: 4080,
            ..
        })
    ));
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
    assert_eq!(zero_page(&load(&plan, &[]), &plan).alt_mem_k.get(), 0);
}
