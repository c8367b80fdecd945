//! The ACPI root pointer (ACPI specification, section 5.2.5.3).

use crate::machine::phys::Phys;
use clauses::{check, report};

/// Checks the address of the root pointer and, if it is not zero, the root pointer there.
pub(crate) fn root(address: u64, phys: &mut Phys, expected: Option<u64>) {
    report::check_expected_address("acpi.root", address, expected);
    if address == 0 {
        return;
    }
    // The first 20 bytes are the structure of ACPI 1.0, which has a checksum of its own.
    let mut root = [0; 20];
    phys.read(address, &mut root);
    let sum = root.iter().fold(0_u8, |sum, byte| sum.wrapping_add(*byte));
    check!("acpi.root-content", root.starts_with(b"RSD PTR ") && sum == 0,
        "signature {:02x?} and checksum {sum:#x}", &root[..8]; "\"RSD PTR \" and 0");
}
