//! Pages.

use boot_core::GuestRange;

/// Bytes of a page.
pub(crate) const PAGE: u64 = 0x1000;

/// The whole pages of a range.
pub(crate) fn aligned_in(range: GuestRange) -> Option<GuestRange> {
    let start = range.start().checked_next_multiple_of(PAGE)?;
    GuestRange::from_bounds(start, range.end() & !(PAGE - 1))
}
