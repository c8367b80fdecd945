//! The command line.

pub(crate) mod boot;
pub(crate) mod inspect;
pub(crate) mod machine;
pub(crate) mod number;
pub(crate) mod plan;
pub(crate) mod run;

use std::error::Error;
use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Parser, Subcommand};
use rustix::fs::OFlags;
use serde::Serialize;

/// Inspect, plan and boot kernel images.
#[derive(Debug, Parser)]
#[command(name = "vmboot", version, max_term_width = 100)]
pub(crate) struct Cli {
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Say what an image is: its format, its parts, its entry points, and which protocols can start it.
    Inspect(inspect::Args),
    /// Compute a boot and draw the guest's memory, without a virtual machine.
    Plan(plan::Args),
    /// Boot an image in a KVM virtual machine, with the guest's serial console on this terminal.
    Run(run::Args),
}

/// What a subcommand ends with.
pub(crate) type Ending = Result<ExitCode, Box<dyn Error>>;

/// A file that could not be opened.
#[derive(Debug, thiserror::Error)]
#[error("cannot open {}", path.display())]
pub(crate) struct OpenError {
    pub(crate) path: PathBuf,
    pub(crate) source: io::Error,
}

/// Opens a file to be read at any offset. Without waiting: opening a pipe that nobody writes to would take for ever, and
/// what is no file says so when it is asked for its length.
pub(crate) fn open(path: &Path) -> Result<File, OpenError> {
    let flags = OFlags::NONBLOCK.bits().cast_signed();
    File::options()
        .read(true)
        .custom_flags(flags)
        .open(path)
        .map_err(|source| OpenError {
            path: path.to_owned(),
            source,
        })
}

/// Something about a file on the command line.
#[derive(Debug, thiserror::Error)]
#[error("{}", path.display())]
pub(crate) struct FileError {
    path: PathBuf,
    source: Box<dyn Error>,
}

impl FileError {
    /// An error to be told as one about `path`.
    pub(crate) fn about<E: Error + 'static>(path: &Path) -> impl FnOnce(E) -> Self + use<'_, E> {
        move |source| Self {
            path: path.to_owned(),
            source: Box::new(source),
        }
    }
}

/// Prints a report as JSON or for a person.
pub(crate) fn print(report: &(impl Serialize + ?Sized), text: &str, json: bool) -> io::Result<()> {
    // Standard output alone would make a system call of every line, and an image can have a hundred thousand segments.
    let mut out = BufWriter::new(io::stdout().lock());
    if json {
        serde_json::to_writer_pretty(&mut out, report)?;
        writeln!(out)?;
    } else {
        out.write_all(text.as_bytes())?;
    }
    out.flush()
}
