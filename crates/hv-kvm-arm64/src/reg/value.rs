//! Values of registers, which are 4 to 256 bytes long.

use std::fmt;

use super::RegId;

/// The value of a register: the bytes that the kernel reads or writes, in the byte order of the host.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RegValue(Box<[u8]>);

/// A value does not have the size of its register.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{register} has {expected} bytes, the value has {found}")]
pub struct WidthError {
    /// The register.
    pub register: RegId,
    /// How many bytes it has.
    pub expected: usize,
    /// How many the value has.
    pub found: usize,
}

impl RegValue {
    /// A value of all zeros for `register`.
    #[must_use]
    pub fn zero(register: RegId) -> Self {
        Self(vec![0; register.size()].into())
    }

    /// `value` for a `register` of up to 16 bytes; `None` where it has more bits than the register, or the register
    /// more than 16 bytes.
    #[must_use]
    pub fn number(register: RegId, value: u128) -> Option<Self> {
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

    /// Its bytes.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        &self.0
    }

    /// Its bytes, to be changed.
    #[must_use]
    pub fn bytes_mut(&mut self) -> &mut [u8] {
        &mut self.0
    }

    /// The value as a number; `None` for values longer than 16 bytes.
    #[must_use]
    pub fn to_number(&self) -> Option<u128> {
        let bytes = &*self.0;
        match bytes.len() {
            4 => Some(u32::from_ne_bytes(bytes.try_into().ok()?).into()),
            8 => Some(u64::from_ne_bytes(bytes.try_into().ok()?).into()),
            _ => Some(u128::from_ne_bytes(bytes.try_into().ok()?)),
        }
    }

    /// The value as a number of 64 bits; `None` where it does not fit.
    #[must_use]
    pub fn to_u64(&self) -> Option<u64> {
        u64::try_from(self.to_number()?).ok()
    }

    /// Checks that it has the size of `register`.
    ///
    /// # Errors
    ///
    /// [`WidthError`].
    pub fn check(&self, register: RegId) -> Result<(), WidthError> {
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

impl fmt::Debug for RegValue {
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
        let check = |register: RegId, value: u128, fits: bool| {
            let found = RegValue::number(register, value);
            assert_eq!(found.is_some(), fits, "{register} {value:#x}");
            if let Some(found) = found {
                assert_eq!(found.to_number(), Some(value));
                assert_eq!(found.check(register), Ok(()));
                assert_eq!(found.bytes().len(), register.size());
            }
        };
        let v0 = RegId::v(0).unwrap();
        check(RegId::FPCR, u32::MAX.into(), true);
        check(RegId::FPCR, 1 << 32, false);
        check(RegId::PC, u64::MAX.into(), true);
        check(RegId::PC, 1 << 64, false);
        check(v0, u128::MAX, true);
        check(RegId::SVE_FFR, 0, false);
        assert_eq!(RegValue::zero(RegId::SVE_FFR).to_number(), None);
        assert_eq!(RegValue::zero(RegId::SVE_FFR).bytes(), [0; 32]);
    }

    #[test]
    fn widths_are_checked() {
        let error = RegValue::from_bytes(&[0; 4]).check(RegId::PC).unwrap_err();
        assert_eq!(
            error,
            WidthError {
                register: RegId::PC,
                expected: 8,
                found: 4
            }
        );
        assert!(error.to_string().contains("PC"));
    }
}
