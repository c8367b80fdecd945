//! Fields in the first bytes of a file.

use boot_core::arith;
use zerocopy::little_endian::U32;
use zerocopy::{FromBytes, Immutable, KnownLayout};

use crate::error::{Field, MultibootError, ValidValues};

/// Structure at `offset` of `bytes`; `None` if it does not lie inside.
pub(crate) fn read<T: FromBytes + Immutable + KnownLayout>(bytes: &[u8], offset: usize) -> Option<T> {
    let (value, _) = T::read_from_prefix(bytes.get(offset..)?).ok()?;
    Some(value)
}

/// Length of the blocks that [`find`] searches for a magic number first.
const BLOCK: usize = 0x200;

/// First multiple of `align`, 4 or 8, below the length of `bytes` for which `is_header` is true. A header begins with `magic`.
pub(crate) fn find(
    bytes: &[u8],
    align: usize,
    magic: u32,
    is_header: impl Fn(usize) -> bool,
) -> Option<usize> {
    let blocks = bytes.chunks(BLOCK).zip((0_usize..).step_by(BLOCK));
    let mut candidates = blocks.filter(|(block, _)| may_have(block, magic));
    candidates.find_map(|(block, start)| {
        let mut offsets = (0..block.len()).step_by(align);
        offsets.find_map(|offset| Some(start.saturating_add(offset)).filter(|offset| is_header(*offset)))
    })
}

/// Whether an aligned word of `block` is `magic`. Compares all words without a branch, so that the compiler uses vector instructions.
fn may_have(block: &[u8], magic: u32) -> bool {
    let Ok((words, _)) = <[U32]>::ref_from_prefix_with_elems(block, block.len() / 4) else {
        return true;
    };
    let magic = U32::new(magic);
    let is_magic = |word: &U32| u32::from(*word == magic);
    words.iter().fold(0, |found, word| found | is_magic(word)) != 0
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
