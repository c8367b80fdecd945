//! Fields in the first bytes of a file.

use boot_core::arith;
use zerocopy::{FromBytes, Immutable, KnownLayout};

use crate::error::{Field, MultibootError, ValidValues};

/// Structure at `offset` of `bytes`; `None` if it does not lie inside.
pub(crate) fn read<T: FromBytes + Immutable + KnownLayout>(bytes: &[u8], offset: usize) -> Option<T> {
    let (value, _) = T::read_from_prefix(bytes.get(offset..)?).ok()?;
    Some(value)
}

/// First multiple of `align` below the length of `bytes` for which `is_header` is true.
pub(crate) fn find(bytes: &[u8], align: usize, is_header: impl Fn(usize) -> bool) -> Option<usize> {
    (0..bytes.len()).step_by(align).find(|offset| is_header(*offset))
}

/// Checks the value of a field.
pub(crate) fn check(
    field: Field,
    value: impl Into<u64>,
    expected: ValidValues,
) -> Result<(), MultibootError> {
    let value = value.into();
    let is_valid = match expected {
        ValidValues::AtLeast(min) => value >= min,
        ValidValues::AtMost(max) => value <= max,
        ValidValues::Inside(start, end) => start <= value && value < end,
    };
    if is_valid {
        Ok(())
    } else {
        Err(MultibootError::InvalidField {
            field,
            value,
            expected,
        })
    }
}

/// The field `name`, `distance` bytes after the file offset `base`.
pub(crate) fn field(name: &'static str, base: u64, distance: usize) -> Field {
    Field::new(name, base.saturating_add(arith::to_u64(distance)))
}
