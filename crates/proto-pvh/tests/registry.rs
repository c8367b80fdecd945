//! The protocol is registered if it is linked.
#![cfg(feature = "registry")]

use proto_pvh as _;

#[test]
fn the_protocol_is_registered_under_its_name() {
    let protocols = boot_core::registry::protocols().unwrap();
    let names: Vec<_> = protocols.iter().map(|protocol| protocol.name()).collect();
    assert_eq!(names, ["pvh"]);
}
