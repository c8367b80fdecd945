//! Values at the edges of a field.

/// The values of a field of `len` bytes, 1 to 8, at which errors are likely: the smallest and the largest ones, those around the sign bit, and the
/// neighbours, the double and the half of `value`, the one that it has.
#[must_use]
pub fn edges(value: u64, len: usize) -> [u64; 11] {
    let max = u64::MAX >> (64 - 8 * len);
    let sign = (max >> 1) + 1;
    let (next, previous) = (value.wrapping_add(1) & max, value.wrapping_sub(1) & max);
    let (double, half) = (value << 1 & max, value >> 1);
    [
        0,
        1,
        2,
        max,
        max - 1,
        sign,
        sign - 1,
        next,
        previous,
        double,
        half,
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn edges_fit_the_field() {
        assert_eq!(edges(200, 1), [0, 1, 2, 255, 254, 128, 127, 201, 199, 144, 100]);
        assert_eq!(edges(0, 8)[7..9], [1, u64::MAX]);
    }
}
