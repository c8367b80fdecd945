//! Mapped files and regions of the host.

use core::fmt;

use sandbox_abi::{Shape, layout};
use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// A file or region of the host that is mapped into this program: `sandbox::Mapping` on the host's side.
///
/// A parameter of functions. Its bytes are not copied for a call: they are at an address that stays the same until the host unmaps them, also
/// over restores. The host decides whether the program may write; a write that it may not is an exception, and so is an access after the
/// host unmapped it, or past the end of a file that became shorter.
///
/// ```
/// use sandbox_guest::{Error, Region, guest_function};
///
/// /// Number of lines of a text.
/// #[guest_function]
/// fn count_lines(text: Region) -> Result<u64, Error> {
///     let mut lines = 0;
///     let mut part = [0; 512];
///     let mut at = 0;
///     while at < text.len() {
///         let len = part.len().min(text.len() - at);
///         # #[cfg(sandbox_guest)]
///         assert!(text.read(at, &mut part[..len]));
///         lines += part[..len].iter().filter(|byte| **byte == b'\n').count() as u64;
///         at += len;
///     }
///     Ok(lines)
/// }
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Region {
    address: u64,
    len: u64,
}

impl Region {
    /// The region of `len` bytes at `address`; `None` if a part is outside of the [addresses](layout::REGIONS) of mapped files and regions.
    /// Whether something is mapped there is not checked.
    #[must_use]
    pub fn new(address: u64, len: u64) -> Option<Self> {
        let end = address.checked_add(len)?;
        (address >= layout::REGIONS && end <= layout::REGIONS_END).then_some(Self { address, len })
    }

    /// Address of the first byte.
    #[must_use]
    pub const fn address(&self) -> u64 {
        self.address
    }

    /// Number of bytes.
    #[must_use]
    #[expect(
        clippy::as_conversions,
        clippy::cast_possible_truncation,
        reason = "programs for sandboxes have 64 bits"
    )]
    pub const fn len(&self) -> usize {
        self.len as usize
    }

    /// Whether there are no bytes.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.len == 0
    }
}

impl fmt::Debug for Region {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Region({:#x}, {:#x} bytes)", self.address, self.len)
    }
}

impl Shape for Region {
    const HASH: u64 = <(u64, u64) as Shape>::HASH;
}

impl Serialize for Region {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        (self.address, self.len).serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Region {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let (address, len) = Deserialize::deserialize(deserializer)?;
        Self::new(address, len).ok_or_else(|| D::Error::custom("not within the addresses of mapped regions"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_addresses_of_regions_are_accepted() {
        const LAST: u64 = layout::REGIONS_END - 1;
        let check = |address: u64, len: u64, is_region: bool| {
            let bytes = postcard::to_allocvec(&(address, len)).unwrap();
            let found = postcard::from_bytes::<Region>(&bytes);
            let expected = is_region.then_some(Region { address, len });
            assert_eq!(found.ok(), expected, "{address:#x} {len:#x}");
            assert_eq!(Region::new(address, len), expected);
            if let Some(region) = expected {
                assert_eq!(postcard::to_allocvec(&region).unwrap(), bytes);
            }
        };
        check(layout::REGIONS, 0, true);
        check(layout::REGIONS, layout::REGIONS_END - layout::REGIONS, true);
        check(layout::REGIONS, layout::REGIONS_END - layout::REGIONS + 1, false);
        check(layout::REGIONS - 1, 2, false);
        check(layout::REGION_TABLES, 8, false);
        check(LAST, 1, true);
        check(LAST, 2, false);
        check(LAST, u64::MAX, false);
        check(0, 1, false);
        check(u64::MAX, 1, false);
    }
}
