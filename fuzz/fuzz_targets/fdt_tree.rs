//! The device tree of a machine, as its caller may pass it.

use boot_core::{GuestRange, Machine};
use proto_fdt::device_tree::DeviceTree;
use proto_fdt::{Chosen, create_fdt};

/// The tree of `machine`, with these memory reservations.
pub(crate) fn with_reservations(machine: &Machine, reservations: Vec<GuestRange>) -> Vec<u8> {
    let bytes = create_fdt(machine, &Chosen::new()).unwrap();
    let mut tree = DeviceTree::parse(&bytes).unwrap();
    tree.memory_reservations = reservations;
    tree.to_bytes().unwrap()
}
