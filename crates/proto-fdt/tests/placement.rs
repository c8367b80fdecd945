//! Placement on machines with unusual memory maps.

use boot_core::machine::Isa;
use boot_core::machine::ReservedMemory;
use boot_core::{
    AdditionalLoad, Arch, BootPlan, BootProtocol, BootRequest, Cmdline, Constraints, Endian, EntryAbi,
    FixedAddress, GuestRange, ImageBuilder, KernelImage, LoadContent, Machine, Placement, PlanError,
    RegionKind, SourceRange,
};
use boot_linux::arm64::ImageMetadata;
use core::num::NonZeroU32;
use hv_core::virt::{self, Gic, RAM_BASE, RiscvIrqchip};
use proto_fdt::device_tree::DeviceTree;
use proto_fdt::{Warning, label};
use std::collections::BTreeSet;

const MIB: u64 = 1 << 20;

fn range(start: u64, len: u64) -> GuestRange {
    GuestRange::new(start, len).unwrap()
}

fn riscv64_machine() -> Machine {
    let isa = Isa::rv64gc();
    virt::riscv64_machine(256 * MIB, NonZeroU32::MIN, &isa, 10_000_000, RiscvIrqchip::Plic).unwrap()
}

fn arm64_machine() -> Machine {
    virt::arm64_machine(256 * MIB, NonZeroU32::MIN, Gic::V3).unwrap()
}

/// An `Image` of 1 MiB that uses `need` bytes from `text_offset` on.
fn image(arch: Arch, abi: EntryAbi, text_offset: u64, need: u64) -> ImageBuilder {
    ImageBuilder::new("test", arch, Endian::Little, MIB)
        .segment(SourceRange::whole(MIB), range(text_offset, MIB))
        .extent(range(text_offset, need))
        .placement(Placement::Relocatable(Constraints::aligned(2 * MIB)))
        .entry(abi, text_offset)
}

fn plan(machine: &Machine, image: &KernelImage, initrd: u64) -> Result<BootPlan, PlanError> {
    let cmdline = Cmdline::new();
    let request = BootRequest::new(image, machine, &cmdline).with_initrd(initrd);
    match machine.arch {
        Arch::Aarch64 => proto_fdt::PROTOCOL_ARM64.plan(&request),
        _ => proto_fdt::PROTOCOL_RISCV64.plan(&request),
    }
}

fn load(plan: &BootPlan, label: &str) -> GuestRange {
    plan.loads()
        .iter()
        .find(|load| load.label == label)
        .unwrap()
        .range
}

#[test]
fn a_riscv64_image_goes_to_its_offset_from_the_start_of_ram() {
    let check = |text_offset, need, taken: Option<GuestRange>, expected| {
        let mut machine = riscv64_machine();
        if let Some(taken) = taken {
            machine.memory.reserve(taken, RegionKind::Reserved).unwrap();
        }
        let image = image(Arch::Riscv64, EntryAbi::RISCV_IMAGE, text_offset, need);
        let plan = plan(&machine, &image.build().unwrap(), 0x1000).unwrap();
        assert_eq!(plan.kernel().start(), expected, "{text_offset:#x} {taken:?}");
    };
    check(0, 4 * MIB, None, RAM_BASE);
    check(2 * MIB, 4 * MIB, None, RAM_BASE + 2 * MIB);
    // The range at that offset is not free: the lowest other address.
    let taken = range(RAM_BASE + 3 * MIB, 0x1000);
    check(2 * MIB, 4 * MIB, Some(taken), RAM_BASE + 4 * MIB);
    check(2 * MIB, MIB, Some(taken), RAM_BASE + 2 * MIB);
    // There is room only below that offset.
    check(2 * MIB, 255 * MIB, None, RAM_BASE);
}

/// An arm64 `Image` with this `text_offset` that needs 4 MiB.
fn arm64_image(text_offset: u64, is_placed_anywhere: bool) -> KernelImage {
    let constraints = Constraints::aligned(2 * MIB)
        .with_align_offset(text_offset % (2 * MIB))
        .with_base_offset(text_offset);
    image(Arch::Aarch64, EntryAbi::ARM64_IMAGE, text_offset, 4 * MIB)
        .placement(Placement::Relocatable(constraints))
        .metadata(ImageMetadata::new(Some(4096), is_placed_anywhere))
        .build()
        .unwrap()
}

