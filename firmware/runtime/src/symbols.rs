//! Addresses of symbols of the linker script.

use boot_core::GuestRange;

/// The address of a symbol.
#[must_use]
pub fn address<T>(symbol: *const T) -> u64 {
    u64::try_from(symbol.addr()).unwrap_or_default()
}

/// The memory from one symbol to another; empty if they are in another order.
#[must_use]
pub fn between(start: *const u8, end: *const u8) -> GuestRange {
    GuestRange::from_bounds(address(start), address(end)).unwrap_or(GuestRange::EMPTY)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_is_between_two_addresses() {
        let [start, end] = [0x1000, 0x3000].map(core::ptr::without_provenance);
        assert_eq!(between(start, end), GuestRange::new(0x1000, 0x2000).unwrap());
        assert_eq!(between(end, start), GuestRange::EMPTY);
    }
}
