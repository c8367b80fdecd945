//! `vmboot plan`.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use vmboot::report::{MemoryPicture, PlanReport};

use super::advised::{AdvisedError, UsageError};
use super::boot::{Boot, BootArgs};
use super::dump::dump;
use super::machine::MachineArgs;
use super::output;
use super::result::CommandResult;

/// Options of `vmboot plan`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    boot: BootArgs,
    /// Print JSON, as described in SCHEMA.md of the vmboot package.
    #[arg(long)]
    json: bool,
    /// Write each piece of the plan to a file in this directory, with an index; the directory must be new or empty.
    #[arg(long, value_name = "DIR")]
    dump: Option<PathBuf>,
    /// Draw the memory map as an SVG picture; `-` prints the picture in place of the text, and an existing file is
    /// overwritten.
    #[arg(long, value_name = "FILE")]
    svg: Option<PathBuf>,
}

/// Error in the output of the picture.
#[derive(Debug, thiserror::Error)]
enum PictureError {
    #[error("cannot write {}", path.display())]
    Write { path: PathBuf, source: io::Error },
    #[error("`--svg -` and --json both print to standard output; use `--svg FILE`")]
    TwoReports,
}

pub(crate) fn run(args: &Args) -> CommandResult {
    let svg_only = args.svg.as_deref() == Some(Path::new("-"));
    if svg_only && args.json {
        return Err(UsageError(PictureError::TwoReports.into()).into());
    }
    let boot = args.boot.plan(None, MachineArgs::reference)?;
    if let Some(note) = boot.cmdline.note() {
        eprintln!("note: {note}");
    }
    if let Some(dir) = &args.dump {
        let files = boot.with_sources(|sources| dump(&boot.plan, sources, dir))?;
        eprintln!("vmboot: wrote {files} files to {}", dir.display());
    }
    if let Some(path) = &args.svg {
        let picture = picture(&boot, args.boot.kernel());
        if svg_only {
            output::write(io::stdout().lock(), picture.as_bytes())?;
            return Ok(ExitCode::SUCCESS);
        }
        fs::write(path, picture).map_err(|source| {
            let path = path.clone();
            AdvisedError::new(
                PictureError::Write { path, source },
                "name a file in a directory that exists and can be written",
            )
        })?;
    }
    output::print(&PlanReport::from(&boot.plan), &boot.plan.to_string(), args.json)?;
    Ok(ExitCode::SUCCESS)
}

/// The picture of a plan, with the file name of the kernel as its title.
fn picture(boot: &Boot, kernel: &Path) -> String {
    let name = kernel.file_name().unwrap_or(kernel.as_os_str()).to_string_lossy();
    MemoryPicture::new(&boot.plan, &boot.machine.memory)
        .with_title(&format!("Memory of a boot of {name}"))
        .to_string()
}
