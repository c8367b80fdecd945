//! Random changes of valid files.

use std::ops::Range;

use proptest::prelude::*;
use proptest::sample::{Index, select};

/// Change of a valid file.
#[derive(Clone, Debug)]
pub enum Change {
    /// Replaces a byte of the headers.
    HeaderByte(Index, u8),
    /// Replaces a byte anywhere in the file.
    Byte(Index, u8),
    /// Replaces four bytes at the offset of a field by a little-endian integer.
    Field(usize, u32),
    /// Truncates the file.
    Truncate(Index),
}

/// Changes of files that have fields at these offsets. The integers written there are within 17 of one of `values`.
pub fn change(fields: &[usize], values: &[u32]) -> impl Strategy<Value = Change> + use<> {
    let value =
        (select(values.to_vec()), -17_i32..=17).prop_map(|(value, delta)| value.wrapping_add_signed(delta));
    prop_oneof![
        (any::<Index>(), any::<u8>()).prop_map(|(at, to)| Change::HeaderByte(at, to)),
        (any::<Index>(), any::<u8>()).prop_map(|(at, to)| Change::Byte(at, to)),
        (select(fields.to_vec()), value).prop_map(|(at, to)| Change::Field(at, to)),
        any::<Index>().prop_map(Change::Truncate),
    ]
}

/// Applies the changes one after the other to a file whose headers lie in `headers`. A change outside the file has no
/// effect.
pub fn apply(file: &mut Vec<u8>, headers: &Range<usize>, changes: &[Change]) {
    for change in changes {
        if file.is_empty() {
            return;
        }
        match change {
            Change::HeaderByte(at, to) => {
                let at = headers.start + at.index(headers.len());
                if let Some(byte) = file.get_mut(at) {
                    *byte = *to;
                }
            }
            Change::Byte(at, to) => {
                let at = at.index(file.len());
                file[at] = *to;
            }
            Change::Field(at, to) => {
                if let Some(field) = file.get_mut(*at..*at + 4) {
                    field.copy_from_slice(&to.to_le_bytes());
                }
            }
            Change::Truncate(at) => file.truncate(at.index(file.len())),
        }
    }
}
