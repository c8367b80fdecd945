//! Output on standard output.

use std::fmt;
use std::io::{self, BufWriter, Write};

use serde::Serialize;

/// The output cannot be written.
#[derive(Debug, thiserror::Error)]
#[error("cannot write to standard output")]
pub(crate) struct OutputError(#[source] io::Error);

impl OutputError {
    /// Whether the reader of a pipe has closed it, as `head` does when it has enough.
    pub(crate) fn is_closed(&self) -> bool {
        self.0.kind() == io::ErrorKind::BrokenPipe
    }

    /// What to do about the error.
    pub(crate) fn help(&self) -> &'static str {
        match self.0.kind() {
            io::ErrorKind::StorageFull => "free space there, or write to another place",
            _ => "redirect it to a file or a pipe that can be written",
        }
    }
}

/// Prints a report, as JSON or as text.
pub(crate) fn print(report: &(impl Serialize + ?Sized), text: &str, json: bool) -> Result<(), OutputError> {
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
    print().map_err(OutputError)
}

/// Prints a line to standard error with one system call, where `eprintln!` takes one for each part of the text.
pub(crate) fn note(text: impl fmt::Display) {
    // As `eprintln!` does, but without a panic: nobody can be told.
    let _nowhere_to_report = io::stderr().write_all(format!("{text}\n").as_bytes());
}

/// Writes bytes to an output.
pub(crate) fn write(mut out: impl Write, bytes: &[u8]) -> Result<(), OutputError> {
    out.write_all(bytes)
        .and_then(|()| out.flush())
        .map_err(OutputError)
}