#[test]
fn an_arm64_image_goes_to_its_offset_from_a_boundary_in_ram() {
    let check = |text_offset, no_ram: Option<GuestRange>, expected: u64| {
        for is_placed_anywhere in [false, true] {
            let mut machine = arm64_machine();
            if let Some(range) = no_ram {
                machine.memory.reserve(range, RegionKind::Reserved).unwrap();
            }
            let plan = plan(&machine, &arm64_image(text_offset, is_placed_anywhere), 0x1000).unwrap();
            let found = plan.kernel().start();
            assert_eq!(found, RAM_BASE + expected, "{text_offset:#x} {no_ram:?}");
        }
    };
    check(0x8_0000, None, 0x8_0000);
    check(2 * MIB, None, 2 * MIB);
    check(0x108_0000, None, 0x108_0000);
    // RAM begins between two boundaries: the base is the next one.
    let start = Some(range(RAM_BASE, 0x1000));
    check(0, start, 2 * MIB);
    check(0x8_0000, start, 2 * MIB + 0x8_0000);
    check(2 * MIB, start, 4 * MIB);
    check(0x108_0000, start, 2 * MIB + 0x108_0000);
    // The memory between the base and the image need not be RAM.
    let middle = Some(range(RAM_BASE + 4 * MIB, 8 * MIB));
    check(0x108_0000, middle, 0x108_0000);
    // The image does not fit at its offset from the first boundaries.
    let there = Some(range(RAM_BASE + 16 * MIB, 2 * MIB));
    check(0x108_0000, there, 18 * MIB + 0x8_0000);
}

#[test]
fn the_memory_between_base_and_image_is_used() {
    let mut machine = arm64_machine();
    // 24 MiB of RAM, of which the kernel takes the last 4.
    machine
        .memory
        .reserve(range(RAM_BASE + 24 * MIB, 232 * MIB), RegionKind::Reserved)
        .unwrap();
    // Firmware at the base, as on a Raspberry Pi: the address is still RAM.
    machine.platform.reserved_memory = vec![ReservedMemory::new("firmware", range(RAM_BASE, 0x1000))];
    let plan = plan(&machine, &arm64_image(20 * MIB, false), 8 * MIB).unwrap();
    assert_eq!(plan.kernel().start(), RAM_BASE + 20 * MIB);
    assert!(load(&plan, "initrd").end() <= plan.kernel().start());
    assert!(load(&plan, "device tree").end() <= plan.kernel().start());
    assert!(plan.warnings().is_empty(), "{:?}", plan.warnings());
}

#[test]
fn the_device_tree_is_near_the_base_of_an_old_kernel() {
    let machine = virt::arm64_machine(2048 * MIB, NonZeroU32::MIN, Gic::V3).unwrap();
    let plan = plan(&machine, &arm64_image(256 * MIB, false), 0).unwrap();
    assert!(load(&plan, "device tree").end() <= RAM_BASE + 512 * MIB);
}

