//! Segment descriptors (Intel SDM volume 3, sections 3.4.5 and 8.2.2).

use core::fmt;

/// An eight-byte segment descriptor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Descriptor(pub u64);

/// Limit of a flat 4 GiB segment.
pub const FLAT_LIMIT: u32 = 0xffff_ffff;

impl Descriptor {
    fn bits(self, low: u32, count: u32) -> u32 {
        u32::try_from((self.0 >> low) & ((1 << count) - 1)).unwrap_or(u32::MAX)
    }

    /// Linear base address.
    #[must_use]
    pub fn base(self) -> u32 {
        self.bits(16, 24) | self.bits(56, 8) << 24
    }

    /// Last valid offset, with the granularity bit applied.
    #[must_use]
    pub fn limit(self) -> u32 {
        let raw = self.bits(0, 16) | self.bits(48, 4) << 16;
        if self.bits(55, 1) == 1 {
            raw << 12 | 0xfff
        } else {
            raw
        }
    }

    /// Whether the base is 0 and the limit 4 GiB.
    #[must_use]
    pub fn is_flat(self) -> bool {
        self.base() == 0 && self.limit() == FLAT_LIMIT
    }

    fn is_present_segment(self) -> bool {
        self.bits(47, 1) == 1 && self.bits(44, 1) == 1
    }

    /// Whether this is a present, readable code segment of privilege level 0.
    #[must_use]
    pub fn is_readable_code(self) -> bool {
        self.is_present_segment() && self.bits(43, 1) == 1 && self.bits(41, 1) == 1 && self.bits(45, 2) == 0
    }

    /// Whether this is a present, writable, expand-up data segment of privilege level 0.
    #[must_use]
    pub fn is_writable_data(self) -> bool {
        self.is_present_segment() && self.bits(41, 3) == 0b001 && self.bits(45, 2) == 0
    }

    /// The L flag: 64-bit code.
    #[must_use]
    pub fn is_long(self) -> bool {
        self.bits(53, 1) == 1
    }

    /// The D/B flag: 32-bit code or stack.
    #[must_use]
    pub fn is_32_bit(self) -> bool {
        self.bits(54, 1) == 1
    }

    /// Whether this is a present 32-bit task state segment. The busy bit is ignored: a loader that sets TR directly need not set
    /// it in the table.
    #[must_use]
    pub fn is_task_state_32(self) -> bool {
        self.bits(47, 1) == 1 && self.bits(44, 1) == 0 && self.bits(40, 4) & !0b10 == 0b1001
    }
}

impl fmt::Display for Descriptor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{:#018x} (base {:#x}, limit {:#x})",
            self.0,
            self.base(),
            self.limit()
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Flat, readable code, writable data, long, 32-bit, task state.
    fn check(descriptor: u64, expected: [bool; 6]) {
        let it = Descriptor(descriptor);
        let found = [
            it.is_flat(),
            it.is_readable_code(),
            it.is_writable_data(),
            it.is_long(),
            it.is_32_bit(),
            it.is_task_state_32(),
        ];
        assert_eq!(found, expected, "{it}");
    }

    #[test]
    fn types_and_rights_are_decoded() {
        check(0x00af_9b00_0000_ffff, [true, true, false, true, false, false]);
        check(0x00cf_9b00_0000_ffff, [true, true, false, false, true, false]);
        check(0x00cf_9300_0000_ffff, [true, false, true, false, true, false]);
        check(0x0000_8b00_0000_0067, [false, false, false, false, false, true]);
        check(0x0000_8900_0000_0067, [false, false, false, false, false, true]);
        check(0, [false; 6]);
        // Not present, code without read, data without write, expand-down data, data of level 3.
        check(0x00cf_1b00_0000_ffff, [true, false, false, false, true, false]);
        check(0x00cf_9900_0000_ffff, [true, false, false, false, true, false]);
        check(0x00cf_9100_0000_ffff, [true, false, false, false, true, false]);
        check(0x00cf_9700_0000_ffff, [true, false, false, false, true, false]);
        check(0x00cf_f300_0000_ffff, [true, false, false, false, true, false]);
        // A limit in bytes, one page short, another base; a 16-bit task state segment.
        check(0x004f_9b00_0000_ffff, [false, true, false, false, true, false]);
        check(0x00cf_9b00_0000_fffe, [false, true, false, false, true, false]);
        check(0x01cf_9b00_0000_ffff, [false, true, false, false, true, false]);
        check(0x0000_8300_0000_0067, [false; 6]);
    }

    #[test]
    fn base_and_limit_are_decoded() {
        let it = Descriptor(0x1280_8b34_5678_0067);
        assert_eq!((it.base(), it.limit()), (0x1234_5678, 0x67_fff));
        let it = Descriptor(0x0005_8b00_0000_0067);
        assert_eq!(it.limit(), 0x5_0067);
    }
}
