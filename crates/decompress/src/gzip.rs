//! gzip (RFC 1952).

use alloc::boxed::Box;

use miniz_oxide::inflate::TINFLStatus;
use miniz_oxide::inflate::core::{DecompressorOxide, decompress as inflate, inflate_flags};

use crate::checksum::{CRC32, compare};
use crate::error::{At, Problem};
use crate::input::Input;
use crate::output::Output;

/// `ID1`, `ID2` and `CM` (section 2.3.1).
const MAGIC: [u8; 3] = [0x1f, 0x8b, 8];

/// Bits of `FLG` (section 2.3.1).
mod flag {
    pub(super) const HEADER_CRC: u8 = 1 << 1;
    pub(super) const EXTRA: u8 = 1 << 2;
    pub(super) const NAME: u8 = 1 << 3;
    pub(super) const COMMENT: u8 = 1 << 4;
    pub(super) const RESERVED: u8 = 0xe0;
}

/// Decompresses all members, and returns the length of them.
pub(crate) fn decompress(bytes: &[u8], output: &mut Output) -> Result<usize, At> {
    let mut input = Input::new(bytes);
    if !bytes.starts_with(&MAGIC) {
        return Err((0, Problem::Magic));
    }
    while input.rest().starts_with(&MAGIC) {
        member(&mut input, output)?;
    }
    Ok(input.position())
}

fn member(input: &mut Input<'_>, output: &mut Output) -> Result<(), At> {
    header(input)?;
    let start = output.len();
    let mut state = Box::<DecompressorOxide>::default();
    loop {
        let rest = input.rest();
        let filled = output.grow(|out, position| {
            let flags = inflate_flags::TINFL_FLAG_USING_NON_WRAPPING_OUTPUT_BUF;
            let (status, read, written) = inflate(&mut state, rest, out, position, flags);
            (written, (status, read))
        });
        let (status, read) = filled.map_err(|problem| (input.position(), problem))?;
        input.take(read)?;
        match status {
            TINFLStatus::Done => break,
            TINFLStatus::HasMoreOutput => {}
            TINFLStatus::FailedCannotMakeProgress | TINFLStatus::NeedsMoreInput => {
                return Err((input.position(), Problem::Truncated));
            }
            _ => return Err((input.position(), Problem::Malformed("the deflate stream".into()))),
        }
    }
    let position = input.position();
    let [found, len] = [input.u32()?, input.u32()?];
    let data = output.bytes().get(start..).unwrap_or_default();
    let computed = CRC32.checksum(data);
    compare(found, computed).map_err(|problem| (position, problem))?;
    // `ISIZE`: the length modulo 2^32.
    let low = boot_core::arith::to_u64(data.len()) & u64::from(u32::MAX);
    if u64::from(len) != low {
        return Err((position, Problem::Malformed("the length of the data".into())));
    }
    Ok(())
}

fn header(input: &mut Input<'_>) -> Result<(), At> {
    let start = input.position();
    let before = input.rest();
    let [_, _, _, flags, ..] = input.array::<10>()?;
    if flags & flag::RESERVED != 0 {
        return Err((start, Problem::Unsupported("flags of the header".into())));
    }
    if flags & flag::EXTRA != 0 {
        let len = input.array().map(u16::from_le_bytes)?;
        input.take(len.into())?;
    }
    for text in [flag::NAME, flag::COMMENT] {
        if flags & text != 0 {
            while input.array()? != [0] {}
        }
    }
    if flags & flag::HEADER_CRC != 0 {
        let len = input.position().saturating_sub(start);
        let position = input.position();
        let found = u32::from(input.array().map(u16::from_le_bytes)?);
        let computed = CRC32.checksum(before.get(..len).unwrap_or_default()) & 0xffff;
        compare(found, computed).map_err(|problem| (position, problem))?;
    }
    Ok(())
}
