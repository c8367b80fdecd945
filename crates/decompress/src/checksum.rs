//! Checksums of containers.

#[cfg(any(feature = "gzip", feature = "lzo"))]
use crc::{CRC_32_ISO_HDLC, Crc, Table};

use crate::error::Problem;

/// CRC-32 of gzip (RFC 1952, section 8) and of `lzop`.
#[cfg(any(feature = "gzip", feature = "lzo"))]
pub(crate) static CRC32: Crc<u32, Table<16>> = Crc::<u32, Table<16>>::new(&CRC_32_ISO_HDLC);

/// Compares a checksum in the input with that of the data.
pub(crate) const fn compare(found: u32, computed: u32) -> Result<(), Problem> {
    if found == computed {
        return Ok(());
    }
    Err(Problem::Checksum { found, computed })
}
