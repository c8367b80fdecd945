//! XZ, and LZMA in its stand-alone container.

use alloc::format;

#[cfg(feature = "lzma")]
use lzma_rust2::LzmaStream;
#[cfg(feature = "xz")]
use lzma_rust2::XzStream;
use lzma_rust2::{Action, Status, StreamResult};

use crate::error::{At, Problem};
use crate::limits::MAX_WINDOW;
use crate::output::Output;

/// Start of a stream of XZ (`xz-file-format.txt`, section 2.1.1.1).
#[cfg(feature = "xz")]
const XZ_MAGIC: &[u8] = b"\xfd7zXZ\0";

/// Memory of a decoder in KiB: that of the largest dictionary, and a quarter more.
const MEMORY_KIB: u32 = 160 << 10;
const _: () = assert!(MAX_WINDOW >> 10 < 160 << 10);

/// Decompresses all streams, and returns the length of them with their padding.
#[cfg(feature = "xz")]
pub(crate) fn xz(bytes: &[u8], output: &mut Output) -> Result<usize, At> {
    if !bytes.starts_with(XZ_MAGIC) {
        return Err((0, Problem::Magic));
    }
    let mut end = 0;
    let mut start = 0;
    while let Some(rest) = bytes.get(start..).filter(|rest| rest.starts_with(XZ_MAGIC)) {
        let mut stream = XzStream::new_mem_limit(false, MEMORY_KIB);
        let len = run(rest, output, |input, out| {
            stream.process(input, out, Action::Finish)
        })
        .map_err(|(position, problem)| (start.saturating_add(position), problem))?;
        end = start.saturating_add(len);
        // Padding between streams is a multiple of four zeros (section 2.2).
        let behind = bytes.get(end..).unwrap_or_default();
        let zeros = behind.chunks_exact(4).take_while(|word| *word == [0; 4]).count();
        start = end.saturating_add(zeros.saturating_mul(4));
    }
    Ok(end)
}

/// Decompresses a stream, and returns the length of it.
#[cfg(feature = "lzma")]
pub(crate) fn lzma(bytes: &[u8], output: &mut Output) -> Result<usize, At> {
    let mut stream = LzmaStream::new_mem_limit(MEMORY_KIB, None);
    let read = run(bytes, output, |input, out| {
        stream.process(input, out, Action::Finish)
    })?;
    Ok(read.saturating_sub(stream.unused_input().len()))
}

/// Calls a decoder until the end of its stream, and returns the number of bytes that it read.
fn run<E: core::fmt::Debug>(
    bytes: &[u8],
    output: &mut Output,
    mut process: impl FnMut(&[u8], &mut [u8]) -> Result<StreamResult, E>,
) -> Result<usize, At> {
    let mut position = 0;
    loop {
        let rest = bytes.get(position..).unwrap_or_default();
        let filled = output.grow(
            |out, at| match process(rest, out.get_mut(at..).unwrap_or_default()) {
                Ok(result) => (result.bytes_produced, Ok(result)),
                Err(error) => (0, Err(error)),
            },
        );
        let result = filled
            .map_err(|problem| (position, problem))?
            .map_err(|error| (position, problem(&error, rest)))?;
        position = position.saturating_add(result.bytes_consumed);
        match result.status {
            Status::StreamEnd => return Ok(position),
            Status::Ok if result.bytes_consumed == 0 && result.bytes_produced == 0 => {
                return Err((position, Problem::Truncated));
            }
            Status::Ok => {}
        }
    }
}

/// The error of the decoder is its own where it has no `std`, and that of `std::io` where another crate asks for `std`; both have these names.
fn problem(error: &dyn core::fmt::Debug, rest: &[u8]) -> Problem {
    let text = format!("{error:?}");
    if text.contains("OutOfMemory") {
        return Problem::Memory { limit: MAX_WINDOW };
    }
    if rest.is_empty() || text.contains("Eof") {
        return Problem::Truncated;
    }
    // The text in quotes is the reason.
    let reason = text.split('"').nth(1);
    Problem::Malformed(reason.unwrap_or(&text).into())
}
