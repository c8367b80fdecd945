//! Golden values: memory and registers of the guest, field by field, after a plan was loaded.

use boot_core::cpu::x86_64::State;
use boot_core::{
    AdditionalLoad, Arch, BootPlan, BootProtocol, BootRequest, Cmdline, Constraints, Endian, EntryAbi,
    FixedAddress, GuestRange, ImageBuilder, IncompatibleImage, KernelImage, Machine, MemoryMap, Module,
    Placement, PlanError, RegionKind, SourceRange, Sources, ValidationError,
};
use boot_test::loaded::{Loaded, x86_state as state};
use proto_pvh::raw::{MemmapEntry, ModlistEntry, StartInfo};
use proto_pvh::{PROTOCOL, Warning, label};
use zerocopy::IntoBytes;

const MIB: u64 = 1 << 20;
const GIB: u64 = 1 << 30;
const KERNEL_LEN: u64 = 0x2000;

/// A kernel of 8 KiB at `at` with a PVH entry point and the entry point of its ELF class.
fn kernel(at: u64, class: EntryAbi, placement: Placement) -> KernelImage {
    ImageBuilder::new("elf", Arch::X86_64, Endian::Little, KERNEL_LEN)
        .segment(
            SourceRange::whole(KERNEL_LEN),
            GuestRange::new(at, KERNEL_LEN).unwrap(),
        )
        .placement(placement)
        .entry(EntryAbi::PVH, at + 0x123)
        .entry(class, at)
        .build()
        .unwrap()
}

fn fixed(at: u64) -> KernelImage {
    kernel(at, EntryAbi::ELF64, Placement::Fixed)
}

fn pc(len: u64) -> Machine {
    Machine::new(Arch::X86_64, MemoryMap::pc(len).unwrap())
}

fn module(len: u64, cmdline: &str) -> Module {
    Module::new(len).with_cmdline(cmdline.parse().unwrap())
}

fn load(plan: &BootPlan, initrd: &[u8], modules: &[&[u8]]) -> Loaded {
    let kernel = vec![0x90; usize::try_from(KERNEL_LEN).unwrap()];
    let modules: Vec<_> = modules
        .iter()
        .map(|module| module as &dyn boot_core::ByteSource)
        .collect();
    let sources = Sources::kernel(&kernel)
        .with_initrd(&initrd)
        .with_modules(&modules);
    Loaded::new(plan, &sources)
}

fn start_info(loaded: &Loaded, plan: &BootPlan) -> StartInfo {
    loaded.read(state(plan).rbx)
}

#[test]
fn a_kernel_with_an_initrd_and_modules() {
    let (image, mut machine) = (fixed(16 * MIB), pc(64 * MIB));
    machine.acpi_rsdp = Some(0xe_1230);
    let cmdline: Cmdline = "console=hvc0".parse().unwrap();
    let modules = [module(0x1001, "first one"), module(0, "empty"), module(2, "")];
    let request = BootRequest::new(&image, &machine, &cmdline)
        .with_initrd(5)
        .with_modules(&modules);
    let plan = PROTOCOL.plan(&request).unwrap();
    let first = vec![1; 0x1001];
    let loaded = load(&plan, b"cpio!", &[&first, b"", b"ab"]);

    let info = start_info(&loaded, &plan);
    let memmap = 0x1000 + 56;
    let module_lines = memmap + 4 * 24;
    let line = 0x2000u64;
    let expected = StartInfo {
        magic: 0x336e_c578.into(),
        version: 1.into(),
        flags: 0.into(),
        nr_modules: 4.into(),
        // After two command lines of 10 and 6 bytes, at a multiple of eight.
        modlist_paddr: ((module_lines + 16u64).next_multiple_of(8)).into(),
        cmdline_paddr: line.into(),
        rsdp_paddr: 0xe_1230.into(),
        memmap_paddr: memmap.into(),
        memmap_entries: 4.into(),
        reserved: 0.into(),
    };
    assert_eq!(info, expected);
    assert!(loaded.at(line).starts_with(b"console=hvc0\0"));
    assert!(loaded.at(module_lines).starts_with(b"first one\0empty\0"));
    let entry = |addr: u64, size: u64, kind: u32| MemmapEntry {
        addr: addr.into(),
        size: size.into(),
        kind: kind.into(),
        reserved: 0.into(),
    };
    assert_eq!(
        loaded.table::<MemmapEntry>(memmap, 4),
        [
            entry(0, 0xa_0000, 1),
            entry(0xa_0000, 0x6_0000, 2),
            entry(0x10_0000, 0x3f0_0000, 1),
            entry(0xfec0_0000, 0x140_0000, 2),
        ]
    );
    let entry = |paddr: u64, size: u64, cmdline: u64| ModlistEntry {
        paddr: paddr.into(),
        size: size.into(),
        cmdline_paddr: cmdline.into(),
        reserved: 0.into(),
    };
    assert_eq!(
        loaded.table::<ModlistEntry>(info.modlist_paddr.get(), 4),
        [
            entry(0x3ff_f000, 5, 0),
            entry(0x3ff_d000, 0x1001, module_lines),
            entry(0, 0, module_lines + 10),
            entry(0x3ff_c000, 2, 0),
        ]
    );
    assert!(loaded.at(0x3ff_f000).starts_with(b"cpio!"));
    assert!(loaded.at(0x3ff_d000).starts_with(&first));
    assert!(loaded.at(0x3ff_c000).starts_with(b"ab"));

    let mut registers = State::protected_mode(0x100_0123, 0x08, 0x10);
    registers.rbx = 0x1000;
    assert_eq!(*state(&plan), registers);
    assert!(plan.warnings().is_empty());
}

