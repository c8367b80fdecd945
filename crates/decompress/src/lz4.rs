//! LZ4: the legacy frame of the kernel's build, and the standard frame (`lz4_Frame_format.md`).

use alloc::format;
use alloc::vec;
use core::hash::Hasher as _;

use lz4_flex::block::{DecompressError, decompress_into, decompress_into_with_dict};
use twox_hash::XxHash32;

use crate::checksum::compare;
use crate::error::{At, Problem};
use crate::input::Input;
use crate::output::Output;

/// Magic number of a legacy frame.
const LEGACY: u32 = 0x184c_2102;

/// Magic number of a standard frame.
const FRAME: u32 = 0x184d_2204;

/// Length of the blocks of a legacy frame, but for the last one.
const LEGACY_BLOCK: usize = 8 << 20;

/// Longest compressed block of a legacy frame: `LZ4_COMPRESSBOUND` of the block length.
const LEGACY_MAX: usize = LEGACY_BLOCK + LEGACY_BLOCK / 255 + 16;

/// Number of bytes before a block that it can refer to.
const DICTIONARY: usize = 64 << 10;

/// Bits of `FLG`.
mod flag {
    pub(super) const VERSION: u8 = 0b1100_0000;
    pub(super) const VERSION_1: u8 = 0b0100_0000;
    pub(super) const INDEPENDENT: u8 = 1 << 5;
    pub(super) const BLOCK_CHECKSUM: u8 = 1 << 4;
    pub(super) const CONTENT_SIZE: u8 = 1 << 3;
    pub(super) const CONTENT_CHECKSUM: u8 = 1 << 2;
    pub(super) const DICTIONARY_ID: u8 = 1 << 0;
}

/// Decompresses legacy frames, and returns the length of them. Four bytes behind the last block are the length that the kernel's build appends.
pub(crate) fn legacy(bytes: &[u8], output: &mut Output) -> Result<usize, At> {
    let mut input = Input::new(bytes);
    if input.u32()? != LEGACY {
        return Err((0, Problem::Magic));
    }
    let mut buffer = vec![0; LEGACY_BLOCK];
    while input.rest().len() > 4 {
        let position = input.position();
        let len = input.u32()?;
        if len == LEGACY {
            continue;
        }
        let len = usize::try_from(len).unwrap_or(usize::MAX);
        if len == 0 || len > LEGACY_MAX {
            return Err((position, Problem::Malformed(format!("a block of {len} bytes"))));
        }
        let block = input.take(len)?;
        unpack(block, &mut buffer, 0, output).map_err(|problem| (position, problem))?;
    }
    Ok(input.position())
}

/// Decompresses standard frames, and returns the length of them.
pub(crate) fn frames(bytes: &[u8], output: &mut Output) -> Result<usize, At> {
    let mut input = Input::new(bytes);
    if !bytes.starts_with(&FRAME.to_le_bytes()) {
        return Err((0, Problem::Magic));
    }
    while input.rest().starts_with(&FRAME.to_le_bytes()) {
        frame(&mut input, output)?;
    }
    Ok(input.position())
}

fn frame(input: &mut Input<'_>, output: &mut Output) -> Result<(), At> {
    input.u32()?;
    let start = output.len();
    let descriptor = input.rest();
    let at = input.position();
    let [flags, block_descriptor] = input.array()?;
    if flags & flag::VERSION != flag::VERSION_1 {
        return Err((at, Problem::Unsupported("the version of the frame".into())));
    }
    if flags & flag::DICTIONARY_ID != 0 {
        return Err((at, Problem::Unsupported("a dictionary".into())));
    }
    let block_len = match block_descriptor >> 4 & 7 {
        4 => 64 << 10,
        5 => 256 << 10,
        6 => 1 << 20,
        7 => 4 << 20,
        code => return Err((at, Problem::Malformed(format!("the block size {code}")))),
    };
    let content_len = if flags & flag::CONTENT_SIZE == 0 {
        None
    } else {
        Some(input.array().map(u64::from_le_bytes)?)
    };
    let len = input.position().saturating_sub(at);
    let [_, computed, ..] = xxh32(descriptor.get(..len).unwrap_or_default()).to_le_bytes();
    let checksum_at = input.position();
    let [found] = input.array()?;
    compare(found.into(), computed.into()).map_err(|problem| (checksum_at, problem))?;
    let mut buffer = vec![0; block_len];
    loop {
        let position = input.position();
        let word = input.u32()?;
        if word == 0 {
            break;
        }
        let len = usize::try_from(word & 0x7fff_ffff).unwrap_or(usize::MAX);
        if len > block_len {
            return Err((position, Problem::Malformed(format!("a block of {len} bytes"))));
        }
        let block = input.take(len)?;
        if flags & flag::BLOCK_CHECKSUM != 0 {
            let found = input.u32()?;
            compare(found, xxh32(block)).map_err(|problem| (position, problem))?;
        }
        let result = if word >> 31 == 1 {
            output.extend(block)
        } else {
            let is_independent = flags & flag::INDEPENDENT != 0;
            let known = if is_independent {
                0
            } else {
                output.len().saturating_sub(start)
            };
            unpack(block, &mut buffer, known, output)
        };
        result.map_err(|problem| (position, problem))?;
    }
    let data = output.bytes().get(start..).unwrap_or_default();
    let position = input.position();
    if flags & flag::CONTENT_CHECKSUM != 0 {
        let found = input.u32()?;
        compare(found, xxh32(data)).map_err(|problem| (position, problem))?;
    }
    match content_len {
        Some(len) if len != boot_core::arith::to_u64(data.len()) => {
            Err((position, Problem::Malformed("the length of the data".into())))
        }
        _ => Ok(()),
    }
}

/// Decompresses a block, which has room in `buffer` and may refer to the last `known` bytes of the output.
fn unpack(block: &[u8], buffer: &mut [u8], known: usize, output: &mut Output) -> Result<(), Problem> {
    let written = if known == 0 {
        decompress_into(block, buffer)
    } else {
        let all = output.bytes();
        let first = all.len().saturating_sub(known.min(DICTIONARY));
        decompress_into_with_dict(block, buffer, all.get(first..).unwrap_or_default())
    };
    let written = written.map_err(|error: DecompressError| Problem::Malformed(format!("{error}")))?;
    output.extend(buffer.get(..written).unwrap_or_default())
}

fn xxh32(bytes: &[u8]) -> u32 {
    let mut hasher = XxHash32::with_seed(0);
    hasher.write(bytes);
    hasher.finish_32()
}
