//! Access to the values of a stored state: each once, and none left.

use std::{collections::BTreeMap, fmt};

use super::{StateError, StoredRegister};

/// The registers of a stored state, each of which is taken once.
#[derive(Clone, Debug)]
pub struct StoredValues<'a, F> {
    values: BTreeMap<u64, &'a [u8]>,
    name: F,
}

impl<'a, N: fmt::Display, F: Fn(u64) -> N> StoredValues<'a, F> {
    /// The values of `registers`. `name` is the name of a register.
    ///
    /// # Errors
    ///
    /// [`StateError::Duplicate`].
    pub fn new(registers: &'a [StoredRegister], name: F) -> Result<Self, StateError> {
        let mut values = BTreeMap::new();
        for register in registers {
            if values.insert(register.id, register.value.as_slice()).is_some() {
                let register = name(register.id).to_string();
                return Err(StateError::Duplicate { register });
            }
        }
        Ok(Self { values, name })
    }

    /// The value of register `id`, of any length.
    ///
    /// # Errors
    ///
    /// [`StateError::Missing`].
    pub fn take(&mut self, id: u64) -> Result<&'a [u8], StateError> {
        self.values.remove(&id).ok_or_else(|| StateError::Missing {
            register: (self.name)(id).to_string(),
        })
    }

    /// The value of register `id`, which has `len` bytes.
    ///
    /// # Errors
    ///
    /// [`StateError::Missing`], [`StateError::Length`].
    pub fn take_bytes(&mut self, id: u64, len: usize) -> Result<&'a [u8], StateError> {
        let value = self.take(id)?;
        if value.len() == len {
            return Ok(value);
        }
        Err(StateError::Length {
            register: (self.name)(id).to_string(),
            expected: len,
            found: value.len(),
        })
    }

    /// The value of register `id`, which has 64 bits.
    ///
    /// # Errors
    ///
    /// [`StateError::Missing`], [`StateError::Length`].
    pub fn take_number(&mut self, id: u64) -> Result<u64, StateError> {
        let mut number = [0; 8];
        number.copy_from_slice(self.take_bytes(id, 8)?);
        Ok(u64::from_le_bytes(number))
    }

    /// The value of register `id`, which has 64 bits, if `accepts` it.
    ///
    /// # Errors
    ///
    /// As [`take_number`](Self::take_number); [`StateError::Value`].
    pub fn take_checked(&mut self, id: u64, accepts: impl FnOnce(u64) -> bool) -> Result<u64, StateError> {
        let value = self.take_number(id)?;
        if accepts(value) {
            Ok(value)
        } else {
            let register = (self.name)(id).to_string();
            Err(StateError::Value { register, value })
        }
    }

    /// Checks that all values were taken.
    ///
    /// # Errors
    ///
    /// [`StateError::Unknown`].
    pub fn finish(self) -> Result<(), StateError> {
        match self.values.first_key_value() {
            None => Ok(()),
            Some((&id, _)) => Err(StateError::Unknown {
                register: (self.name)(id).to_string(),
            }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_value_is_taken_once() {
        let registers = [
            StoredRegister::number(3, 0x1234),
            StoredRegister {
                id: 7,
                value: vec![1, 2],
            },
        ];
        let name = |id| format!("R{id}");
        let mut values = StoredValues::new(&registers, name).unwrap();
        let length = values.clone().take_number(7).unwrap_err();
        assert_eq!(length.to_string(), "the state has 2 bytes for R7, which has 8");
        assert_eq!(values.take_checked(3, |value| value == 0x1234), Ok(0x1234));
        let missing = values.take_number(3).unwrap_err();
        assert_eq!(missing.to_string(), "the state has no R3");
        let unknown = values.clone().finish().unwrap_err();
        assert_eq!(
            unknown.to_string(),
            "the state has R7, which is no part of a state of this machine"
        );
        assert_eq!(values.take_bytes(7, 2), Ok(&[1, 2][..]));
        assert_eq!(values.finish(), Ok(()));
        let refused = StoredValues::new(&registers, name)
            .unwrap()
            .take_checked(3, |_| false);
        assert_eq!(
            refused.unwrap_err().to_string(),
            "the state has 0x1234 for R3, which cannot have it"
        );
        let twice = [&registers[..], &registers[1..]].concat();
        let duplicate = StoredValues::new(&twice, name).err().unwrap();
        assert_eq!(duplicate.to_string(), "the state has R7 twice");
    }
}
