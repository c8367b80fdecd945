//! Bytes that look random and are the same in each run.

/// `len` bytes of a linear congruential generator (Knuth's MMIX) that starts with `seed`: the highest byte of each state.
#[must_use]
pub fn pseudo_random(seed: u64, len: usize) -> Vec<u8> {
    let mut state = seed;
    let byte = |_| {
        state = state
            .wrapping_mul(0x5851_f42d_4c95_7f2d)
            .wrapping_add(0x1405_7b7e_f767_814f);
        state.to_be_bytes()[0]
    };
    (0..len).map(byte).collect()
}

#[cfg(test)]
mod tests {
    use super::pseudo_random;

    #[test]
    fn equal_seeds_give_equal_bytes() {
        assert_eq!(pseudo_random(0, 1), [0x14]);
        assert_eq!(pseudo_random(7, 100), pseudo_random(7, 200)[..100]);
        assert_ne!(pseudo_random(7, 100), pseudo_random(8, 100));
    }
}
