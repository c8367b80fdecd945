//! `vmboot extract`.

use std::error::Error;
use std::fs::File;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use boot_core::SizedSource;
use fmt_wrapped::{Limits, find, open};
use vmboot::report::{LayerReport, SectionReport};

use super::dump;
use super::file::{self, FileError, WriteError};
use super::output;
use super::result::CommandResult;
use super::uki::{self, UkiSections, wrappers};

/// Options of `vmboot extract`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// File with a kernel inside; `-` is standard input.
    file: PathBuf,
    /// Directory for the files, which must be new or empty: `1-NAME` is the content of FILE, `2-NAME` the content of that, and so on. Sections
    /// of a unified kernel image are `base-NAME` and `profile-N-NAME`.
    dir: PathBuf,
}

/// The file has no layers.
#[derive(Debug, thiserror::Error)]
#[error(
    "there is no kernel inside: the file is neither compressed nor a bzImage, unified kernel image, zboot, uImage or FIT file"
)]
struct NotWrapped;

/// Sections of an image overlap. A small file could otherwise fill the file system.
#[derive(Debug, thiserror::Error)]
#[error("the sections of the unified kernel image overlap: they have {all} bytes, and the image has {len}")]
struct OverlapError {
    all: u64,
    len: u64,
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
    if let Some(uki) = uki::sections(&file, &layers).map_err(FileError::with_path(&args.file))? {
        lines.extend(write_sections(&uki, args)?);
    }
    output::write(io::stdout().lock(), lines.concat().as_bytes())?;
    Ok(ExitCode::SUCCESS)
}

/// Writes the sections of a unified kernel image but its kernel, and gives a line for each.
fn write_sections(uki: &UkiSections<'_>, args: &Args) -> Result<Vec<String>, Box<dyn Error>> {
    let UkiSections {
        image,
        kernel,
        sections,
    } = uki;
    let image = SizedSource::new(image)?;
    let all = sections.iter().map(|section| section.range.len());
    let all = all.fold(0, u64::saturating_add);
    if all > image.len() {
        let len = image.len();
        return Err(FileError::with_path(&args.file)(OverlapError { all, len }).into());
    }
    let mut lines = Vec::new();
    let reports = SectionReport::of_image(sections).into_iter().zip(sections);
    for (report, section) in reports.filter(|(_, section)| section.range != *kernel) {
        let len = usize::try_from(section.range.len()).unwrap_or(usize::MAX);
        let content = image.read_vec(section.range.offset(), len)?;
        write(&args.dir.join(&report.file), &content)?;
        lines.push(format!("{}: {report}\n", report.file));
    }
    Ok(lines)
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
