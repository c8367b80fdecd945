//! CRC32 of table headers and of `CalculateCrc32`, UEFI 2.10 sections 4.2 and 7.5.

use crc::{CRC_32_ISO_HDLC, Crc, NoTable};

/// The algorithm, without a table of 1 KiB: headers are short, and images seldom call `CalculateCrc32`.
static CRC32: Crc<u32, NoTable> = Crc::<u32, NoTable>::new(&CRC_32_ISO_HDLC);

/// CRC32 (ISO 3309, polynomial 0x04c11db7, reflected) of the bytes.
#[must_use]
pub fn crc32(bytes: &[u8]) -> u32 {
    CRC32.checksum(bytes)
}

/// Offset of the field `CRC32` in `EFI_TABLE_HEADER`.
const CRC_OFFSET: usize = 16;

/// CRC32 of a table that begins with `EFI_TABLE_HEADER`: the header's CRC field counts as zero.
#[must_use]
pub fn table_crc32(table: &[u8]) -> u32 {
    let mut digest = CRC32.digest();
    let (head, rest) = table.split_at_checked(CRC_OFFSET).unwrap_or((table, &[]));
    digest.update(head);
    let (field, rest) = rest.split_at_checked(4).unwrap_or((rest, &[]));
    digest.update([0; 4].get(..field.len()).unwrap_or(&[]));
    digest.update(rest);
    digest.finalize()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn crcs_have_the_check_value_of_the_polynomial() {
        assert_eq!(crc32(b"123456789"), 0xcbf4_3926);
    }

    #[test]
    fn the_crc_field_counts_as_zero() {
        let table = *b"0123456789abcdefXXXX--";
        let mut zeroed = table;
        zeroed[16..20].fill(0);
        assert_eq!(table_crc32(&table), crc32(&zeroed));
        assert_eq!(table_crc32(&zeroed[..18]), crc32(&zeroed[..18]));
        assert_eq!(table_crc32(&table[..3]), crc32(&table[..3]));
    }
}
