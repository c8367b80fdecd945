//! Addresses that the request fixes, additional loads, and room for a command line.

use boot_core::{
    AdditionalLoad, Arch, BootPlan, BootProtocol, BootRequest, Cmdline, Constraints, CpuState, Endian,
    EntryAbi, FixedAddress, GuestRange, ImageBuilder, KernelImage, LoadContent, Machine, MemoryMap,
    Placement, PlacementError, PlanError, RegionKind, SourceRange,
};
use boot_linux::x86::BootParams;
use proto_linux_x86::{PROTOCOL, label};
use zerocopy::FromBytes;

const MIB: u64 = 1 << 20;

fn range(start: u64, len: u64) -> GuestRange {
    GuestRange::new(start, len).unwrap()
}

/// A relocatable kernel of 2 MiB at 16 MiB.
fn image() -> KernelImage {
    ImageBuilder::new("elf", Arch::X86_64, Endian::Little, 2 * MIB)
        .segment(SourceRange::whole(2 * MIB), range(16 * MIB, 2 * MIB))
        .placement(Placement::Relocatable(
            Constraints::aligned(2 * MIB)
                .between(MIB, u64::MAX)
                .prefer(16 * MIB),
        ))
        .entry(EntryAbi::ELF64, 16 * MIB)
        .build()
        .unwrap()
}

fn machine() -> Machine {
    Machine::new(Arch::X86_64, MemoryMap::pc(64 * MIB).unwrap())
}

fn start(plan: &BootPlan, label: &str) -> u64 {
    let load = plan.loads().iter().find(|load| load.label == label);
    load.unwrap_or_else(|| panic!("no {label}")).range.start()
}

fn zero_page(plan: &BootPlan) -> BootParams {
    let load = plan.loads().iter().find(|load| load.label == label::ZERO_PAGE);
    let LoadContent::Bytes(bytes) = &load.unwrap().content else {
        panic!("the zero page is made of bytes");
    };
    BootParams::read_from_bytes(bytes).unwrap()
}

#[test]
fn pieces_are_where_the_request_fixes_them() {
    let (image, machine, cmdline) = (image(), machine(), Cmdline::new());
    let fixed = [
        FixedAddress::new(label::GDT, 0x1000),
        FixedAddress::new(label::ZERO_PAGE, 0x7000),
        FixedAddress::new(label::PAGE_TABLES, 0x9000),
        FixedAddress::new(label::COMMAND_LINE, 0x2_0000),
        FixedAddress::new(label::INITRD, 32 * MIB),
        FixedAddress::new("kernel", 4 * MIB),
    ];
    let request = BootRequest::new(&image, &machine, &cmdline).with_initrd(MIB);
    let plan = PROTOCOL.plan(&request.with_fixed_addresses(&fixed)).unwrap();
    for fixed in &fixed[..5] {
        assert_eq!(start(&plan, fixed.label), fixed.addr, "{}", fixed.label);
    }
    assert_eq!(plan.kernel(), range(4 * MIB, 2 * MIB));
    let page = zero_page(&plan);
    assert_eq!(page.hdr.cmd_line_ptr.get(), 0x2_0000);
    assert_eq!(page.hdr.ramdisk_image.get(), 0x200_0000);
    let [CpuState::X86_64(state)] = plan.cpus() else {
        panic!("{:?}", plan.cpus());
    };
    assert_eq!((state.rip, state.rsi, state.cr3), (4 * MIB, 0x7000, 0x9000));
    assert_eq!(state.gdtr.base, 0x1000);

    // The other pieces keep clear of one that is fixed where they would be, and so do kernel and additional loads.
    let bytes = [0x5a; 0x1000];
    let wanted = Constraints::aligned(0x1000).prefer(0x7000);
    let loads = [AdditionalLoad::bytes("tables", &bytes).within(wanted)];
    let fixed = [
        FixedAddress::new(label::INITRD, 17 * MIB),
        FixedAddress::new(label::ZERO_PAGE, 0x7000),
    ];
    let with_loads = request.with_additional_loads(&loads).with_fixed_addresses(&fixed);
    let plan = PROTOCOL.plan(&with_loads).unwrap();
    assert_eq!(start(&plan, label::INITRD), 17 * MIB);
    assert_eq!(start(&plan, label::ZERO_PAGE), 0x7000);
    assert_eq!(start(&plan, "tables"), 0);
    assert_eq!(plan.kernel(), range(2 * MIB, 2 * MIB));

    let fixed = [FixedAddress::new(label::COMMAND_LINE, 0x1000)];
    let plan = PROTOCOL.plan(&request.with_fixed_addresses(&fixed)).unwrap();
    assert_eq!(start(&plan, label::COMMAND_LINE), 0x1000);
    assert_eq!(start(&plan, label::ZERO_PAGE), 0x2000);
}

