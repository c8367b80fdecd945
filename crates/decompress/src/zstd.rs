//! Zstandard (RFC 8878).

use alloc::format;
use alloc::string::ToString;
use alloc::vec;

use ruzstd::decoding::errors::FrameDecoderError;
use ruzstd::decoding::{BlockDecodingStrategy, FrameDecoder};
use ruzstd::io::Read;

use crate::error::{At, Problem};
use crate::limits::MAX_WINDOW;
use crate::output::Output;
use crate::zstd_frame::{MAGIC, skippable};

/// Bytes that are decoded before they are taken out.
const STEP: usize = 1 << 20;

/// Decompresses all frames, and returns the length of them.
pub(crate) fn decompress(bytes: &[u8], output: &mut Output) -> Result<usize, At> {
    if !bytes.starts_with(&MAGIC) && skippable(bytes).is_none() {
        return Err((0, Problem::Magic));
    }
    let mut decoder = FrameDecoder::new();
    decoder.set_max_window_size(MAX_WINDOW);
    let mut rest = bytes;
    loop {
        let position = bytes.len().saturating_sub(rest.len());
        if rest.starts_with(&MAGIC) {
            frame(&mut decoder, &mut rest, output)
                .map_err(|problem| (bytes.len().saturating_sub(rest.len()), problem))?;
        } else if let Some(len) = skippable(rest) {
            rest = rest.get(len..).ok_or((position, Problem::Truncated))?;
        } else {
            return Ok(position);
        }
    }
}

fn frame(decoder: &mut FrameDecoder, rest: &mut &[u8], output: &mut Output) -> Result<(), Problem> {
    decoder.init(&mut *rest).map_err(|error| problem(&error, rest))?;
    let mut buffer = vec![0; STEP.min(64 << 10)];
    loop {
        let is_last = decoder
            .decode_blocks(&mut *rest, BlockDecodingStrategy::UptoBytes(STEP))
            .map_err(|error| problem(&error, rest))?;
        loop {
            let read = decoder
                .read(&mut buffer)
                .map_err(|error| Problem::Malformed(format!("{error}")))?;
            let Some(read) = buffer.get(..read).filter(|read| !read.is_empty()) else {
                break;
            };
            output.extend(read)?;
        }
        if is_last {
            break;
        }
    }
    match (
        decoder.get_checksum_from_data(),
        decoder.get_calculated_checksum(),
    ) {
        (Some(found), Some(computed)) if found != computed => Err(Problem::Checksum { found, computed }),
        _ => Ok(()),
    }
}

fn problem(error: &FrameDecoderError, rest: &[u8]) -> Problem {
    match error {
        FrameDecoderError::WindowSizeTooBig { .. } => Problem::Memory { limit: MAX_WINDOW },
        FrameDecoderError::DictNotProvided { dict_id } => {
            Problem::Unsupported(format!("a dictionary, {dict_id:#x}"))
        }
        _ if rest.is_empty() => Problem::Truncated,
        error => Problem::Malformed(error.to_string()),
    }
}
