//! Decisions with fixed odds.

use arbitrary::{Result, Unstructured};

/// True in one of `n` cases, and false without input.
///
/// # Errors
///
/// None of its own; see [`Unstructured::int_in_range`].
pub fn one_in(u: &mut Unstructured<'_>, n: u8) -> Result<bool> {
    Ok(u.int_in_range(0..=n - 1)? == n - 1)
}

/// One of `choices`, and the first without input.
///
/// # Errors
///
/// [`arbitrary::Error::EmptyChoose`] without choices.
pub fn pick<T: Clone>(u: &mut Unstructured<'_>, choices: &[T]) -> Result<T> {
    u.choose(choices).cloned()
}

/// A number of up to `bits` bits, with equal odds for each number of bits. It is never zero.
///
/// # Errors
///
/// None of its own; see [`Unstructured::int_in_range`].
pub fn number(u: &mut Unstructured<'_>, bits: u8) -> Result<u64> {
    let shift = u32::from(u.int_in_range(0..=bits - 1)?);
    let mantissa = u64::from(u.arbitrary::<u16>()?);
    Ok((1 << shift) | ((mantissa << shift) >> 16))
}

/// Calls `make` `count` times, until it fails.
///
/// # Errors
///
/// The first error of `make`.
pub fn repeat<T>(count: usize, make: impl FnMut() -> Result<T>) -> Result<Vec<T>> {
    std::iter::repeat_with(make).take(count).collect()
}

/// Calls `make` in one of `n` cases.
///
/// # Errors
///
/// The error of `make`.
pub fn maybe<T>(
    u: &mut Unstructured<'_>,
    n: u8,
    make: impl FnOnce(&mut Unstructured<'_>) -> Result<T>,
) -> Result<Option<T>> {
    if one_in(u, n)? {
        make(u).map(Some)
    } else {
        Ok(None)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_have_up_to_the_given_bits() {
        let check = |bytes: &[u8], expected| {
            let found = number(&mut Unstructured::new(bytes), 34).unwrap();
            assert_eq!(found, expected, "{bytes:?}");
        };
        check(&[], 1);
        check(&[28, 0, 0], 1 << 28);
        check(&[33, 0xff, 0xff], (1 << 34) - (1 << 17));
        check(&[34, 0xff, 0xff], 1);
    }

    #[test]
    fn decisions_without_input_are_the_first_choice() {
        let u = &mut Unstructured::new(&[]);
        assert!(!one_in(u, 2).unwrap());
        assert_eq!(pick(u, &[3, 4]).unwrap(), 3);
        assert_eq!(maybe(u, 2, |_| Ok(1)).unwrap(), None);
        let u = &mut Unstructured::new(&[7, 5]);
        assert!(one_in(u, 8).unwrap());
        assert_eq!(pick(u, &[3, 4]).unwrap(), 4);
    }
}