#[test]
fn pieces_are_where_the_request_fixes_them() {
    let (image, mut machine) = (fixed(16 * MIB), pc(64 * MIB));
    machine.acpi_rsdp = Some(0x9_fc00);
    let cmdline: Cmdline = "console=ttyS0".parse().unwrap();
    let fixed = [
        FixedAddress::new(label::START_INFO, 0x6000),
        FixedAddress::new(label::COMMAND_LINE, 0x2_0000),
        FixedAddress::new(label::INITRD, 0x200_0000),
    ];
    let rsdp = [AdditionalLoad::bytes("RSDP", b"RSD PTR ")
        .at(0x9_fc00)
        .in_region(RegionKind::AcpiReclaimable)];
    let request = BootRequest::new(&image, &machine, &cmdline)
        .with_initrd(5)
        .with_fixed_addresses(&fixed)
        .with_additional_loads(&rsdp);
    let plan = PROTOCOL.plan(&request).unwrap();
    let loaded = load(&plan, b"cpio!", &[]);
    let info = start_info(&loaded, &plan);
    assert_eq!(state(&plan).rbx, 0x6000);
    assert_eq!(
        (info.cmdline_paddr.get(), info.rsdp_paddr.get()),
        (0x2_0000, 0x9_fc00)
    );
    assert!(loaded.at(0x2_0000).starts_with(b"console=ttyS0\0"));
    assert!(loaded.at(0x200_0000).starts_with(b"cpio!"));
    assert!(loaded.at(0x9_fc00).starts_with(b"RSD PTR "));
    let map: Vec<_> = loaded
        .table::<MemmapEntry>(info.memmap_paddr.get(), info.memmap_entries.get())
        .iter()
        .map(|entry| (entry.addr.get(), entry.size.get(), entry.kind.get()))
        .collect();
    assert_eq!(
        map,
        [
            (0, 0x9_fc00, 1),
            (0x9_fc00, 8, 3),
            (0x9_fc08, 0x3f8, 1),
            (0xa_0000, 0x6_0000, 2),
            (0x10_0000, 0x3f0_0000, 1),
            (0xfec0_0000, 0x140_0000, 2),
        ]
    );
    let not_present = [FixedAddress::new("zero page", 0x7000)];
    let request = request.with_fixed_addresses(&not_present);
    assert!(matches!(
        PROTOCOL.plan(&request),
        Err(PlanError::Validation(ValidationError::FixedAddress {
            addr: 0x7000,
            ..
        }))
    ));
}

