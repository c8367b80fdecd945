//! The ACPI root pointer (ACPI specification, section 5.2.5.3).

use crate::machine::phys::Phys;
use clauses::{check, report};

/// Checks the root pointer's address and, if there is one, that a root pointer stands there.
pub(crate) fn root(address: u64, phys: &mut Phys, asked: Option<u64>) {
    report::address_against("acpi.root", address, asked);
    if address == 0 {
        return;
    }
    // The first 20 bytes are those of ACPI 1.0, with a checksum of their own.
    let mut root = [0; 20];
    phys.read(address, &mut root);
    let sum = root.iter().fold(0_u8, |sum, byte| sum.wrapping_add(*byte));
    check!("acpi.root-content", root.starts_with(b"RSD PTR ") && sum == 0,
        "signature {:02x?} and checksum {sum:#x}", &root[..8]; "\"RSD PTR \" and 0");
}
