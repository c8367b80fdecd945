//! Arbitrary bytes as a caller's device tree: parsing and updating fail with an error, or the updated tree has the boot
//! parameters and the same reservations, and nothing is loaded where it reserves memory. What is read from it is valid.

#![no_main]

use boot_core::machine::Platform;
use boot_core::{
    Arch, BootProtocol, BootRequest, Cmdline, Constraints, Endian, EntryAbi, GuestRange, ImageBuilder,
    Machine, MemoryMap, Placement, RegionKind, SourceRange,
};
use libfuzzer_sys::fuzz_target;
use proto_fdt::device_tree::{DeviceTree, MAX_LEN};
use proto_fdt::{Chosen, ReservedRange, read, reserved_ranges, update_fdt};

fuzz_target!(|data: &[u8]| {
    let Ok(mut tree) = DeviceTree::parse(data) else {
        return;
    };
    let again = tree.to_bytes().expect("a parsed tree can be serialized");
    assert_eq!(DeviceTree::parse(&again).as_ref(), Ok(&tree));
    check_readers(&tree);
    let Ok(reserved) = reserved_ranges(&tree) else {
        return;
    };
    let mut memory = MemoryMap::new();
    let ram = GuestRange::new(0x8000_0000, 256 << 20).unwrap();
    memory.insert(ram, RegionKind::Ram).unwrap();
    let chosen = Chosen::new()
        .with_bootargs(b"quiet\0")
        .with_initrd(GuestRange::new(0x8800_0000, 0x1000).unwrap())
        .with_kaslr_seed(1);
    if update_fdt(&mut tree, &memory, &chosen).is_err() {
        return;
    }
    let updated = tree.to_bytes().unwrap();
    if updated.len() <= MAX_LEN {
        assert_eq!(
            DeviceTree::parse(&updated).as_ref(),
            Ok(&tree),
            "an updated tree is valid"
        );
    }
    assert_eq!(reserved_ranges(&tree).as_ref(), Ok(&reserved));
    let node = tree.root.child("chosen").unwrap();
    assert_eq!(node.property("bootargs"), Some(&b"quiet\0"[..]));
    assert_eq!(node.property("rng-seed"), None);
    check_plan(data, memory, &reserved);
});

/// What is read is valid: firmware maps and accesses it.
fn check_readers(tree: &DeviceTree<'_>) {
    let _ = (
        read::memory(tree),
        read::psci_method(tree),
        read::timebase_frequency(tree),
    );
    if let Ok(Some(clock)) = read::real_time_clock(tree) {
        assert!(clock.range.start() % 4 == 0 && clock.range.len() >= 16);
    }
    let _ = (read::bootargs(tree), read::rng_seed(tree), read::kaslr_seed(tree));
    let slots = read::virtio_mmio(tree).unwrap_or_default();
    assert!(slots.iter().all(|range| !range.is_empty()));
    if let Ok(Some(port)) = read::serial_port(tree) {
        assert!(port.range.start() % 4 == 0 && !port.range.is_empty());
    }
    for host in read::pci_hosts(tree).unwrap_or_default() {
        assert!(host.ecam.start() % (1 << 20) == 0 && host.ecam.len() <= 256 << 20);
        assert!(host.windows.iter().all(|window| !window.range.is_empty()));
    }
}

/// A boot with this tree loads nothing where the tree reserves memory.
fn check_plan(dtb: &[u8], memory: MemoryMap, reserved: &[ReservedRange]) {
    let image = ImageBuilder::new("test", Arch::Aarch64, Endian::Little, 0x1000)
        .segment(SourceRange::whole(0x1000), GuestRange::new(0, 0x1000).unwrap())
        .placement(Placement::Relocatable(Constraints::aligned(2 << 20)))
        .entry(EntryAbi::ARM64_IMAGE, 0)
        .build()
        .unwrap();
    let mut machine = Machine::new(Arch::Aarch64, memory);
    machine.platform = Platform::new();
    let cmdline = Cmdline::new();
    let request = BootRequest::new(&image, &machine, &cmdline)
        .with_initrd(0x10_0000)
        .with_device_tree(dtb);
    match proto_fdt::PROTOCOL_ARM64.plan(&request) {
        Ok(plan) => {
            for load in plan.loads() {
                assert!(
                    reserved
                        .iter()
                        .all(|reserved| !reserved.range.overlaps(load.range))
                );
            }
        }
        Err(error) => assert!(!error.to_string().is_empty()),
    }
}
