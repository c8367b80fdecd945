//! LZO1X in the container of `lzop`, which the kernel's build writes.
//!
//! The container has no published specification; the names of fields are those of `lzop` 1.04.

use alloc::format;
use alloc::vec::Vec;

use adler2::adler32_slice;
use lzo::{Error, decompress_into};

use crate::checksum::{CRC32, compare};
use crate::error::{At, Problem};
use crate::input::Input;
use crate::output::Output;

const MAGIC: [u8; 9] = *b"\x89LZO\0\r\n\x1a\n";

/// First version of `lzop` with the fields `version_needed`, `level` and `mtime_high`.
const VERSION_WITH_LEVEL: u16 = 0x0940;

/// Last version of `lzop`, and of the container, that is known.
const VERSION_MAX: u16 = 0x1040;

/// Longest block: the limit of `lzop`. The kernel's build writes blocks of 256 KiB.
const BLOCK_MAX: usize = 64 << 20;

/// Bits of `flags`.
mod flag {
    pub(super) const ADLER32_DATA: u32 = 1 << 0;
    pub(super) const ADLER32_PACKED: u32 = 1 << 1;
    pub(super) const EXTRA_FIELD: u32 = 1 << 6;
    pub(super) const CRC32_DATA: u32 = 1 << 8;
    pub(super) const CRC32_PACKED: u32 = 1 << 9;
    pub(super) const MULTIPART: u32 = 1 << 10;
    pub(super) const FILTER: u32 = 1 << 11;
    pub(super) const CRC32_HEADER: u32 = 1 << 12;
}

/// Decompresses all members, and returns the length of them.
pub(crate) fn decompress(bytes: &[u8], output: &mut Output) -> Result<usize, At> {
    let mut input = Input::new(bytes);
    if !bytes.starts_with(&MAGIC) {
        let is_start = bytes.len() > 4 && MAGIC.starts_with(bytes);
        return Err(if is_start {
            (bytes.len(), Problem::Truncated)
        } else {
            (0, Problem::Magic)
        });
    }
    while input.rest().starts_with(&MAGIC) {
        member(&mut input, output)?;
    }
    Ok(input.position())
}

fn member(input: &mut Input<'_>, output: &mut Output) -> Result<(), At> {
    let flags = header(input)?;
    let mut buffer = Vec::new();
    loop {
        let position = input.position();
        let len = length(input)?;
        if len == 0 {
            return Ok(());
        }
        let packed_len = length(input)?;
        if packed_len > len {
            let problem = format!("a block of {len} bytes in {packed_len}");
            return Err((position, Problem::Malformed(problem)));
        }
        let is_stored = packed_len == len;
        let data_checks = checks(input, flags, flag::ADLER32_DATA, flag::CRC32_DATA)?;
        // Stored blocks have one checksum of each kind.
        let packed_checks = if is_stored {
            Checks::default()
        } else {
            checks(input, flags, flag::ADLER32_PACKED, flag::CRC32_PACKED)?
        };
        let packed = input.take(packed_len)?;
        let result = packed_checks.verify(packed).and_then(|()| {
            if is_stored {
                data_checks.verify(packed)?;
                return output.extend(packed);
            }
            output.check_room(len)?;
            if buffer.len() < len {
                if buffer
                    .try_reserve_exact(len.saturating_sub(buffer.len()))
                    .is_err()
                {
                    return Err(output.no_memory());
                }
                buffer.resize(len, 0);
            }
            let room = buffer.get_mut(..len).unwrap_or_default();
            let written = decompress_into(packed, room).map_err(malformed)?;
            if written != len {
                return Err(Problem::Malformed(format!(
                    "a block of {len} bytes has {written}"
                )));
            }
            data_checks.verify(room)?;
            output.extend(room)
        });
        result.map_err(|problem| (position, problem))?;
    }
}

/// Reads the header of a member; returns its flags.
fn header(input: &mut Input<'_>) -> Result<u32, At> {
    input.take(MAGIC.len())?;
    let start = input.position();
    let covered = input.rest();
    let version = half(input)?;
    let has_level = version >= VERSION_WITH_LEVEL;
    // The version of the library.
    half(input)?;
    let needed = if has_level { half(input)? } else { version };
    if needed > VERSION_MAX {
        let problem = format!("version {needed:#06x} of lzop");
        return Err((start, Problem::Unsupported(problem)));
    }
    let method_at = input.position();
    let [method] = input.array()?;
    // LZO1X-1, LZO1X-1(15) and LZO1X-999 have the same decoder.
    if !(1..=3).contains(&method) {
        return Err((method_at, Problem::Unsupported(format!("method {method}"))));
    }
    if has_level {
        input.take(1)?;
    }
    let flags_at = input.position();
    let flags = word(input)?;
    for (bit, name) in [
        (flag::FILTER, "a filter"),
        (flag::MULTIPART, "a file in several parts"),
        (flag::EXTRA_FIELD, "an extra field"),
    ] {
        if flags & bit != 0 {
            return Err((flags_at, Problem::Unsupported(name.into())));
        }
    }
    // `mode`, `mtime_low` and `mtime_high`.
    input.take(if has_level { 12 } else { 8 })?;
    let [name_len] = input.array()?;
    input.take(name_len.into())?;
    let end = input.position();
    let covered = covered.get(..end.saturating_sub(start)).unwrap_or_default();
    let computed = if flags & flag::CRC32_HEADER == 0 {
        adler32_slice(covered)
    } else {
        CRC32.checksum(covered)
    };
    let found = word(input)?;
    compare(found, computed).map_err(|problem| (end, problem))?;
    Ok(flags)
}

/// Checksums of a block.
#[derive(Clone, Copy, Default)]
struct Checks {
    adler32: Option<u32>,
    crc32: Option<u32>,
}

/// Reads the checksums whose bits are set in `flags`.
fn checks(input: &mut Input<'_>, flags: u32, adler32: u32, crc32: u32) -> Result<Checks, At> {
    let mut read = |bit| -> Result<Option<u32>, At> {
        if flags & bit == 0 {
            return Ok(None);
        }
        word(input).map(Some)
    };
    Ok(Checks {
        adler32: read(adler32)?,
        crc32: read(crc32)?,
    })
}

impl Checks {
    fn verify(self, bytes: &[u8]) -> Result<(), Problem> {
        if let Some(found) = self.adler32 {
            compare(found, adler32_slice(bytes))?;
        }
        match self.crc32 {
            Some(found) => compare(found, CRC32.checksum(bytes)),
            None => Ok(()),
        }
    }
}

/// Length of a block.
fn length(input: &mut Input<'_>) -> Result<usize, At> {
    let position = input.position();
    let len = word(input)?;
    match usize::try_from(len) {
        Ok(len) if len <= BLOCK_MAX => Ok(len),
        _ => Err((position, Problem::Malformed(format!("a block of {len} bytes")))),
    }
}

/// Fields are big-endian.
fn word(input: &mut Input<'_>) -> Result<u32, At> {
    input.array().map(u32::from_be_bytes)
}

fn half(input: &mut Input<'_>) -> Result<u16, At> {
    input.array().map(u16::from_be_bytes)
}

fn malformed(error: Error) -> Problem {
    Problem::Malformed(format!("{error}"))
}
