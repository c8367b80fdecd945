//! Results and output of subcommands.

use std::error::Error;
use std::io::{self, BufWriter, Write};
use std::process::ExitCode;

use serde::Serialize;

/// Result of a subcommand.
pub(crate) type Ending = Result<ExitCode, Box<dyn Error>>;

/// Prints a report as JSON or as text.
pub(crate) fn print(report: &(impl Serialize + ?Sized), text: &str, json: bool) -> io::Result<()> {
    // Buffered: standard output makes a system call per line, and an image can have a hundred thousand segments.
    let mut out = BufWriter::new(io::stdout().lock());
    if json {
        serde_json::to_writer_pretty(&mut out, report)?;
        writeln!(out)?;
    } else {
        out.write_all(text.as_bytes())?;
    }
    out.flush()
}
