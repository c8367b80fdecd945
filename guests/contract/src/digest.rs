//! Length and FNV-1a hash of a byte string.

use core::fmt;

/// Incremental 64-bit FNV-1a hash.
///
/// FNV-1a is not a cryptographic hash: it detects accidental changes such as a shifted page or a truncated file, not attacks. It
/// needs neither an allocator nor SIMD.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fnv1a64(u64);

impl Fnv1a64 {
    const OFFSET_BASIS: u64 = 0xcbf2_9ce4_8422_2325;
    const PRIME: u64 = 0x0000_0100_0000_01b3;

    /// The hash of the empty string.
    #[must_use]
    pub const fn new() -> Self {
        Self(Self::OFFSET_BASIS)
    }

    /// Appends `bytes` to the hashed data.
    pub fn update(&mut self, bytes: &[u8]) {
        for &byte in bytes {
            self.0 = (self.0 ^ u64::from(byte)).wrapping_mul(Self::PRIME);
        }
    }

    /// The hash of all bytes so far.
    #[must_use]
    pub const fn finish(self) -> u64 {
        self.0
    }
}

impl Default for Fnv1a64 {
    fn default() -> Self {
        Self::new()
    }
}

/// Length and [`Fnv1a64`] hash of a byte string; displayed as `LEN:0xHASH`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Digest {
    /// Length in bytes.
    pub len: u64,
    /// FNV-1a hash of the bytes.
    pub hash: u64,
}

impl Digest {
    /// The digest of `bytes`.
    #[must_use]
    pub fn of(bytes: &[u8]) -> Self {
        let mut hash = Fnv1a64::new();
        hash.update(bytes);
        // The length of a slice is at most `isize::MAX`, so the conversion cannot fail.
        Self {
            len: u64::try_from(bytes.len()).unwrap_or(u64::MAX),
            hash: hash.finish(),
        }
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{:#018x}", self.len, self.hash)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::string::ToString as _;

    #[test]
    fn hashes_match_the_published_vectors() {
        // Test vectors of the FNV reference distribution.
        for (input, expected) in [
            ("", 0xcbf2_9ce4_8422_2325),
            ("a", 0xaf63_dc4c_8601_ec8c),
            ("foobar", 0x8594_4171_f739_67e8),
        ] {
            assert_eq!(Digest::of(input.as_bytes()).hash, expected, "{input:?}");
        }
    }

    #[test]
    fn pieces_hash_like_the_whole() {
        let mut pieces = Fnv1a64::new();
        pieces.update(b"foo");
        pieces.update(b"");
        pieces.update(b"bar");
        assert_eq!(pieces.finish(), Digest::of(b"foobar").hash);
    }

    #[test]
    fn a_digest_prints_length_and_padded_hash() {
        assert_eq!(
            Digest { len: 12, hash: 0xab }.to_string(),
            "12:0x00000000000000ab"
        );
    }
}
