//! Numbers without a pattern, the same in every run of the bench.

/// A generator of numbers: xorshift64.
pub(crate) struct Random(u64);

impl Random {
    pub(crate) const fn new() -> Self {
        Self(0x9e37_79b9_7f4a_7c15)
    }

    pub(crate) const fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    /// The numbers below `N` in a random order.
    pub(crate) fn order<const N: usize>(&mut self) -> [usize; N] {
        let mut order = std::array::from_fn(|index| index);
        // Fisher and Yates.
        for index in (1..N).rev() {
            let other = self.next() % (u64::try_from(index).unwrap() + 1);
            order.swap(index, usize::try_from(other).unwrap());
        }
        order
    }
}