#[test]
fn a_number_chooses_the_address_of_the_kernel() {
    let (image, machine, cmdline) = (image(), machine(), Cmdline::new());
    let plan = |seed| {
        let request = BootRequest::new(&image, &machine, &cmdline)
            .with_initrd(MIB)
            .with_placement_seed(seed);
        PROTOCOL.plan(&request).unwrap()
    };
    let seeds: Vec<u64> = (0..10).map(|n| n << 60).collect();
    let mut bases: Vec<_> = seeds.iter().map(|seed| plan(*seed).kernel().start()).collect();
    for base in &bases {
        assert_eq!(base % (2 * MIB), 0, "{base:#x}");
    }
    bases.sort_unstable();
    bases.dedup();
    assert_eq!(bases.len(), seeds.len(), "{bases:x?}");
    assert_eq!(plan(seeds[7]), plan(seeds[7]));
    // A fixed address goes before.
    let fixed = [FixedAddress::new("kernel", 4 * MIB)];
    let request = BootRequest::new(&image, &machine, &cmdline)
        .with_placement_seed(seeds[9])
        .with_fixed_addresses(&fixed);
    assert_eq!(PROTOCOL.plan(&request).unwrap().kernel().start(), 4 * MIB);
}

#[test]
fn the_gdt_may_be_in_the_first_page_behind_the_bios_data_area() {
    let (image, machine, cmdline) = (image(), machine(), Cmdline::new());
    let fixed = [FixedAddress::new(label::GDT, 0x500)];
    let request = BootRequest::new(&image, &machine, &cmdline);
    let plan = PROTOCOL.plan(&request.with_fixed_addresses(&fixed)).unwrap();
    assert_eq!(start(&plan, label::GDT), 0x500);
    assert_eq!(plan.boot_cpu().x86_64().unwrap().gdtr.base, 0x500);
    assert_eq!(
        start(&plan, label::ZERO_PAGE),
        0x1000,
        "the first page is for the GDT alone"
    );
}

#[test]
fn fixed_addresses_are_checked_as_chosen_ones() {
    let (image, machine, cmdline) = (image(), machine(), Cmdline::new());
    let check = |label, addr, expected: &dyn Fn(&PlacementError) -> bool| {
        let fixed = [FixedAddress::new(label, addr)];
        let request = BootRequest::new(&image, &machine, &cmdline)
            .with_initrd(MIB)
            .with_fixed_addresses(&fixed);
        match PROTOCOL.plan(&request) {
            Err(PlanError::Placement(error)) => assert!(expected(&error), "{label} {addr:#x}: {error}"),
            other => panic!("{label} {addr:#x}: {other:?}"),
        }
    };
    let not_allowed = |error: &PlacementError| matches!(error, PlacementError::NotAllowed { .. });
    let not_ram = |error: &PlacementError| matches!(error, PlacementError::NotRam { .. });
    check(label::ZERO_PAGE, 0, &not_allowed);
    check(label::PAGE_TABLES, 0x9800, &not_allowed);
    check(label::INITRD, 1 << 32, &not_allowed);
    check(label::GDT, 0xa_0000, &not_ram);
    check(label::GDT, 0x4f8, &not_allowed);
    check(label::GDT, 0x504, &not_allowed);
    check(label::INITRD, 64 * MIB - 0x1000, &not_ram);
    check("kernel", 3 * MIB, &not_allowed);
    check("kernel", 64 * MIB, &not_ram);
}

#[test]
fn the_zero_page_may_be_the_last_page_of_ram() {
    let (image, cmdline) = (image(), Cmdline::new());
    let check = |end: u64, addr, expected: Option<&str>| {
        let mut map = MemoryMap::new();
        map.insert(range(0, end), RegionKind::Ram).unwrap();
        let machine = Machine::new(Arch::X86_64, map);
        let fixed = [FixedAddress::new(label::ZERO_PAGE, addr)];
        let request = BootRequest::new(&image, &machine, &cmdline).with_fixed_addresses(&fixed);
        match (PROTOCOL.plan(&request), expected) {
            (Ok(plan), None) => {
                let load = plan.loads().iter().find(|load| load.label == label::ZERO_PAGE);
                assert_eq!(load.unwrap().range, range(addr, 0x1000));
                assert_eq!(plan.boot_cpu().x86_64().unwrap().rsi, addr);
            }
            (Err(PlanError::Placement(error)), Some(expected)) => assert_eq!(error.to_string(), expected),
            (other, _) => panic!("{end:#x} {addr:#x}: {other:?}"),
        }
    };
    let last = 64 * MIB - 0x1000;
    check(64 * MIB, last, None);
    check(
        64 * MIB,
        64 * MIB,
        Some(
            "the zero page must be at 0x4000000..0x4001000, but the machine has no memory at 0x4000000..0x4001000",
        ),
    );
    // RAM ends in the page.
    check(
        64 * MIB - 1,
        last,
        Some(
            "the zero page must be at 0x3fff000..0x4000000, but the machine has no memory at 0x3ffffff..0x4000000",
        ),
    );
}

