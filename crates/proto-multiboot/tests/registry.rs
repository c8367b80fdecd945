//! Registration of the protocols.
#![cfg(feature = "registry")]

use proto_multiboot as _;

#[test]
fn the_protocols_are_registered_under_their_names() {
    let protocols = boot_core::registry::protocols().unwrap();
    let names: Vec<_> = protocols.iter().map(|protocol| protocol.name()).collect();
    assert_eq!(names, ["multiboot2", "multiboot"]);
}
