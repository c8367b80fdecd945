//! A place for the firmware that no kernel needs.
#![expect(unsafe_code, reason = "memory by its physical address")]

use boot_core::{Constraints, GuestRange, RamAllocator};
use proto_fdt::device_tree::DeviceTree;
use proto_fdt::{read, reserved_ranges};

use crate::tree::tree_bytes;

/// Alignment of the place in bytes: that of large pages.
const ALIGN: u64 = 2 << 20;

/// The start of the highest free RAM below 4 GiB for `own`, the memory of the firmware, on the machine of the device tree at `addr`. `None` if
/// there is none, or the tree is malformed: the firmware then stays where it is.
///
/// SBI firmware starts the firmware at the address that kernels with a fixed address are linked for.
///
/// # Safety
///
/// `addr` is what the boot protocol names as the address of the device tree: it is mapped, with all bytes of a tree if there is one, and they
/// do not change during the call.
#[must_use]
pub unsafe fn high_place(addr: u64, own: GuestRange) -> Option<u64> {
    // SAFETY: as the caller guarantees.
    let tree = unsafe { tree_bytes(addr) }.ok()?;
    place_for(tree, addr, own)
}

fn place_for(tree: &[u8], tree_at: u64, own: GuestRange) -> Option<u64> {
    let len = u64::try_from(tree.len()).ok()?;
    let tree_range = GuestRange::new(tree_at, len)?;
    let tree = DeviceTree::parse(tree).ok()?;
    let memory = read::memory(&tree).ok()?;
    let mut allocator = RamAllocator::new(&memory);
    allocator.exclude_rest("firmware", own);
    allocator.exclude_rest("device tree", tree_range);
    for reserved in reserved_ranges(&tree).ok()? {
        allocator.exclude_rest("reserved memory", reserved.range);
    }
    let constraints = Constraints::below_4g(ALIGN).not_below(own.end()).highest();
    let place = allocator.allocate("firmware", own.len(), &constraints).ok()?;
    Some(place.start())
}

#[cfg(test)]
mod tests {
    use proto_fdt::device_tree::Node;

    use super::*;

    /// The place of 5 MiB at 0x8020_0000 in RAM of this length, with reserved memory and the tree at these addresses.
    fn place(ram: u64, reserved: Option<(u64, u64)>, tree_at: u64) -> Option<u64> {
        let pair = |start: u64, len: u64| [start.to_be_bytes(), len.to_be_bytes()].concat();
        let mut root = Node::new("");
        root.push_property("#address-cells", 2_u32.to_be_bytes().to_vec());
        root.push_property("#size-cells", 2_u32.to_be_bytes().to_vec());
        let mut memory = Node::new("memory@80000000");
        memory.push_property("device_type", b"memory\0".as_slice());
        memory.push_property("reg", pair(0x8000_0000, ram));
        root.children.push(memory);
        if let Some((start, len)) = reserved {
            let mut parent = Node::new("reserved-memory");
            parent.push_property("#address-cells", 2_u32.to_be_bytes().to_vec());
            parent.push_property("#size-cells", 2_u32.to_be_bytes().to_vec());
            parent.push_property("ranges", Vec::new());
            let mut node = Node::new("region@0");
            node.push_property("reg", pair(start, len));
            parent.children.push(node);
            root.children.push(parent);
        }
        let tree = DeviceTree::new(root).to_bytes().unwrap();
        let own = GuestRange::new(0x8020_0000, 5 << 20).unwrap();
        place_for(&tree, tree_at, own)
    }

    #[test]
    fn the_place_is_the_highest_that_is_free() {
        assert_eq!(place(128 << 20, None, 0x8010_0000), Some(0x87a0_0000));
        assert_eq!(place(128 << 20, None, 0x87e0_0000), Some(0x8780_0000));
        assert_eq!(
            place(128 << 20, Some((0x8700_0000, 0x100_0000)), 0x8010_0000),
            Some(0x86a0_0000)
        );
        assert_eq!(place(4 << 30, None, 0x8010_0000), Some(0xffa0_0000));
    }

    #[test]
    fn without_a_place_the_firmware_stays() {
        assert_eq!(place(8 << 20, None, 0x8010_0000), None);
        let own = GuestRange::new(0x8020_0000, 5 << 20).unwrap();
        assert_eq!(place_for(b"no tree", 0x8010_0000, own), None);
    }
}
