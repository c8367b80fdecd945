//! Numbers of bytes for people.

use core::fmt;

/// A number of bytes, which `Display` prints in the largest binary unit in which it is at least one, cut to one decimal:
/// `512 MiB`, `1.5 GiB`, `100 B`.
///
/// Addresses are hexadecimal in messages; sizes are printed by this type.
///
/// ```
/// use boot_core::ByteCount;
///
/// assert_eq!(ByteCount(600 << 20).to_string(), "600 MiB");
/// assert_eq!(ByteCount(3 << 29).to_string(), "1.5 GiB");
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ByteCount(
    /// The number of bytes.
    pub u64,
);

impl fmt::Display for ByteCount {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const UNITS: [(&str, u32); 4] = [("TiB", 40), ("GiB", 30), ("MiB", 20), ("KiB", 10)];
        let Self(len) = *self;
        for (unit, shift) in UNITS {
            let whole = len >> shift;
            if whole > 0 {
                let tenth =
                    (len.saturating_sub(whole << shift) >> shift.saturating_sub(10)).saturating_mul(10) >> 10;
                return if tenth == 0 {
                    write!(f, "{whole} {unit}")
                } else {
                    write!(f, "{whole}.{tenth} {unit}")
                };
            }
        }
        write!(f, "{len} B")
    }
}

#[cfg(test)]
mod tests {
    use std::string::ToString;

    use super::ByteCount;

    #[test]
    fn sizes_have_the_largest_unit() {
        let check = |len, expected| assert_eq!(ByteCount(len).to_string(), expected);
        check(0, "0 B");
        check(1023, "1023 B");
        check(1024, "1 KiB");
        check(1536, "1.5 KiB");
        check(0xa_0000, "640 KiB");
        check(57 << 20, "57 MiB");
        check(u64::MAX, "16777215.9 TiB");
    }
}
