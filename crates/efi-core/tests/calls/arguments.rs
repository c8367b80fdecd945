//! Arguments of calls.

/// Bytes of the input as arguments; zeros after its end.
pub(crate) struct Arguments<'a>(&'a [u8]);

impl<'a> Arguments<'a> {
    pub(crate) const fn new(input: &'a [u8]) -> Self {
        Self(input)
    }

    /// The next byte, or `None` at the end.
    pub(crate) fn call(&mut self) -> Option<u8> {
        let (first, rest) = self.0.split_first()?;
        self.0 = rest;
        Some(*first)
    }

    pub(crate) fn byte(&mut self) -> u8 {
        self.call().unwrap_or(0)
    }

    /// A number below `end`.
    pub(crate) fn below(&mut self, end: u64) -> u64 {
        u64::from(self.byte()) % end
    }

    /// A number of any size: most are small, some are at the end of the range.
    pub(crate) fn number(&mut self) -> u64 {
        let value = u64::from(self.byte());
        match value & 0xe0 {
            0xe0 => u64::MAX - (value & 0x1f),
            0xc0 => 1 << (value & 0x1f) << 31,
            _ => value,
        }
    }

    /// An element of a list, or `other` for an empty one and sometimes else.
    pub(crate) fn pick(&mut self, list: &[u64], other: u64) -> u64 {
        let index = usize::from(self.byte());
        if index > 250 {
            return other;
        }
        list.get(index % list.len().max(1)).copied().unwrap_or(other)
    }
}
