//! Encoding of parameters and results: postcard.

use postcard::ser_flavors::Flavor;
use serde::Serialize;
use serde::de::DeserializeOwned;

/// Appends the encoding of `value` to `bytes`; on an error, a part of it. Allocates only if the capacity is too small.
#[inline]
pub(crate) fn to<T: Serialize + ?Sized>(value: &T, bytes: &mut Vec<u8>) -> postcard::Result<()> {
    postcard::serialize_with_flavor(value, Append(bytes))
}

/// Appends to a vector, which `postcard::to_extend` would move in and out.
struct Append<'a>(&'a mut Vec<u8>);

impl Flavor for Append<'_> {
    type Output = ();

    #[inline]
    fn try_push(&mut self, byte: u8) -> postcard::Result<()> {
        self.0.push(byte);
        Ok(())
    }

    #[inline]
    fn try_extend(&mut self, bytes: &[u8]) -> postcard::Result<()> {
        self.0.extend_from_slice(bytes);
        Ok(())
    }

    #[inline]
    fn finalize(self) -> postcard::Result<()> {
        Ok(())
    }
}

/// The value that all of `bytes` encode.
#[inline]
pub(crate) fn from<T: DeserializeOwned>(bytes: &[u8]) -> postcard::Result<T> {
    match postcard::take_from_bytes(bytes)? {
        (value, []) => Ok(value),
        _ => Err(postcard::Error::DeserializeBadEncoding),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_use_all_bytes() {
        let mut bytes = vec![9];
        to(&(1u32, "a"), &mut bytes).unwrap();
        assert_eq!(bytes, [9, 1, 1, b'a']);
        assert_eq!(from::<(u32, String)>(&bytes[1..]), Ok((1, "a".to_owned())));
        assert!(from::<(u32, String)>(&bytes[1..3]).is_err());
        bytes.push(0);
        assert!(from::<(u32, String)>(&bytes[1..]).is_err());
    }
}