#[test]
fn a_fixed_piece_without_another_place_for_the_kernel_is_refused() {
    let (image, cmdline) = (image(), Cmdline::new());
    let check = |ram, fixed: &[FixedAddress<'_>], expected: &str| {
        let machine = Machine::new(Arch::X86_64, MemoryMap::pc(ram).unwrap());
        let request = BootRequest::new(&image, &machine, &cmdline).with_fixed_addresses(fixed);
        match PROTOCOL.plan(&request) {
            Err(PlanError::Placement(error)) => assert_eq!(error.to_string(), expected),
            other => panic!("{other:?}"),
        }
    };
    let line = FixedAddress::new(label::COMMAND_LINE, 3 * MIB);
    let expected = "the command line must be at 0x300000..0x300001, but the kernel is at 0x200000..0x400000";
    check(4 * MIB, &[line], expected);
    check(4 * MIB, &[line, FixedAddress::new("kernel", 2 * MIB)], expected);
    let [line, gdt] = [label::COMMAND_LINE, label::GDT].map(|label| FixedAddress::new(label, 17 * MIB));
    check(
        64 * MIB,
        &[line, gdt],
        "the command line must be at 0x1100000..0x1100001, but the GDT is at 0x1100000..0x1100020",
    );
}

#[test]
fn the_e820_table_lists_additional_loads_by_their_kind() {
    let (image, mut machine, cmdline) = (image(), machine(), Cmdline::new());
    machine.acpi_rsdp = Some(0xe_0000);
    let tables = [1; 0x1000];
    let loads = [
        AdditionalLoad::bytes("RSDP", &tables[..36])
            .at(0xe_0000)
            .in_region(RegionKind::Reserved),
        AdditionalLoad::bytes("ACPI tables", &tables)
            .at(0x9_f000)
            .in_region(RegionKind::AcpiReclaimable),
    ];
    let request = BootRequest::new(&image, &machine, &cmdline).with_additional_loads(&loads);
    let plan = PROTOCOL.plan(&request).unwrap();
    let page = zero_page(&plan);
    assert_eq!(page.acpi_rsdp_addr.get(), 0xe_0000);
    let entries: Vec<_> = page.e820_table[..page.e820_entries.into()]
        .iter()
        .map(|entry| (entry.addr.get(), entry.size.get(), entry.kind.get()))
        .collect();
    assert_eq!(
        entries,
        [
            (0, 0x9_f000, 1),
            (0x9_f000, 0x1000, 3),
            (0xa_0000, 0x6_0000, 2),
            (0x10_0000, 63 * MIB, 1),
            (0xfec0_0000, 0x140_0000, 2),
        ]
    );
    assert_eq!(start(&plan, "ACPI tables"), 0x9_f000);
    assert_eq!(start(&plan, "RSDP"), 0xe_0000);
}

#[test]
fn an_rsdp_in_ram_is_an_additional_load() {
    let (image, mut machine, cmdline) = (image(), machine(), Cmdline::new());
    machine.acpi_rsdp = Some(0x9_0000);
    let request = BootRequest::new(&image, &machine, &cmdline);
    assert!(matches!(
        PROTOCOL.plan(&request),
        Err(PlanError::RsdpInRam { addr: 0x9_0000 })
    ));
    let rsdp = [AdditionalLoad::bytes("RSDP", &[0; 36]).at(0x9_0000)];
    PROTOCOL.plan(&request.with_additional_loads(&rsdp)).unwrap();
    machine.acpi_rsdp = Some(0x9_0024);
    let request = BootRequest::new(&image, &machine, &cmdline).with_additional_loads(&rsdp);
    assert!(matches!(
        PROTOCOL.plan(&request),
        Err(PlanError::RsdpInRam { .. })
    ));
}

#[test]
fn a_plan_can_be_completed_with_its_command_line() {
    let (image, machine) = (image(), machine());
    let (short, long): (Cmdline, Cmdline) =
        ("quiet".parse().unwrap(), "console=ttyS0 quiet".parse().unwrap());
    let plan = |cmdline: &Cmdline, capacity| {
        let request = BootRequest::new(&image, &machine, cmdline).with_cmdline_capacity(capacity);
        PROTOCOL.plan(&request).map(|plan| {
            let line = plan
                .loads()
                .iter()
                .find(|load| load.label == label::COMMAND_LINE)
                .unwrap();
            let LoadContent::Bytes(bytes) = &line.content else {
                panic!("the command line is made of bytes");
            };
            (line.range, bytes.clone())
        })
    };
    let (range, bytes) = plan(&short, 2000).unwrap();
    assert_eq!(range.len(), 2001);
    assert!(bytes.starts_with(b"quiet\0\0"));
    let (again, bytes) = plan(&long, 2000).unwrap();
    assert_eq!(again, range);
    assert!(bytes.starts_with(b"console=ttyS0 quiet\0"));
    // cmdline_size of a vmlinux is 2047.
    plan(&short, 2047).unwrap();
    assert!(matches!(
        plan(&short, 2048),
        Err(PlanError::CmdlineCapacity(error)) if (error.found, error.max) == (2048, 2047)
    ));
}