#[test]
fn tables_with_addresses_of_their_own_are_not_in_the_block() {
    let (image, machine, cmdline) = (fixed(16 * MIB), pc(64 * MIB), Cmdline::new());
    let fixed = [
        FixedAddress::new(label::START_INFO, 0x6000),
        FixedAddress::new(label::MEMORY_MAP, 0x7000),
        FixedAddress::new(label::MODULE_LIST, 0x6040),
    ];
    let request = BootRequest::new(&image, &machine, &cmdline).with_fixed_addresses(&fixed);
    let modules = [module(7, "first"), module(0, "")];
    let plan = PROTOCOL.plan(&request.with_modules(&modules)).unwrap();
    let loaded = load(&plan, b"", &[b"module1", b""]);
    let info = start_info(&loaded, &plan);
    assert_eq!((info.memmap_paddr.get(), info.memmap_entries.get()), (0x7000, 4));
    assert_eq!((info.modlist_paddr.get(), info.nr_modules.get()), (0x6040, 2));
    let memmap = loaded.table::<MemmapEntry>(0x7000, 4);
    assert_eq!((memmap[2].addr.get(), memmap[2].size.get()), (MIB, 63 * MIB));
    let modlist = loaded.table::<ModlistEntry>(0x6040, 2);
    assert!(loaded.at(modlist[0].paddr.get()).starts_with(b"module1"));
    assert_eq!(modlist[0].cmdline_paddr.get(), 0x6038, "behind the start info");
    assert_eq!((modlist[1].paddr.get(), modlist[1].size.get()), (0, 0));
    let block = plan.loads().iter().find(|load| load.label == label::START_INFO);
    assert_eq!(
        block.unwrap().range.len(),
        56 + 6,
        "start info and a command line"
    );

    // Without modules there is no list to place.
    assert!(matches!(
        PROTOCOL.plan(&request),
        Err(PlanError::Validation(ValidationError::FixedAddress {
            addr: 0x6040,
            ..
        }))
    ));
    let check = |label, addr| {
        let fixed = [FixedAddress::new(label, addr)];
        let error = PROTOCOL.plan(&request.with_fixed_addresses(&fixed)).unwrap_err();
        assert!(
            matches!(error, PlanError::Placement(_)),
            "{label} {addr:#x}: {error}"
        );
    };
    check(label::MEMORY_MAP, 0x7004);
    check(label::MEMORY_MAP, 0xff8);
    check(label::MEMORY_MAP, GIB);
}

#[test]
fn a_kernel_alone() {
    let (image, machine, cmdline) = (fixed(16 * MIB), pc(64 * MIB), Cmdline::new());
    let request = BootRequest::new(&image, &machine, &cmdline);
    let plan = PROTOCOL.plan(&request).unwrap();
    let loaded = load(&plan, b"", &[]);
    let info = start_info(&loaded, &plan);
    assert_eq!((info.nr_modules.get(), info.modlist_paddr.get()), (0, 0));
    assert_eq!(info.rsdp_paddr.get(), 0);
    assert_eq!(
        loaded.at(info.cmdline_paddr.get())[0],
        0,
        "an empty line is a line"
    );
    assert_eq!(
        plan.loads(),
        PROTOCOL.plan(&request.with_initrd(0)).unwrap().loads()
    );
}

#[test]
fn kernels_of_both_classes_are_placed_by_their_rule() {
    let check = |class, placement, expected: Result<u64, &str>| {
        let mut map = MemoryMap::new();
        for (start, len) in [(0, 4 * MIB), (3 * GIB, 16 * MIB), (4 * GIB, GIB)] {
            map.insert(GuestRange::new(start, len).unwrap(), RegionKind::Ram)
                .unwrap();
        }
        let image = kernel(16 * MIB, class, placement);
        let (machine, cmdline) = (Machine::new(Arch::X86_64, map), Cmdline::new());
        let plan = PROTOCOL.plan(&BootRequest::new(&image, &machine, &cmdline));
        let found = plan.as_ref().map(|plan| plan.kernel().start());
        if let Ok(plan) = &plan {
            assert_eq!(state(plan).rip, plan.kernel().start() + 0x123);
            assert_eq!((state(plan).rbx, state(plan).efer), (0x1000, 0));
        }
        assert_eq!(found.map_err(ToString::to_string), expected.map_err(String::from));
    };
    let rule = |min, max, align| {
        Placement::Relocatable(Constraints::aligned(align).between(min, max).prefer(16 * MIB))
    };
    for class in [EntryAbi::ELF64, EntryAbi::ELF32] {
        check(class, rule(0x10_0000, 1 << 32, MIB), Ok(0x10_0000));
        check(class, rule(16 * MIB, 1 << 32, 0x20_0000), Ok(3 * GIB));
        check(
            class,
            rule(3 * GIB + 16 * MIB, u64::MAX, 0x1000),
            Err(
                "no free RAM for the kernel: it needs 8 KiB aligned to 0x1000, between 0xc1000000 and \
                 0x100000000; no RAM is free there",
            ),
        );
        check(
            class,
            Placement::Fixed,
            Err(
                "the kernel must be at 0x1000000..0x1002000, but the machine has no memory at 0x1000000..0x1002000",
            ),
        );
    }
}

