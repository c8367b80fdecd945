//! Integer helpers: alignment of addresses, and widening of lengths to 64 bits.

/// Converts a length or index to `u64`, the type of file offsets and guest addresses.
#[must_use]
#[expect(
    clippy::as_conversions,
    reason = "no supported target has a usize wider than 64 bits; see the assertion"
)]
pub const fn to_u64(n: usize) -> u64 {
    const _: () = assert!(size_of::<usize>() <= size_of::<u64>());
    n as u64
}

/// The highest multiple of `align` that is not above `n`.
///
/// `align` must be a power of two; any other value, zero included, leaves `n` as it is.
#[must_use]
pub const fn align_down(n: u64, align: u64) -> u64 {
    match align.checked_sub(1) {
        Some(mask) if align.is_power_of_two() => n & !mask,
        _ => n,
    }
}

/// The lowest multiple of `align` that is not below `n`, or `None` where it is above `u64::MAX`.
///
/// `align` must be a power of two; any other value, zero included, leaves `n` as it is.
#[must_use]
pub const fn align_up(n: u64, align: u64) -> Option<u64> {
    let down = align_down(n, align);
    if down == n {
        Some(n)
    } else {
        down.checked_add(align)
    }
}

/// The one of `count` things that `seed` chooses, by its index; 0 for no things. With random seeds, each is as likely as another one, as far as
/// `count` divides 2^64.
#[must_use]
#[expect(
    clippy::as_conversions,
    clippy::arithmetic_side_effects,
    reason = "the product of two u64 fits into a u128, and its high half into a u64"
)]
pub const fn choose(seed: u64, count: u64) -> u64 {
    ((seed as u128 * count as u128) >> 64) as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn alignment() {
        let check = |n, align, down, up| {
            assert_eq!(
                (align_down(n, align), align_up(n, align)),
                (down, up),
                "{n:#x} to {align:#x}"
            );
        };
        check(0, 0x1000, 0, Some(0));
        check(1, 0x1000, 0, Some(0x1000));
        check(0x1000, 0x1000, 0x1000, Some(0x1000));
        check(u64::MAX, 0x1000, u64::MAX - 0xfff, None);
        check(7, 1, 7, Some(7));
        check(7, 0, 7, Some(7));
        check(7, 3, 7, Some(7));
    }

    #[test]
    fn seeds_choose_from_the_first_to_the_last() {
        let check = |seed, count, expected| assert_eq!(choose(seed, count), expected, "{seed:#x} of {count}");
        check(0, 3, 0);
        check(u64::MAX / 3, 3, 0);
        check(u64::MAX / 3 + 1, 3, 1);
        check(u64::MAX, 3, 2);
        check(u64::MAX, u64::MAX, u64::MAX - 1);
        check(u64::MAX, 0, 0);
    }
}
