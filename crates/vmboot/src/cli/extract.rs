//! `vmboot extract`.

use std::error::Error;
use std::fs::File;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use fmt_wrapped::{Limits, find, open};
use vmboot::report::LayerReport;

use super::dump;
use super::file::{self, FileError};
use super::output;
use super::result::CommandResult;
use super::uki::wrappers;

/// Options of `vmboot extract`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// File with a kernel inside; `-` is standard input.
    file: PathBuf,
    /// Directory for the files, which must be new or empty: `1-NAME` is the content of FILE, `2-NAME` the content of that, and so on.
    dir: PathBuf,
}

/// The file has no layers.
#[derive(Debug, thiserror::Error)]
#[error(
    "there is no kernel inside: the file is neither compressed nor a bzImage, unified kernel image, zboot or uImage file"
)]
struct NotWrapped;

/// A layer cannot be written.
#[derive(Debug, thiserror::Error)]
#[error("cannot write {}", path.display())]
struct WriteError {
    path: PathBuf,
    source: io::Error,
}

pub(crate) fn run(args: &Args) -> CommandResult {
    let file = file::open(&args.file)?;
    let layers = open(&file, &wrappers(), &Limits::default()).map_err(FileError::with_path(&args.file))?;
    if layers.is_empty() {
        return Err(FileError::with_path(&args.file)(NotWrapped).into());
    }
    dump::prepare(&args.dir)?;
    let mut lines = Vec::new();
    for (index, layer) in layers.iter().enumerate() {
        let name = format!("{}-{}", index + 1, kind(&layer.content)?);
        write(&args.dir.join(&name), &layer.content)?;
        lines.push(format!("{name}: {}\n", LayerReport::new(layer, None)));
    }
    output::write(io::stdout().lock(), lines.concat().as_bytes())?;
    Ok(ExitCode::SUCCESS)
}

/// What the content of a layer is: the name of its format or wrapper, or `data`.
fn kind(content: &[u8]) -> Result<&'static str, Box<dyn Error>> {
    if let Ok(image) = boot_core::detect(&vmboot::formats()?, &content) {
        return Ok(image.format());
    }
    Ok(find(&wrappers(), &content)?.map_or("data", |(name, _)| name))
}

fn write(path: &Path, content: &[u8]) -> Result<(), WriteError> {
    File::create_new(path)
        .and_then(|mut file| file.write_all(content))
        .map_err(|source| WriteError {
            path: path.to_owned(),
            source,
        })
}