/// A note without a minimum, or with a minimum of 0, does not put the kernel at address 0.
#[test]
fn a_relocatable_kernel_is_never_at_address_0() {
    let rule = Placement::Relocatable(Constraints::aligned(0x1000).between(0, 1 << 32));
    let mut map = MemoryMap::new();
    map.insert(GuestRange::new(0, 4 * MIB).unwrap(), RegionKind::Ram)
        .unwrap();
    let (machine, cmdline) = (Machine::new(Arch::X86_64, map), Cmdline::new());
    let image = kernel(16 * MIB, EntryAbi::ELF64, rule);
    let plan = PROTOCOL
        .plan(&BootRequest::new(&image, &machine, &cmdline))
        .unwrap();
    assert_eq!(plan.kernel().start(), 0x1000);
}

#[test]
fn the_start_info_is_below_1_gib() {
    let plan = |start| {
        let mut map = MemoryMap::new();
        for (start, len) in [(16 * MIB, 0x2000), (start, 4 * MIB)] {
            map.insert(GuestRange::new(start, len).unwrap(), RegionKind::Ram)
                .unwrap();
        }
        let (image, machine, cmdline) = (fixed(16 * MIB), Machine::new(Arch::X86_64, map), Cmdline::new());
        let plan = PROTOCOL.plan(&BootRequest::new(&image, &machine, &cmdline));
        plan.map(|plan| state(&plan).rbx)
            .map_err(|error| error.to_string())
    };
    assert_eq!(plan(GIB - 4 * MIB), Ok(GIB - 4 * MIB));
    let error = plan(GIB).unwrap_err();
    assert!(error.contains("no free RAM for the start info"), "{error}");
    assert!(error.contains("0x40000000"), "{error}");
}

#[test]
fn seeds_are_refused() {
    let (image, machine, cmdline) = (fixed(16 * MIB), pc(64 * MIB), Cmdline::new());
    let request = BootRequest::new(&image, &machine, &cmdline);
    for (request, expected) in [
        (request.with_rng_seed(&[1]), "random bytes for the entropy pool"),
        (request.with_kaslr_seed(1), "a random number for KASLR"),
    ] {
        assert_eq!(
            PROTOCOL.plan(&request).unwrap_err().to_string(),
            format!("the protocol pvh cannot hand over {expected}")
        );
    }
}

#[test]
fn nothing_is_placed_above_4_gib() {
    let (machine, cmdline) = (pc(8 * GIB), Cmdline::new());
    let plan = |image: &KernelImage, initrd, modules: &[Module]| {
        let request = BootRequest::new(image, &machine, &cmdline)
            .with_initrd(initrd)
            .with_modules(modules);
        PROTOCOL.plan(&request).map_err(|error| error.to_string())
    };
    assert!(plan(&fixed(16 * MIB), 2 * GIB, &[module(GIB / 2, "")]).is_ok());
    assert_eq!(
        plan(&fixed(16 * MIB), 3 * GIB, &[]).unwrap_err(),
        "no free RAM for the initrd: it needs 3 GiB aligned to 0x1000, between 0x1000 and 0x100000000; the largest \
         free range there has 2.9 GiB"
    );
    assert_eq!(
        plan(&fixed(16 * MIB), 2 * GIB, &[module(GIB, "")]).unwrap_err(),
        "no free RAM for the module: it needs 1 GiB aligned to 0x1000, between 0x1000 and 0x100000000; the largest \
         free range there has 1007.9 MiB"
    );
    assert_eq!(
        plan(&fixed(5 * GIB), 1, &[]).unwrap_err(),
        "the kernel must be at 0x140000000..0x140002000, but it can only be started below 0x100000000"
    );
}

