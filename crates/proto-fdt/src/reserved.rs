//! Reserved memory as plans and trees have it.

use boot_core::GuestRange;
use boot_core::machine::ReservedMemory;

/// A memory range that a device tree reserves: what [`ReservedMemory`] is in a platform, without the name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ReservedRange {
    /// The addresses.
    pub range: GuestRange,
    /// Whether the guest must not map the range (`no-map`).
    pub no_map: bool,
}

impl ReservedRange {
    /// A reserved range. `no_map`: the guest must not map it.
    #[must_use]
    pub const fn new(range: GuestRange, no_map: bool) -> Self {
        Self { range, no_map }
    }
}

impl From<&ReservedMemory> for ReservedRange {
    fn from(memory: &ReservedMemory) -> Self {
        Self::new(memory.range, memory.no_map)
    }
}
