//! `vmboot inspect`.

use std::path::PathBuf;
use std::process::ExitCode;

use vmboot::report::InspectReport;

use super::files::FileError;
use super::output::Ending;

/// Options of `vmboot inspect`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Print JSON, as described in the crate's SCHEMA.md.
    #[arg(long)]
    json: bool,
    /// The image.
    file: PathBuf,
}

pub(crate) fn run(args: &Args) -> Ending {
    let file = super::files::open(&args.file)?;
    let image = boot_core::detect(&vmboot::formats()?, &file).map_err(FileError::about(&args.file))?;
    let report = InspectReport::new(&args.file.to_string_lossy(), &image, &vmboot::protocols()?);
    super::output::print(&report, &report.to_string(), args.json)?;
    Ok(ExitCode::SUCCESS)
}
