//! Values of registers.

use std::fmt;

/// Value of a register: the bytes that the kernel reads or writes, least significant first.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct RegisterValue(Vec<u8>);

impl RegisterValue {
    /// A value from its bytes.
    #[must_use]
    pub fn from_bytes(bytes: Vec<u8>) -> Self {
        Self(bytes)
    }

    /// The bytes.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        &self.0
    }

    /// The value as a number; `None` for more than eight bytes.
    #[must_use]
    pub fn to_u64(&self) -> Option<u64> {
        let mut bytes = [0; 8];
        bytes.get_mut(..self.0.len())?.copy_from_slice(&self.0);
        Some(u64::from_le_bytes(bytes))
    }
}

impl From<u32> for RegisterValue {
    fn from(value: u32) -> Self {
        Self(value.to_le_bytes().to_vec())
    }
}

impl From<u64> for RegisterValue {
    fn from(value: u64) -> Self {
        Self(value.to_le_bytes().to_vec())
    }
}

impl fmt::Debug for RegisterValue {
    /// A hexadecimal number, the most significant byte first.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("0x")?;
        self.0.iter().rev().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_and_bytes() {
        let check = |value: RegisterValue, number: Option<u64>, text: &str| {
            assert_eq!(value.to_u64(), number);
            assert_eq!(format!("{value:?}"), text);
        };
        check(RegisterValue::from(0x1234_u32), Some(0x1234), "0x00001234");
        check(
            RegisterValue::from(u64::MAX),
            Some(u64::MAX),
            "0xffffffffffffffff",
        );
        check(RegisterValue::from_bytes(vec![1, 2]), Some(0x201), "0x0201");
        check(RegisterValue::from_bytes(Vec::new()), Some(0), "0x");
        check(
            RegisterValue::from_bytes((1..=9).collect()),
            None,
            "0x090807060504030201",
        );
    }
}
