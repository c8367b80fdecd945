//! Detection of gzip files.

use boot_core::{ByteSource, ReadError, SizedSource};

/// First bytes of a gzip file: the magic number and the method deflate, the only one (RFC 1952).
const MAGIC: [u8; 3] = [0x1f, 0x8b, 8];

/// True if the source is a gzip file, such as an `Image.gz`.
pub(crate) fn is_gzip(source: &dyn ByteSource) -> Result<bool, ReadError> {
    let mut magic = [0; 3];
    SizedSource::new(source)?.read_prefix_at(0, &mut magic)?;
    Ok(magic == MAGIC)
}
