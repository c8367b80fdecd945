//! Reading header fields out of the start of a file.

use boot_core::arith;
use zerocopy::{FromBytes, Immutable, KnownLayout};

use crate::error::{Expected, Field, MultibootError};

/// The structure at `offset` of `bytes`, where all of it is there.
pub(crate) fn read<T: FromBytes + Immutable + KnownLayout>(bytes: &[u8], offset: usize) -> Option<T> {
    let (value, _) = T::read_from_prefix(bytes.get(offset..)?).ok()?;
    Some(value)
}

/// The offset of the first of `align`-aligned places in `bytes` where `is_header` holds.
pub(crate) fn find(bytes: &[u8], align: usize, is_header: impl Fn(usize) -> bool) -> Option<usize> {
    (0..bytes.len()).step_by(align).find(|offset| is_header(*offset))
}

/// Checks one field.
pub(crate) fn expect(at: Field, found: impl Into<u64>, expected: Expected) -> Result<(), MultibootError> {
    let found = found.into();
    let holds = match expected {
        Expected::AtLeast(min) => found >= min,
        Expected::AtMost(max) => found <= max,
        Expected::PowerOfTwo => found.is_power_of_two(),
        Expected::Inside(start, end) => start <= found && found < end,
    };
    if holds {
        Ok(())
    } else {
        Err(MultibootError::Value { at, found, expected })
    }
}

/// The field `field`, `distance` bytes behind `offset`.
pub(crate) fn at(field: &'static str, offset: u64, distance: usize) -> Field {
    Field::new(field, offset.saturating_add(arith::to_u64(distance)))
}
