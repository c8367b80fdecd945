//! Zstandard by the reference decoder.

use alloc::borrow::ToOwned;

use zstd_safe::{DCtx, ErrorCode, find_frame_compressed_size, get_error_name, get_frame_content_size};

use crate::error::{At, Problem};
use crate::output::Output;
use crate::zstd_frame::{MAGIC, skippable};

/// Decompresses all frames, and returns the length of them.
pub(crate) fn decompress(bytes: &[u8], output: &mut Output) -> Result<usize, At> {
    if !bytes.starts_with(&MAGIC) && skippable(bytes).is_none() {
        return Err((0, Problem::Magic));
    }
    // The frames go to their place at once, without a window of the decoder beside them.
    let (frames, len) = frames(bytes)?;
    let mut decoder = DCtx::try_create().ok_or((0, output.no_memory()))?;
    output
        .fill(len, |buffer| decoder.decompress(buffer, frames))
        .map_err(|problem| (0, problem))?
        .map_err(|code| (0, problem(code, output)))?;
    Ok(frames.len())
}

/// The frames at the start of `bytes`, and the length that they unpack to, if all declare it.
fn frames(bytes: &[u8]) -> Result<(&[u8], Option<u64>), At> {
    let mut position = 0;
    let mut total = Some(0_u64);
    loop {
        let rest = bytes.get(position..).unwrap_or_default();
        if !rest.starts_with(&MAGIC) && skippable(rest).is_none() {
            return Ok((bytes.get(..position).unwrap_or_default(), total));
        }
        let Ok(len) = find_frame_compressed_size(rest) else {
            return Err((position, Problem::Truncated));
        };
        if rest.starts_with(&MAGIC) {
            let declared = get_frame_content_size(rest).ok().flatten();
            total = total
                .zip(declared)
                .and_then(|(total, len)| total.checked_add(len));
        }
        position = position.saturating_add(len);
    }
}

/// The problem that an error of the decoder means (`zstd_errors.h`).
fn problem(code: ErrorCode, output: &Output) -> Problem {
    /// `ZSTD_error_memory_allocation` and `ZSTD_error_dstSize_tooSmall`, as the decoder names them.
    const NO_MEMORY: &str = "Allocation error : not enough memory";
    const TOO_LONG: &str = "Destination buffer is too small";
    match get_error_name(code) {
        TOO_LONG => output.too_long(),
        NO_MEMORY => output.no_memory(),
        name => Problem::Malformed(name.to_owned()),
    }
}

#[cfg(all(test, feature = "zstd"))]
mod tests {
    use super::*;

    /// Checks that both decoders have the same result or an error; for data that are `sound`, the same error.
    fn check(bytes: &[u8], sound: bool) {
        let run = |decode: fn(&[u8], &mut Output) -> Result<usize, At>, limit| {
            let mut output = Output::new(limit);
            decode(bytes, &mut output).map(|len| (len, output.into_bytes()))
        };
        for limit in [0, 5, 1 << 20] {
            match (run(decompress, limit), run(crate::zstd::decompress, limit)) {
                (Ok(one), Ok(other)) => assert_eq!(one, other),
                (Err((_, one)), Err((_, other))) if sound => assert_eq!(one, other),
                (Err(_), Err(_)) => {}
                (one, other) => panic!("{one:?} {other:?}"),
            }
        }
    }

    #[test]
    fn both_decoders_agree() {
        // "a kernel, " 24 times; a raw block of 4 bytes without a declared length.
        let packed = b"(\xb5/\xfd\x04h\x8d\0\0Pa kernel, \x01\0\xe3R\x05\x09\xdfb\xf8\x81";
        let raw = b"(\xb5/\xfd\0\x58\x21\0\0boot";
        let skippable = b"\x52\x2a\x4d\x18\x03\0\0\0abc";
        check(packed, true);
        check(raw, true);
        check(&[&packed[..], skippable, raw, b"tail"].concat(), true);
        check(&[&skippable[..], raw].concat(), true);
        for len in 0..packed.len() {
            check(&packed[..len], false);
        }
        for at in 4..packed.len() {
            let mut changed = packed.to_vec();
            changed[at] ^= 0x10;
            check(&changed, false);
        }
    }
}
