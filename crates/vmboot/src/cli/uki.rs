//! Unified kernel images and their addons.

use std::error::Error;
use std::path::PathBuf;
use std::rc::Rc;

use bls::ProfileSelector;
use bls::uki::{Addon, AddonMismatch, ProfileSection, Uki, UkiBoot, UkiError};
use boot_core::{ByteSource, Codec, FormatError, FormatErrorKind, Payload, SizedSource, SourceRange};
use clap::builder::{StringValueParser, TypedValueParser as _};
use disk::Window;
use fmt_wrapped::{Layer, WRAPPERS, Wrapper};

use super::advised::UsageError;
use super::file::{self, FileError};

/// Options of unified kernel images.
#[derive(Debug, Default, clap::Args)]
pub(crate) struct UkiArgs {
    /// Profile of a unified kernel image: its number or ID [default: 0].
    #[arg(long, value_name = "N|ID", value_parser = StringValueParser::new().map(|text| ProfileSelector::parse(&text)))]
    profile: Option<ProfileSelector>,
    /// Addon of a unified kernel image; can be repeated. systemd-stub takes them in the order of their file names, those for all images
    /// first.
    #[arg(long = "addon", value_name = "FILE")]
    pub(crate) addons: Vec<PathBuf>,
}

/// Error in the options of unified kernel images.
#[derive(Debug, thiserror::Error)]
enum UkiArgsError {
    #[error("{0} is for unified kernel images, and the kernel is none; omit it")]
    NotUki(&'static str),
    #[error("--profile has to be a number for --pcrs; use the number of the profile, from 0")]
    NotANumber,
}

/// An addon is not for the image.
#[derive(Debug, thiserror::Error)]
#[error("{0}; omit it")]
struct MismatchError(AddonMismatch);

impl UkiArgs {
    /// Refuses the options for a kernel that is no unified kernel image.
    pub(crate) fn check_no_uki(&self) -> Result<(), UsageError> {
        let refuse = |option| Err(UsageError(UkiArgsError::NotUki(option).into()));
        match self {
            Self { profile: Some(_), .. } => refuse("--profile"),
            Self { addons, .. } if !addons.is_empty() => refuse("--addon"),
            _ => Ok(()),
        }
    }

    /// The number of the profile.
    pub(crate) fn profile_number(&self) -> Result<u32, UsageError> {
        match self.profile {
            None => Ok(0),
            Some(ProfileSelector::Number(number)) => Ok(number),
            Some(_) => Err(UsageError(UkiArgsError::NotANumber.into())),
        }
    }
}

/// Wrapper of unified kernel images, for reports on layers: the kernel of the first profile.
#[derive(Clone, Copy, Debug)]
pub(crate) struct UkiWrapper;

impl UkiWrapper {
    /// Name of the wrapper.
    pub(crate) const NAME: &'static str = "uki";
}

impl Wrapper for UkiWrapper {
    fn name(&self) -> &'static str {
        Self::NAME
    }

    fn payload(&self, source: &dyn ByteSource) -> Result<Option<Payload>, FormatError> {
        let read = |error| FormatError::new(Self::NAME, FormatErrorKind::Read, UkiError::Read(error));
        let source = SizedSource::new(source).map_err(read)?;
        let malformed = |error| FormatError::new(Self::NAME, FormatErrorKind::Malformed, error);
        let Some(uki) = parse(source).map_err(malformed)? else {
            return Ok(None);
        };
        let linux = uki.profile(None).map_err(malformed)?.linux;
        let payload = Payload::new(linux).with_codec(Some(Codec::Stored));
        Ok(Some(payload.with_unpacked_len(Some(linux.len()))))
    }
}

/// All wrappers.
pub(crate) fn wrappers() -> Vec<&'static dyn Wrapper> {
    [&UkiWrapper as &dyn Wrapper]
        .into_iter()
        .chain(WRAPPERS)
        .collect()
}

