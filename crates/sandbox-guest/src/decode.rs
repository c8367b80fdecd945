//! Decoding of parameters and results.

use serde::Deserialize;

/// Decodes a value in postcard's format, which takes all of `bytes`.
///
/// # Errors
///
/// Errors of the format; [`postcard::Error::DeserializeBadEncoding`] if bytes are left over.
pub(crate) fn decode<'a, T: Deserialize<'a>>(bytes: &'a [u8]) -> Result<T, postcard::Error> {
    let (value, rest) = postcard::take_from_bytes(bytes)?;
    if rest.is_empty() {
        Ok(value)
    } else {
        Err(postcard::Error::DeserializeBadEncoding)
    }
}
