//! The `seed` CSR of the entropy source, which user space emulates (RISC-V Cryptography Extensions Volume I, chapter 4).

/// Number of the `seed` CSR.
pub const NUMBER: u64 = 0x015;

/// Value of `seed`: state `ES16` and 16 bits of entropy, or state `WAIT` without entropy.
#[must_use]
pub fn value(entropy: Option<u16>) -> u64 {
    const WAIT: u64 = 0b01 << 30;
    const ES16: u64 = 0b10 << 30;
    entropy.map_or(WAIT, |bits| ES16 | u64::from(bits))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_status_is_in_the_top_bits() {
        assert_eq!(value(Some(0xbeef)), 0x8000_beef);
        assert_eq!(value(Some(0)), 0x8000_0000);
        assert_eq!(value(None), 0x4000_0000);
    }
}
