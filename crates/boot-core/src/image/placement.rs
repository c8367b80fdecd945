//! Where an image may go.

use crate::num;

/// Where an image may be placed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Placement {
    /// Only at its link addresses.
    Fixed,
    /// Anywhere the rule allows.
    Relocatable(Relocation),
}

/// The rule for the start of a relocatable image's extent.
///
/// The rule is met by an address `a` when `min <= a`, `a + extent length <= max` and
/// `a mod align == align_offset`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Relocation {
    /// A power of two, at least one.
    pub align: u64,
    /// The required remainder modulo `align`; below `align`. An arm64 `Image` asks for its `text_offset` here.
    pub align_offset: u64,
    /// The lowest address allowed.
    pub min: u64,
    /// The address that the extent may end at, at the highest: exclusive.
    pub max: u64,
    /// The address to take if it is free; otherwise the lowest free one that the rule allows.
    pub preferred: Option<u64>,
}

impl Relocation {
    /// Any address that is a multiple of `align`, without a preference.
    #[must_use]
    pub const fn aligned(align: u64) -> Self {
        Self {
            align,
            align_offset: 0,
            min: 0,
            max: u64::MAX,
            preferred: None,
        }
    }

    /// Whether an extent of `len` bytes may start at `start`.
    #[must_use]
    pub fn allows(&self, start: u64, len: u64) -> bool {
        start >= self.min
            && start.checked_add(len).is_some_and(|end| end <= self.max)
            && start
                .checked_sub(self.align_offset)
                .is_some_and(|base| num::align_down(base, self.align) == base)
    }
}
