//! Where RAM can be.

use boot_core::GuestRange;

use crate::HarnessError;

/// Where a machine's RAM can be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RamRules {
    /// The host's page size in bytes, of which RAM slots consist.
    pub page: u64,
    /// How many bits guest physical addresses have; 64 where KVM does not say.
    pub address_bits: u32,
    /// What the machine uses for itself.
    pub reserved: Vec<GuestRange>,
}

impl RamRules {
    /// Checks that `range` consists of whole pages, is addressable, and is clear of what the machine uses for itself.
    ///
    /// # Errors
    ///
    /// [`HarnessError::RamUnaligned`], [`HarnessError::RamBeyondAddresses`] and [`HarnessError::RamReserved`].
    pub fn check(&self, range: GuestRange) -> Result<(), HarnessError> {
        let page = self.page;
        if !range.start().is_multiple_of(page) || !range.len().is_multiple_of(page) {
            return Err(HarnessError::RamUnaligned { range, page });
        }
        let bits = self.address_bits;
        // A range is never empty, and its end is past the last address that it has.
        let highest = range.end().saturating_sub(1);
        if highest.checked_shr(bits).is_some_and(|rest| rest != 0) {
            return Err(HarnessError::RamBeyondAddresses { range, bits });
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
    fn what_is_no_place_for_ram_is_refused() {
        let range = |start, len| GuestRange::new(start, len).unwrap();
        let rules = |address_bits| RamRules {
            page: 0x4000,
            address_bits,
            reserved: vec![range(0x10_0000, 0x1000), range(0x20_0000, 0x1_0000)],
        };
        let check = |bits, start, len, expected: Option<fn(&HarnessError) -> bool>| {
            let result = rules(bits).check(range(start, len));
            match (&result, expected) {
                (Ok(()), None) => {}
                (Err(error), Some(right)) if right(error) => {}
                _ => panic!("{bits} bits, {start:#x}+{len:#x}: {result:?}"),
            }
        };
        let unaligned: fn(&HarnessError) -> bool =
            |e| matches!(e, HarnessError::RamUnaligned { page: 0x4000, .. });
        let beyond: fn(&HarnessError) -> bool =
            |e| matches!(e, HarnessError::RamBeyondAddresses { bits: 32, .. });
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
