//! `vmboot inspect`.

use std::path::PathBuf;
use std::process::ExitCode;

use vmboot::report::InspectReport;

use super::file::{self, FileError};
use super::output;
use super::result::CommandResult;

/// Options of `vmboot inspect`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Print JSON, as described in SCHEMA.md of the vmboot package.
    #[arg(long)]
    json: bool,
    /// Kernel image; `-` is standard input.
    file: PathBuf,
}

pub(crate) fn run(args: &Args) -> CommandResult {
    let file = file::open(&args.file)?;
    let image = boot_core::detect(&vmboot::formats()?, &file).map_err(FileError::with_path(&args.file))?;
    let report = InspectReport::new(&args.file.to_string_lossy(), &image, &vmboot::protocols()?);
    output::print(&report, &report.to_string(), args.json)?;
    Ok(ExitCode::SUCCESS)
}