#[test]
fn nothing_is_below_an_arm64_image_that_must_be_near_the_start_of_ram() {
    let machine = || {
        let mut machine = arm64_machine();
        // 8 MiB, in which the kernel has no room.
        machine
            .memory
            .reserve(range(RAM_BASE + 8 * MIB, 248 * MIB), RegionKind::Reserved)
            .unwrap();
        machine
            .memory
            .insert(range(0x1_0000_0000, 64 * MIB), RegionKind::Ram)
            .unwrap();
        machine
    };
    let check = |is_placed_anywhere, need, initrd| {
        let metadata = ImageMetadata::new(Some(4096), is_placed_anywhere);
        let image = image(Arch::Aarch64, EntryAbi::ARM64_IMAGE, 0, need).metadata(metadata);
        plan(&machine(), &image.build().unwrap(), initrd)
    };
    // There is room at the start of RAM.
    let near = check(false, 4 * MIB, 0x1000).unwrap();
    assert_eq!(near.kernel().start(), RAM_BASE);
    assert!(near.warnings().is_empty(), "{:?}", near.warnings());
    // There is no room, and the unusable RAM causes a warning.
    let far = check(false, 16 * MIB, 0x1000).unwrap();
    assert_eq!(far.kernel().start(), 0x1_0000_0000);
    assert!(load(&far, "initrd").start() > far.kernel().start());
    assert!(load(&far, "device tree").start() > far.kernel().start());
    assert!(
        matches!(far.warnings(), [warning] if warning.downcast_ref() == Some(&Warning::UnusableRam { below: 1 << 32 })),
        "{:?}",
        far.warnings()
    );
    assert_eq!(
        far.warnings()[0].to_string(),
        "the kernel cannot use the RAM below 0x100000000: it should be loaded at the start of RAM, but there is no room at a \
         lower address"
    );
    // An Image with the flag for any physical placement has no warning.
    let anywhere = check(true, 16 * MIB, 0x1000).unwrap();
    assert!(anywhere.warnings().is_empty(), "{:?}", anywhere.warnings());
    // The only room for the initrd is below the kernel.
    assert!(matches!(
        check(false, 61 * MIB, 4 * MIB),
        Err(PlanError::Placement(_))
    ));
    let below = check(true, 61 * MIB, 4 * MIB).unwrap();
    assert!(load(&below, "initrd").end() <= RAM_BASE + 8 * MIB);
}

#[test]
fn the_tree_is_in_a_block_of_only_ram_if_possible() {
    let image = || {
        image(Arch::Aarch64, EntryAbi::ARM64_IMAGE, 0, 2 * MIB)
            .build()
            .unwrap()
    };
    let last = RAM_BASE + 254 * MIB;
    let mut machine = arm64_machine();
    machine
        .memory
        .reserve(range(last + 0x1000, 0x1000), RegionKind::Reserved)
        .unwrap();
    let tree = load(&plan(&machine, &image(), 0).unwrap(), "device tree");
    assert!(tree.end() <= last, "{tree}");
    // No block has only RAM: then the highest block with room.
    for block in 1..128 {
        let other = range(RAM_BASE + block * 2 * MIB + 0x1000, 0x1000);
        if machine.memory.ram().any(|ram| ram.contains(other)) {
            machine.memory.reserve(other, RegionKind::Reserved).unwrap();
        }
    }
    let tree = load(&plan(&machine, &image(), 0).unwrap(), "device tree");
    assert!(tree.start() > last, "{tree}");
}

#[test]
fn an_initrd_shares_no_page_with_memory_that_must_not_be_mapped() {
    let image = image(Arch::Aarch64, EntryAbi::ARM64_IMAGE, 0, 2 * MIB)
        .build()
        .unwrap();
    for (no_map, expected) in [(false, 0x8f00_8000), (true, 0x8f00_0000)] {
        let mut machine = arm64_machine();
        machine.platform.reserved_memory =
            vec![ReservedMemory::new("firmware", range(0x8f00_8000, 0xff_8000)).with_no_map(no_map)];
        let plan = plan(&machine, &image, 0x1000).unwrap();
        assert_eq!(load(&plan, "initrd").end(), expected, "no-map: {no_map}");
    }
}

#[test]
fn a_number_chooses_the_address_of_the_kernel() {
    let arm64 = (
        arm64_machine(),
        &proto_fdt::PROTOCOL_ARM64 as &dyn BootProtocol,
        EntryAbi::ARM64_IMAGE,
    );
    let riscv64 = (
        riscv64_machine(),
        &proto_fdt::PROTOCOL_RISCV64 as &dyn BootProtocol,
        EntryAbi::RISCV_IMAGE,
    );
    for (machine, protocol, abi) in [arm64, riscv64] {
        let image = image(machine.arch, abi, 0, 4 * MIB).build().unwrap();
        let cmdline = Cmdline::new();
        let bases: BTreeSet<u64> = (0..10u64)
            .map(|n| {
                let request = BootRequest::new(&image, &machine, &cmdline)
                    .with_initrd(MIB)
                    .with_placement_seed(n << 60);
                let plan = protocol.plan(&request).unwrap();
                assert_eq!(protocol.plan(&request).unwrap(), plan);
                plan.kernel().start()
            })
            .collect();
        assert_eq!(bases.len(), 10, "{bases:x?}");
        assert!(bases.iter().all(|base| base % (2 * MIB) == 0), "{bases:x?}");
    }
}

