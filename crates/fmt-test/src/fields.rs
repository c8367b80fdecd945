//! Files written field by field, independent of the parsers.

/// File under construction, made of its bytes. All offsets are file offsets, all integers little-endian.
///
/// The methods panic if a field does not lie in the file.
pub trait Fields: Sized {
    /// The bytes of the file.
    fn file(&mut self) -> &mut Vec<u8>;

    /// Writes bytes.
    #[must_use]
    fn bytes(mut self, offset: usize, bytes: &[u8]) -> Self {
        self.file()[offset..offset + bytes.len()].copy_from_slice(bytes);
        self
    }

    /// Writes a byte.
    #[must_use]
    fn u8(self, offset: usize, value: u8) -> Self {
        self.bytes(offset, &[value])
    }

    /// Writes a 16-bit integer.
    #[must_use]
    fn u16(self, offset: usize, value: u16) -> Self {
        self.bytes(offset, &value.to_le_bytes())
    }

    /// Writes a 32-bit integer.
    #[must_use]
    fn u32(self, offset: usize, value: u32) -> Self {
        self.bytes(offset, &value.to_le_bytes())
    }

    /// Writes a 64-bit integer.
    #[must_use]
    fn u64(self, offset: usize, value: u64) -> Self {
        self.bytes(offset, &value.to_le_bytes())
    }

    /// Truncates the file, or pads it with zeros.
    #[must_use]
    fn resize(mut self, len: usize) -> Self {
        self.file().resize(len, 0);
        self
    }

    /// The finished file.
    #[must_use]
    fn build(mut self) -> Vec<u8> {
        std::mem::take(self.file())
    }
}

impl Fields for Vec<u8> {
    fn file(&mut self) -> &mut Vec<u8> {
        self
    }
}

#[cfg(test)]
mod tests {
    use super::Fields;

    #[test]
    fn fields_are_little_endian() {
        let file = vec![0xcc; 4].resize(16).u8(0, 1).u16(1, 0x203);
        let file = file.u32(3, 0x405_0607).u64(7, 0x809_0a0b_0c0d_0e0f).build();
        let expected = [1, 3, 2, 7, 6, 5, 4, 15, 14, 13, 12, 11, 10, 9, 8, 0];
        assert_eq!(file, expected);
        assert_eq!(file.resize(2).build(), [1, 3]);
    }
}
