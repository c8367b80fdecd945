//! The MADT: the interrupt controllers and CPUs (ACPI 6.5, section 5.2.12).

mod apic;
mod gic;
mod riscv;

pub(crate) use apic::{madt as of_pc, xapic_id};
pub(crate) use gic::madt as of_arm64;
pub(crate) use riscv::madt as of_riscv64;

use alloc::vec::Vec;

use zerocopy::little_endian::U32;
use zerocopy::{Immutable, IntoBytes};

use crate::oem::table;

/// Revision of the MADT of ACPI 6.3 and 6.4, whose structures of CPUs are 80 bytes long.
const REVISION: u8 = 5;

/// What is between the header and the structures: address of the local APICs and flags, both zero without APICs.
#[derive(Clone, Copy, Debug, Immutable, IntoBytes)]
#[repr(C)]
struct Head {
    local_apics: U32,
    flags: U32,
}

/// A MADT without APICs, with these structures.
fn without_apics(structures: &[u8]) -> Vec<u8> {
    let head = Head {
        local_apics: U32::ZERO,
        flags: U32::ZERO,
    };
    let mut content = head.as_bytes().to_vec();
    content.extend_from_slice(structures);
    table(*b"APIC", REVISION, &content)
}