#[test]
fn pieces_are_where_the_request_fixes_them() {
    let machine = arm64_machine();
    let image = image(Arch::Aarch64, EntryAbi::ARM64_IMAGE, 0, 4 * MIB)
        .build()
        .unwrap();
    let cmdline = Cmdline::new();
    // The last MiB of RAM, where the initrd would be without the request.
    let at = RAM_BASE + 255 * MIB;
    let firmware = [AdditionalLoad::bytes("firmware", &[1; 0x1000])
        .at(RAM_BASE + 100 * MIB)
        .in_region(RegionKind::Reserved)];
    let check = |fixed: &[FixedAddress<'_>], expected: Result<(u64, u64, u64), &str>| {
        let request = BootRequest::new(&image, &machine, &cmdline)
            .with_initrd(MIB)
            .with_fixed_addresses(fixed)
            .with_additional_loads(&firmware);
        let plan = proto_fdt::PROTOCOL_ARM64.plan(&request);
        let found = plan.map(|plan| {
            assert_eq!(load(&plan, "firmware").start(), RAM_BASE + 100 * MIB);
            let LoadContent::Bytes(dtb) = &plan
                .loads()
                .iter()
                .find(|load| load.label == label::DEVICE_TREE)
                .unwrap()
                .content
            else {
                panic!("the device tree is made of bytes");
            };
            let tree = DeviceTree::parse(dtb).unwrap();
            let banks = tree
                .root
                .children
                .iter()
                .filter(|node| node.name.starts_with("memory@"));
            assert_eq!(banks.count(), 2, "RAM below and above the firmware");
            (
                plan.kernel().start(),
                load(&plan, label::INITRD).start(),
                load(&plan, label::DEVICE_TREE).start(),
            )
        });
        let found = found.map_err(|error| error.to_string());
        assert_eq!(found, expected.map_err(str::to_owned));
    };
    check(
        &[FixedAddress::new(label::DEVICE_TREE, at)],
        Ok((RAM_BASE, at - MIB, at)),
    );
    check(
        &[
            FixedAddress::new("kernel", RAM_BASE + 2 * MIB),
            FixedAddress::new(label::INITRD, RAM_BASE + 8 * MIB),
            FixedAddress::new(label::DEVICE_TREE, RAM_BASE + 16 * MIB + 8),
        ],
        Ok((RAM_BASE + 2 * MIB, RAM_BASE + 8 * MIB, RAM_BASE + 16 * MIB + 8)),
    );
    check(
        &[FixedAddress::new("kernel", RAM_BASE + MIB)],
        Err(
            "the kernel cannot be at 0x80100000..0x80500000: it must be aligned to 0x200000, below 0x1000000000000",
        ),
    );
    check(
        &[FixedAddress::new(label::INITRD, RAM_BASE + 100 * MIB)],
        Err("the initrd must be at 0x86400000..0x86500000, but the firmware is at 0x86400000..0x86401000"),
    );
}

#[test]
fn errors_name_the_load_in_the_place_of_a_fixed_piece() {
    let bytes = [0x5a; 0x1000];
    let check = |label| {
        let at = RAM_BASE + 128 * MIB;
        // The only place of the tables.
        let only = Constraints::aligned(0x1000).between(at, at + 0x1000);
        let loads = [AdditionalLoad::bytes("tables", &bytes).within(only)];
        let fixed = [FixedAddress::new(label, at)];
        let (machine, cmdline, image) = (arm64_machine(), Cmdline::new(), arm64_image(0, true));
        let request = BootRequest::new(&image, &machine, &cmdline)
            .with_initrd(MIB)
            .with_additional_loads(&loads)
            .with_fixed_addresses(&fixed);
        match proto_fdt::PROTOCOL_ARM64.plan(&request) {
            Err(PlanError::Placement(error)) => {
                let error = error.to_string();
                assert!(
                    error.starts_with(&format!("the {label} must be at 0x88000000..")),
                    "{error}"
                );
                assert!(
                    error.ends_with("but the tables is at 0x88000000..0x88001000"),
                    "{error}"
                );
            }
            result => panic!("{label}: {result:?}"),
        }
    };
    check(label::INITRD);
    check(label::DEVICE_TREE);
}