#[test]
fn a_memory_map_of_any_length_is_passed_with_a_warning_beyond_the_limit_of_linux() {
    let check = |count: u32, warnings: &[&str]| {
        let mut map = MemoryMap::new();
        let kinds = [
            RegionKind::Ram,
            RegionKind::AcpiReclaimable,
            RegionKind::Persistent,
        ];
        for i in 0..count {
            let kind = kinds[usize::try_from(i % 3).unwrap()];
            let start = u64::from(i) * 64 * MIB;
            map.insert(GuestRange::new(start, 32 * MIB).unwrap(), kind)
                .unwrap();
        }
        let (image, machine, cmdline) = (fixed(16 * MIB), Machine::new(Arch::X86_64, map), Cmdline::new());
        let plan = PROTOCOL
            .plan(&BootRequest::new(&image, &machine, &cmdline))
            .unwrap();
        let loaded = load(&plan, b"", &[]);
        let info = start_info(&loaded, &plan);
        assert_eq!(info.memmap_entries.get(), count);
        let table: &[MemmapEntry] = loaded.table(info.memmap_paddr.get(), count);
        for (i, entry) in (0u32..).zip(table) {
            let kind = [1, 3, 7][usize::try_from(i % 3).unwrap()];
            let expected = MemmapEntry {
                addr: (u64::from(i) * 64 * MIB).into(),
                size: (32 * MIB).into(),
                kind: u32::into(kind),
                reserved: 0.into(),
            };
            assert_eq!(*entry, expected, "{i}");
        }
        let found: Vec<_> = plan.warnings().iter().map(ToString::to_string).collect();
        assert_eq!(found, warnings);
    };
    check(1, &[]);
    check(127, &[]);
    check(128, &[]);
    check(
        129,
        &[
            "the memory map has 129 regions, but Linux has room for 128 at its PVH entry point and does not check their number",
        ],
    );
    check(
        300,
        &[
            "the memory map has 300 regions, but Linux has room for 128 at its PVH entry point and does not check their number",
        ],
    );
}

#[test]
fn a_device_tree_is_refused() {
    let (image, machine, cmdline) = (fixed(16 * MIB), pc(64 * MIB), Cmdline::new());
    let request = BootRequest::new(&image, &machine, &cmdline).with_device_tree(b"");
    assert_eq!(
        PROTOCOL.plan(&request).unwrap_err().to_string(),
        "the protocol pvh cannot hand over a device tree"
    );
}

#[test]
fn modules_without_an_initrd_have_a_warning() {
    let check = |initrd: u64, modules: usize, warned: bool| {
        let (image, machine, cmdline) = (fixed(16 * MIB), pc(64 * MIB), Cmdline::new());
        let module = Module::new(0x1000);
        let modules = vec![module; modules];
        let request = BootRequest::new(&image, &machine, &cmdline)
            .with_initrd(initrd)
            .with_modules(&modules);
        let plan = PROTOCOL.plan(&request).unwrap();
        let found = plan
            .warnings()
            .iter()
            .any(|warning| warning.downcast_ref() == Some(&Warning::ModuleAsInitrd));
        assert_eq!(found, warned, "{initrd} {}", modules.len());
    };
    check(0, 0, false);
    check(0, 1, true);
    check(0x1000, 0, false);
    check(0x1000, 2, false);
}

#[test]
fn a_command_line_that_linux_truncates_has_a_warning() {
    let check = |len: usize, warnings: usize| {
        let (image, machine) = (fixed(16 * MIB), pc(64 * MIB));
        let cmdline: Cmdline = "a".repeat(len).parse().unwrap();
        let plan = PROTOCOL
            .plan(&BootRequest::new(&image, &machine, &cmdline))
            .unwrap();
        assert_eq!(plan.warnings().len(), warnings, "{len}");
        let loaded = load(&plan, b"", &[]);
        let line = loaded.at(start_info(&loaded, &plan).cmdline_paddr.get());
        assert!(line.starts_with(cmdline.to_bytes(len).unwrap().as_bytes()));
    };
    check(2047, 0);
    check(2048, 1);
}

#[test]
fn unsuitable_images_are_refused_with_the_reason() {
    let image = |arch, abi| {
        ImageBuilder::new("elf", arch, Endian::Little, 8)
            .segment(SourceRange::whole(8), GuestRange::new(MIB, 8).unwrap())
            .entry(abi, MIB)
            .build()
            .unwrap()
    };
    assert_eq!(
        PROTOCOL.supports(&image(Arch::X86_64, EntryAbi::ELF64)),
        Err(IncompatibleImage::NoEntry {
            expected: &[EntryAbi::PVH]
        })
    );
    assert_eq!(
        PROTOCOL.supports(&image(Arch::Riscv64, EntryAbi::PVH)),
        Err(IncompatibleImage::Arch {
            expected: Arch::X86_64,
            found: Arch::Riscv64
        })
    );
    assert_eq!((PROTOCOL.name(), PROTOCOL.priority().value()), ("pvh", 30));
}
