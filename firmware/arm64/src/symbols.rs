//! Addresses of the linker script.

use boot_core::GuestRange;

/// The memory from one symbol of the linker script to another.
pub(crate) fn between(start: *const u8, end: *const u8) -> GuestRange {
    let [start, end] = [start, end].map(|symbol| u64::try_from(symbol.addr()).unwrap_or_default());
    GuestRange::from_bounds(start, end).unwrap_or(GuestRange::EMPTY)
}
