//! Unpacking of one payload.

use alloc::borrow::Cow;
use alloc::vec::Vec;

use boot_core::{BackingStore, ByteSource, Payload, ReadError, ReadErrorKind, SizedSource, arith};
use decompress::decompress;

use crate::error::UnpackError;

/// The content of a payload of the source, at most `limit` bytes.
///
/// The compressed data of a source in memory are not copied; those of a file are read as a whole.
///
/// # Errors
///
/// [`UnpackError`] for data of an unknown codec, that cannot be decompressed or read, or that have another length than declared.
pub fn unpack(source: &dyn ByteSource, payload: &Payload, limit: usize) -> Result<Vec<u8>, UnpackError> {
    let codec = payload.codec.ok_or(UnpackError::UnknownCodec)?;
    match payload.unpacked_len {
        Some(declared) if declared > arith::to_u64(limit) => {
            return Err(UnpackError::TooLong { declared, limit });
        }
        _ => {}
    }
    let packed = packed(source, payload)?;
    let content = decompress(codec, &packed, limit)?.bytes;
    match payload.unpacked_len {
        Some(declared) if declared != arith::to_u64(content.len()) => Err(UnpackError::Length {
            declared,
            found: content.len(),
        }),
        _ => Ok(content),
    }
}

/// The bytes of a payload.
fn packed<'a>(source: &'a dyn ByteSource, payload: &Payload) -> Result<Cow<'a, [u8]>, ReadError> {
    let sized = SizedSource::new(source)?;
    let range = sized.range(payload.source.offset(), payload.source.len())?;
    let len = usize::try_from(range.len()).unwrap_or(usize::MAX);
    if let BackingStore::Bytes(bytes) = source.backing_store() {
        let start = usize::try_from(range.offset()).unwrap_or(usize::MAX);
        let part = bytes.get(start..).and_then(|bytes| bytes.get(..len));
        let past_end = || ReadError::new(range.offset(), len, ReadErrorKind::Shrunk);
        return part.map(Cow::Borrowed).ok_or_else(past_end);
    }
    sized.read_vec(range.offset(), len).map(Cow::Owned)
}
