//! Values of registers: 4 to 256 bytes.

use std::fmt;

use super::Register;

/// Value of a register: the bytes that the kernel reads or writes, in the byte order of the host.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RegisterValue(Box<[u8]>);

/// Error: a value has another size than its register.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the value for {register} has {found} bytes, but the register has {expected}")]
pub struct WidthError {
    /// The register.
    pub register: Register,
    /// Size of the register in bytes.
    pub expected: usize,
    /// Size of the value in bytes.
    pub found: usize,
}

impl RegisterValue {
    /// A value of all zeros for `register`.
    #[must_use]
    pub fn zero(register: Register) -> Self {
        Self(vec![0; register.size()].into())
    }

    /// `value` in the size of `register`; `None` if it does not fit or the size is not 4, 8 or 16 bytes.
    #[must_use]
    pub fn from_number(register: Register, value: u128) -> Option<Self> {
        let bytes: Box<[u8]> = match register.size() {
            4 => u32::try_from(value).ok()?.to_ne_bytes().into(),
            8 => u64::try_from(value).ok()?.to_ne_bytes().into(),
            16 => value.to_ne_bytes().into(),
            _ => return None,
        };
        Some(Self(bytes))
    }

    /// A value of these bytes.
    #[must_use]
    pub fn from_bytes(bytes: &[u8]) -> Self {
        Self(bytes.into())
    }

    /// The bytes.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        &self.0
    }

    /// The bytes, mutable.
    #[must_use]
    pub fn bytes_mut(&mut self) -> &mut [u8] {
        &mut self.0
    }

    /// The value as a number; `None` for values of other sizes than 4, 8 and 16 bytes.
    #[must_use]
    pub fn to_number(&self) -> Option<u128> {
        let bytes = &*self.0;
        match bytes.len() {
            4 => Some(u32::from_ne_bytes(bytes.try_into().ok()?).into()),
            8 => Some(u64::from_ne_bytes(bytes.try_into().ok()?).into()),
            _ => Some(u128::from_ne_bytes(bytes.try_into().ok()?)),
        }
    }

    /// The value as a number of 64 bits; `None` if it does not fit.
    #[must_use]
    pub fn to_u64(&self) -> Option<u64> {
        u64::try_from(self.to_number()?).ok()
    }

    /// Checks that the value has the size of `register`.
    ///
    /// # Errors
    ///
    /// [`WidthError`].
    pub fn check(&self, register: Register) -> Result<(), WidthError> {
        let (expected, found) = (register.size(), self.0.len());
        if expected == found {
            Ok(())
        } else {
            Err(WidthError {
                register,
                expected,
                found,
            })
        }
    }
}

impl fmt::Debug for RegisterValue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.to_number() {
            Some(number) => write!(f, "{number:#x}"),
            None => write!(f, "{:02x?}", &self.0),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_fit_their_registers() {
        let check = |register: Register, value: u128, fits: bool| {
            let found = RegisterValue::from_number(register, value);
            assert_eq!(found.is_some(), fits, "{register} {value:#x}");
            if let Some(found) = found {
                assert_eq!(found.to_number(), Some(value));
                assert_eq!(found.check(register), Ok(()));
                assert_eq!(found.bytes().len(), register.size());
            }
        };
        let v0 = Register::v(0).unwrap();
        check(Register::FPCR, u32::MAX.into(), true);
        check(Register::FPCR, 1 << 32, false);
        check(Register::PC, u64::MAX.into(), true);
        check(Register::PC, 1 << 64, false);
        check(v0, u128::MAX, true);
        check(Register::SVE_FFR, 0, false);
        assert_eq!(RegisterValue::zero(Register::SVE_FFR).to_number(), None);
        assert_eq!(RegisterValue::zero(Register::SVE_FFR).bytes(), [0; 32]);
    }

    #[test]
    fn widths_are_checked() {
        let error = RegisterValue::from_bytes(&[0; 4])
            .check(Register::PC)
            .unwrap_err();
        assert_eq!(
            error,
            WidthError {
                register: Register::PC,
                expected: 8,
                found: 4
            }
        );
        assert!(error.to_string().contains("PC"));
    }
}
