//! Constraints on the addresses of RAM.

use boot_core::GuestRange;

use crate::HarnessError;

/// Constraints on the addresses of a machine's RAM.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct RamConstraints {
    /// Page size of the host in bytes, a power of two; RAM slots consist of whole pages.
    pub page_size: u64,
    /// Number of bits of guest physical addresses; 64 where KVM does not report it.
    pub address_bits: u32,
    /// Ranges that the virtual machine reserves.
    pub reserved: Vec<GuestRange>,
}

impl RamConstraints {
    /// Constraints with these limits and reserved ranges.
    #[must_use]
    pub const fn new(page_size: u64, address_bits: u32, reserved: Vec<GuestRange>) -> Self {
        Self {
            page_size,
            address_bits,
            reserved,
        }
    }

    /// Checks that `range` consists of whole pages, lies in the address space, and does not overlap a reserved range.
    ///
    /// # Errors
    ///
    /// [`HarnessError::RamUnaligned`], [`HarnessError::RamOutOfRange`] and [`HarnessError::RamReserved`].
    pub fn check(&self, range: GuestRange) -> Result<(), HarnessError> {
        let page_size = self.page_size;
        if !range.start().is_multiple_of(page_size) || !range.len().is_multiple_of(page_size) {
            return Err(HarnessError::RamUnaligned { range, page_size });
        }
        let bits = self.address_bits;
        // The end of a range is exclusive.
        let highest = range.end().saturating_sub(1);
        if highest.checked_shr(bits).is_some_and(|rest| rest != 0) {
            return Err(HarnessError::RamOutOfRange { range, bits });
        }
        match self.reserved.iter().find(|reserved| reserved.overlaps(range)) {
            Some(&reserved) => Err(HarnessError::RamReserved { range, reserved }),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_outside_the_constraints_are_refused() {
        let range = |start, len| GuestRange::new(start, len).unwrap();
        let constraints = |address_bits| {
            let reserved = vec![range(0x10_0000, 0x1000), range(0x20_0000, 0x1_0000)];
            RamConstraints::new(0x4000, address_bits, reserved)
        };
        let check = |bits, start, len, expected: Option<fn(&HarnessError) -> bool>| {
            let result = constraints(bits).check(range(start, len));
            match (&result, expected) {
                (Ok(()), None) => {}
                (Err(error), Some(right)) if right(error) => {}
                _ => panic!("{bits} bits, {start:#x}+{len:#x}: {result:?}"),
            }
        };
        let unaligned: fn(&HarnessError) -> bool = |e| {
            matches!(
                e,
                HarnessError::RamUnaligned {
                    page_size: 0x4000,
                    ..
                }
            )
        };
        let beyond: fn(&HarnessError) -> bool = |e| matches!(e, HarnessError::RamOutOfRange { bits: 32, .. });
        check(32, 0, 0x4000, None);
        check(32, 0x1000, 0x4000, Some(unaligned));
        check(32, 0x4000, 0x1000, Some(unaligned));
        check(32, 0xffff_c000, 0x4000, None);
        check(32, 0xffff_c000, 0x8000, Some(beyond));
        check(32, 0x1_0000_0000, 0x4000, Some(beyond));
        check(64, 0xffff_ffff_ffff_8000, 0x4000, None);
        check(32, 0xf_c000, 0x4000, None);
        check(
            32,
            0xf_c000,
            0x8000,
            Some(
                |e| matches!(e, HarnessError::RamReserved { reserved, .. } if reserved.start() == 0x10_0000),
            ),
        );
        check(
            32,
            0x20_c000,
            0x4000,
            Some(
                |e| matches!(e, HarnessError::RamReserved { reserved, .. } if reserved.start() == 0x20_0000),
            ),
        );
        check(32, 0x21_0000, 0x4000, None);
    }
}
