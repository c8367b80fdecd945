//! Files while they are made.

use arbitrary::{Result, Unstructured};

use crate::odds::{one_in, pick};

/// A consistent file, and where its fields are.
#[derive(Clone, Debug)]
pub(super) struct Draft {
    pub(super) bytes: Vec<u8>,
    /// Offset and length of each field, 1 to 8 bytes.
    pub(super) fields: Vec<(usize, usize)>,
    pub(super) is_big_endian: bool,
}

/// Changes one field or the length of a file.
pub(super) fn change(u: &mut Unstructured<'_>, draft: &mut Draft) -> Result<()> {
    let file = &mut draft.bytes;
    if one_in(u, 8)? {
        let len = u.int_in_range(0..=file.len() + 0x40)?;
        file.resize(len, 0xa5);
        return Ok(());
    }
    let (at, len) = u.choose(&draft.fields).copied()?;
    let Some(field) = file.get_mut(at..at + len) else {
        return Ok(());
    };
    if draft.is_big_endian {
        field.reverse();
    }
    let mut value = [0; 8];
    value[..len].copy_from_slice(field);
    let value = u64::from_le_bytes(value);
    let value = match u.int_in_range(0..=3u8)? {
        0 => pick(u, &fmt_test::edges(value, len))?,
        // A bit of its own.
        1 => value ^ 1 << u.int_in_range(0..=63u8)?,
        2 => value.wrapping_add_signed(u.arbitrary::<i8>()?.into()),
        _ => u.arbitrary()?,
    };
    field.copy_from_slice(&value.to_le_bytes()[..len]);
    if draft.is_big_endian {
        field.reverse();
    }
    Ok(())
}

/// Bytes without a pattern that a parser looks for.
pub(super) fn content(u: &mut Unstructured<'_>, len: usize) -> Result<Vec<u8>> {
    let seed: u8 = u.arbitrary()?;
    let byte = |at: usize| (at % 251).to_le_bytes()[0].wrapping_add(seed) | 1;
    Ok((0..len).map(byte).collect())
}
