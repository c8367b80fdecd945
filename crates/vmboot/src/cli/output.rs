//! Output on standard output.

use std::io::{self, BufWriter, Write};

use serde::Serialize;

use super::advised::AdvisedError;

/// The output cannot be written.
#[derive(Debug, thiserror::Error)]
#[error("cannot write to standard output")]
struct OutputError(#[from] io::Error);

/// Prints a report, as JSON or as text.
pub(crate) fn print(report: &(impl Serialize + ?Sized), text: &str, json: bool) -> Result<(), AdvisedError> {
    // Standard output is line-buffered, and an image can have a hundred thousand segments.
    let mut out = BufWriter::new(io::stdout().lock());
    let mut print = || {
        if json {
            serde_json::to_writer_pretty(&mut out, report)?;
            writeln!(out)?;
        } else {
            out.write_all(text.as_bytes())?;
        }
        out.flush()
    };
    print().map_err(advised)
}

/// Writes bytes to an output.
pub(crate) fn write(mut out: impl Write, bytes: &[u8]) -> Result<(), AdvisedError> {
    out.write_all(bytes).and_then(|()| out.flush()).map_err(advised)
}

fn advised(error: io::Error) -> AdvisedError {
    let help = match error.kind() {
        io::ErrorKind::BrokenPipe => "keep its reader open to the end of the output",
        io::ErrorKind::StorageFull => "free space there, or write to another place",
        _ => "redirect it to a file or a pipe that can be written",
    };
    AdvisedError::new(OutputError(error), help)
}