/// The unified kernel image among a file and its layers, and its sections.
pub(crate) struct UkiSections<'a> {
    /// The file, or the content of a layer.
    pub(crate) image: &'a dyn ByteSource,
    /// The kernel, which is a layer of its own.
    pub(crate) kernel: SourceRange,
    pub(crate) sections: Vec<ProfileSection>,
}

/// Finds the unified kernel image that was opened as one of the layers; `None` if there is none.
pub(crate) fn sections<'a>(
    file: &'a dyn ByteSource,
    layers: &'a [Layer],
) -> Result<Option<UkiSections<'a>>, UkiError> {
    let Some(index) = layers.iter().position(|layer| layer.wrapper == UkiWrapper::NAME) else {
        return Ok(None);
    };
    let around = index.checked_sub(1).and_then(|index| layers.get(index));
    let image = around.map_or(file, |layer| &layer.content as &dyn ByteSource);
    let uki = parse(SizedSource::new(image)?)?;
    let kernel = layers.get(index).map(|layer| layer.payload.source);
    Ok(uki.zip(kernel).map(|(uki, kernel)| UkiSections {
        image,
        kernel,
        sections: uki.sections().to_vec(),
    }))
}

/// A unified kernel image in an open file, with its addons.
pub(crate) type Boot = UkiBoot<Rc<dyn ByteSource>>;

/// A part of a file.
pub(crate) type Part = Window<Rc<dyn ByteSource>>;

/// Parses a unified kernel image; `None` for other files.
fn parse(source: SizedSource<'_>) -> Result<Option<Uki<'_>>, UkiError> {
    match Uki::parse(source) {
        // The formats judge it.
        Err(UkiError::Pe(error)) if error.kind() != FormatErrorKind::Read => Ok(None),
        result => result,
    }
}

/// Opens a unified kernel image; `None` for other files.
pub(crate) fn open(source: &Rc<dyn ByteSource>, args: &UkiArgs) -> Result<Option<Boot>, Box<dyn Error>> {
    let Some(uki) = parse(SizedSource::new(source)?)? else {
        return Ok(None);
    };
    let profile = uki.profile(args.profile.as_ref())?;
    let mut boot = UkiBoot::new(Rc::clone(source), uki.arch(), profile);
    if boot.device_tree.is_some() || !boot.device_tree_candidates.is_empty() {
        eprintln!(
            "note: the device trees of the image are not used: the machine has its own, which --dtb replaces"
        );
    }
    let candidates = boot.device_tree_candidates.len();
    for path in &args.addons {
        let file: Rc<dyn ByteSource> = Rc::new(file::open(path)?);
        add(&mut boot, &file).map_err(|source| FileError::of(path, source))?;
    }
    if !boot.overlays.is_empty() || boot.device_tree_candidates.len() > candidates {
        eprintln!("note: the device tree overlays of addons are not used");
    }
    Ok(Some(boot))
}

fn add(boot: &mut Boot, file: &Rc<dyn ByteSource>) -> Result<(), Box<dyn Error>> {
    let addon = Addon::parse(SizedSource::new(file)?)?;
    Ok(boot.add(file, &addon).map_err(MismatchError)?)
}

#[cfg(test)]
mod tests {
    use fmt_test::{TestSource, pe};

    use super::*;

    #[test]
    fn a_read_that_fails_is_not_taken_for_another_file() {
        let file = pe::uki(pe::AMD64).build();
        let parse_after = |operations| {
            let source = TestSource::new(file.clone()).failing_after(operations);
            SizedSource::new(&source).map(|source| parse(source).map(|uki| uki.is_some()))
        };
        // The first operation reads the length.
        let failed = (1..100).take_while(|operations| !matches!(parse_after(*operations), Ok(Ok(true))));
        let results: Vec<_> = failed.map(parse_after).collect();
        assert!(
            results.len() > 3 && results.iter().all(|result| matches!(result, Ok(Err(_)))),
            "{results:?}"
        );
    }
}
