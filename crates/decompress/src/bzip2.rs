//! bzip2. Its format has no published specification; the decoder follows that of bzip2 1.0.8.

use alloc::format;

use bzip2::{Decompress, Error, Status};

use crate::error::{At, Problem};
use crate::output::Output;

/// Start of a stream, before the digit of the block size.
const MAGIC: &[u8] = b"BZh";

/// Decompresses all streams, and returns the length of them.
pub(crate) fn decompress(bytes: &[u8], output: &mut Output) -> Result<usize, At> {
    if !bytes.starts_with(MAGIC) {
        return Err((0, Problem::Magic));
    }
    let mut position = 0;
    while let Some(rest) = bytes.get(position..).filter(|rest| rest.starts_with(MAGIC)) {
        let len = stream(rest, output).map_err(|(at, problem)| (position.saturating_add(at), problem))?;
        position = position.saturating_add(len);
    }
    Ok(position)
}

/// Decompresses a stream, and returns its length.
fn stream(bytes: &[u8], output: &mut Output) -> Result<usize, At> {
    let mut decoder = Decompress::new(false);
    let mut position = 0;
    loop {
        let rest = bytes.get(position..).unwrap_or_default();
        let before = decoder.total_out();
        let status = output
            .grow(|out, at| {
                let result = decoder.decompress(rest, out.get_mut(at..).unwrap_or_default());
                let written = decoder.total_out().saturating_sub(before);
                (usize::try_from(written).unwrap_or(usize::MAX), result)
            })
            .map_err(|problem| (position, problem))?;
        let read = usize::try_from(decoder.total_in()).unwrap_or(usize::MAX);
        let is_stuck = read == position && decoder.total_out() == before;
        position = read;
        match status {
            Ok(Status::StreamEnd) => return Ok(position),
            Ok(Status::MemNeeded) => return Err((position, output.no_memory())),
            Ok(_) if is_stuck => return Err((position, Problem::Truncated)),
            Ok(_) => {}
            Err(error) => return Err((position, problem(error))),
        }
    }
}

fn problem(error: Error) -> Problem {
    Problem::Malformed(match error {
        Error::Data => "the data, or their checksum".into(),
        Error::DataMagic => "the header of the stream".into(),
        other => format!("{other:?}"),
    })
}
