//! `vmboot inspect`.

use std::error::Error;
use std::path::PathBuf;
use std::process::ExitCode;

use boot_core::{ByteSource, DetectError, KernelImage};
use fmt_wrapped::{Layer, Limits, open};
use vmboot::report::{InspectReport, LayerReport, SectionReport};

use super::file::{self, FileError};
use super::output;
use super::result::CommandResult;
use super::uki::{self, wrappers};

/// Options of `vmboot inspect`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Print JSON, as described in SCHEMA.md of the vmboot package.
    #[arg(long)]
    json: bool,
    /// Kernel image; `-` is standard input.
    file: PathBuf,
}

/// No layer of the file is a kernel image.
#[derive(Debug, thiserror::Error)]
#[error("inside {layers} layers of {outermost}")]
struct NoKernelInside {
    layers: usize,
    outermost: &'static str,
    source: DetectError,
}

pub(crate) fn run(args: &Args) -> CommandResult {
    let file = file::open(&args.file)?;
    let report =
        report(&args.file.to_string_lossy(), &file).map_err(|source| FileError::of(&args.file, source))?;
    output::print(&report, &report.to_string(), args.json)?;
    Ok(ExitCode::SUCCESS)
}

/// The report on the outermost kernel image in the file, and on all that is inside.
fn report(name: &str, file: &dyn ByteSource) -> Result<InspectReport, Box<dyn Error>> {
    let formats = vmboot::formats()?;
    let opened = open(&file, &wrappers(), &Limits::default());
    let outer = boot_core::detect(&formats, &file);
    let (layers, problem) = match (opened, &outer) {
        (Ok(layers), _) => (layers, None),
        (Err(error), Ok(_)) => (Vec::new(), Some(error)),
        // The format names the command that decompresses the file.
        (Err(error), Err(_)) if error.layer == 1 && error.is_not_built_in() => (Vec::new(), None),
        (Err(error), Err(_)) => return Err(error.into()),
    };
    let inner: Vec<_> = layers
        .iter()
        .map(|layer| boot_core::detect(&formats, &layer.content))
        .collect();
    let reports = layers
        .iter()
        .zip(&inner)
        .map(|(layer, image)| LayerReport::new(layer, image.as_ref().ok()))
        .collect();
    let image = first_image(outer, inner, &layers)?;
    let uki = uki::sections(&file, &layers)?;
    let sections = uki.map_or_else(Vec::new, |uki| SectionReport::of_image(&uki.sections));
    let mut report = InspectReport::new(name, &image, &vmboot::protocols()?)
        .with_layers(reports)
        .with_sections(sections);
    if let Some(problem) = problem {
        let source = problem.source().map(ToString::to_string).unwrap_or_default();
        report
            .warnings
            .push(format!("the kernel inside cannot be unpacked: {source}"));
    }
    Ok(report)
}

/// The outermost kernel image; without any, the error of the file or, if it has layers, of the innermost one.
fn first_image(
    outer: Result<KernelImage, DetectError>,
    inner: Vec<Result<KernelImage, DetectError>>,
    layers: &[Layer],
) -> Result<KernelImage, Box<dyn Error>> {
    let (mut error, mut depth) = match outer {
        Ok(image) => return Ok(image),
        Err(error) => (error, 0),
    };
    for image in inner {
        match image {
            Ok(image) => return Ok(image),
            Err(inner) => (error, depth) = (inner, depth + 1),
        }
    }
    match layers.first() {
        Some(layer) => Err(NoKernelInside {
            layers: depth,
            outermost: layer.wrapper,
            source: error,
        }
        .into()),
        None => Err(error.into()),
    }
}
