//! Constant values (section 20.2.3).

use super::cursor::{Cursor, Malformed};

/// Opcode of the revision of the AML interpreter, the only constant with the prefix 0x5b.
const REVISION: u16 = 0x5b30;

/// A constant value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Data<'a> {
    Integer(u64),
    String(&'a str),
    Buffer(&'a [u8]),
    /// The number of elements, and the elements.
    Package(&'a [u8]),
    /// A value without a meaning here: a reference, a package of variable length.
    Other,
}

impl<'a> Data<'a> {
    /// Reads a `DataRefObject`.
    pub(super) fn read(cursor: &mut Cursor<'a>) -> Result<Self, Malformed> {
        let start = *cursor;
        Ok(match cursor.opcode()? {
            0x00 => Self::Integer(0),
            0x01 => Self::Integer(1),
            0xff => Self::Integer(u64::MAX),
            0x0a => Self::Integer(cursor.byte()?.into()),
            0x0b => Self::Integer(u16::from_le_bytes(cursor.array()?).into()),
            0x0c => Self::Integer(u32::from_le_bytes(cursor.array()?).into()),
            0x0e => Self::Integer(u64::from_le_bytes(cursor.array()?)),
            0x0d => {
                let len = cursor
                    .rest()
                    .iter()
                    .position(|byte| *byte == 0)
                    .ok_or(Malformed)?;
                let text = core::str::from_utf8(cursor.take(len)?).ok();
                cursor.skip(1)?;
                text.filter(|text| text.is_ascii())
                    .map_or(Self::Other, Self::String)
            }
            0x11 => {
                let mut inner = cursor.package()?;
                // The size may be larger than the initial value; the rest is zero.
                match Self::read_integer(&mut inner) {
                    Some(_) => Self::Buffer(inner.rest()),
                    None => Self::Other,
                }
            }
            0x12 => Self::Package(cursor.package()?.rest()),
            0x13 => {
                cursor.package()?;
                Self::Other
            }
            REVISION => Self::Other,
            _ => {
                // A reference to another object; a call of a method has the same form, and its arguments end the block.
                *cursor = start;
                cursor.name("\\")?;
                Self::Other
            }
        })
    }

    /// Reads an integer. Unlike [`read`](Self::read) it does not go into buffers.
    fn read_integer(cursor: &mut Cursor<'a>) -> Option<u64> {
        match cursor.byte().ok()? {
            0x00 => Some(0),
            0x01 => Some(1),
            0x0a => cursor.byte().ok().map(u64::from),
            0x0b => cursor.array().ok().map(|bytes| u16::from_le_bytes(bytes).into()),
            0x0c => cursor.array().ok().map(|bytes| u32::from_le_bytes(bytes).into()),
            0x0e => cursor.array().ok().map(u64::from_le_bytes),
            _ => None,
        }
    }
}
