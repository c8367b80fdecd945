//! Output of reports.

use std::io::{self, BufWriter, Write};

use serde::Serialize;

/// Prints a report, as JSON or as text.
pub(crate) fn print(report: &(impl Serialize + ?Sized), text: &str, json: bool) -> io::Result<()> {
    // Standard output is line-buffered, and an image can have a hundred thousand segments.
    let mut out = BufWriter::new(io::stdout().lock());
    if json {
        serde_json::to_writer_pretty(&mut out, report)?;
        writeln!(out)?;
    } else {
        out.write_all(text.as_bytes())?;
    }
    out.flush()
}
