//! Arbitrary bytes as a caller's device tree: they are refused, or fitted to the boot, and then they say what the boot
//! is and reserve what they reserved.

#![no_main]

use boot_core::machine::Platform;
use boot_core::{
    Arch, BootProtocol, BootRequest, Cmdline, Constraints, Endian, EntryAbi, GuestRange, ImageBuilder, Machine, MemoryMap,
    Placement, RegionKind, SourceRange,
};
use libfuzzer_sys::fuzz_target;
use proto_fdt::device_tree::{Blob, MAX_LEN};
use proto_fdt::{Chosen, fixup};

fuzz_target!(|data: &[u8]| {
    let Ok(mut tree) = DeviceTree::parse(data) else {
        return;
    };
    let again = tree.to_bytes().expect("what was read can be written");
    assert_eq!(DeviceTree::parse(&again).as_ref(), Ok(&tree));
    let Ok(reserved) = fixup::reservations(&tree) else {
        return;
    };
    let mut memory = MemoryMap::new();
    let ram = GuestRange::new(0x8000_0000, 256 << 20).unwrap();
    memory.insert(ram, RegionKind::Ram).unwrap();
    let chosen = Chosen {
        bootargs: b"quiet\0",
        initrd: GuestRange::new(0x8800_0000, 0x1000),
        rng_seed: None,
        kaslr_seed: Some(1),
    };
    if fixup::fix(&mut tree, &memory, &chosen).is_err() {
        return;
    }
    let fitted = tree.to_bytes().unwrap();
    if fitted.len() <= MAX_LEN {
        assert_eq!(
            DeviceTree::parse(&fitted).as_ref(),
            Ok(&tree),
            "a fitted tree is a proper tree"
        );
    }
    assert_eq!(fixup::reservations(&tree).as_ref(), Ok(&reserved));
    let node = tree
        .root
        .children
        .iter()
        .find(|node| node.name == "chosen")
        .unwrap();
    assert_eq!(node.property("bootargs"), Some(&b"quiet\0"[..]));
    assert_eq!(node.property("rng-seed"), None);
    check_plan(data, memory, &reserved);
});

/// Nothing of a boot with this tree goes where the tree reserves memory.
fn check_plan(dtb: &[u8], memory: MemoryMap, reserved: &[fixup::Reservation]) {
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
