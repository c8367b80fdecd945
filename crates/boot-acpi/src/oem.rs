//! What all tables have in common.

use alloc::vec::Vec;

use acpi_tables::Aml;
use acpi_tables::sdt::Sdt;

/// Length of the header of a table (ACPI 6.5, section 5.2.6).
pub(crate) const HEADER_LEN: u32 = 36;
/// Identification of the maker of the tables.
pub(crate) const OEM_ID: [u8; 6] = *b"VMBOOT";
/// Identification of the tables by their maker.
pub(crate) const OEM_TABLE_ID: [u8; 8] = *b"VMBOOTVM";
/// Revision of the tables by their maker.
pub(crate) const OEM_REVISION: u32 = 1;

/// The bytes of a table or of an object in one.
pub(crate) fn bytes(table: &dyn Aml) -> Vec<u8> {
    let mut bytes = Vec::new();
    table.to_aml_bytes(&mut bytes);
    bytes
}

/// A table with this signature, revision and content behind its header.
pub(crate) fn table(signature: [u8; 4], revision: u8, content: &[u8]) -> Vec<u8> {
    let mut table = Sdt::new(
        signature,
        HEADER_LEN,
        revision,
        OEM_ID,
        OEM_TABLE_ID,
        OEM_REVISION,
    );
    table.append_slice(content);
    table.as_slice().to_vec()
}
