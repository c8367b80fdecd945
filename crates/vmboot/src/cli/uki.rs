//! Unified kernel images and their addons.

use std::error::Error;
use std::path::PathBuf;
use std::rc::Rc;

use bls::ProfileSelector;
use bls::uki::{Addon, Uki, UkiError, UkiProfile};
use boot_core::{
    Arch, ByteSource, Codec, FormatError, FormatErrorKind, Payload, ReadError, SizedSource, SourceRange,
};
use clap::builder::{StringValueParser, TypedValueParser as _};
use disk::Window;
use fmt_wrapped::{WRAPPERS, Wrapper};

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

/// Error of an addon that is not for the image.
#[derive(Debug, thiserror::Error)]
enum AddonError {
    #[error("the addon is for the kernel release {addon:?}, and the image has {image:?}; omit it")]
    Release { addon: String, image: String },
    #[error("the addon is for another architecture than the image, which is for {0}; omit it")]
    Arch(Arch),
}

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

/// A part of a file.
pub(crate) type Part = Window<Rc<dyn ByteSource>>;

/// What a unified kernel image boots, with its addons.
pub(crate) struct Opened {
    pub(crate) kernel: Part,
    /// Microcode and initrds, in the order of systemd-stub.
    pub(crate) initrds: Vec<Part>,
    pub(crate) cmdlines: Cmdlines,
}

/// Command lines of a unified kernel image.
#[derive(Debug, Default)]
pub(crate) struct Cmdlines {
    /// That of the image, which another one can replace.
    pub(crate) image: Option<String>,
    /// Those of its addons, which follow in any case.
    pub(crate) addons: Vec<String>,
}

/// Parses a unified kernel image; `None` for other files.
fn parse(source: SizedSource<'_>) -> Result<Option<Uki<'_>>, UkiError> {
    match Uki::parse(source) {
        // The formats judge it.
        Err(UkiError::Pe(_)) => Ok(None),
        result => result,
    }
}

/// Opens a unified kernel image; `None` for other files.
pub(crate) fn open(source: &Rc<dyn ByteSource>, args: &UkiArgs) -> Result<Option<Opened>, Box<dyn Error>> {
    let Some(uki) = parse(SizedSource::new(source)?)? else {
        return Ok(None);
    };
    let profile = uki.profile(args.profile.as_ref())?;
    if profile.dtb.is_some() || !profile.dtbauto.is_empty() {
        eprintln!(
            "note: the device trees of the image are not used: the machine has its own, which --dtb replaces"
        );
    }
    let mut opened = Opened {
        kernel: part(source, profile.linux)?,
        initrds: parts(source, profile.ucode.iter().chain(&profile.initrd))?,
        cmdlines: Cmdlines {
            image: profile.cmdline.clone(),
            addons: Vec::new(),
        },
    };
    for path in &args.addons {
        let file: Rc<dyn ByteSource> = Rc::new(file::open(path)?);
        opened
            .add(&file, &uki, &profile)
            .map_err(|source| FileError::of(path, source))?;
    }
    Ok(Some(opened))
}

impl Opened {
    /// Adds an addon.
    fn add(
        &mut self,
        file: &Rc<dyn ByteSource>,
        uki: &Uki<'_>,
        profile: &UkiProfile,
    ) -> Result<(), Box<dyn Error>> {
        let addon = Addon::parse(SizedSource::new(file)?)?;
        if let Some(arch) = uki.arch().filter(|arch| addon.arch() != Some(*arch)) {
            return Err(AddonError::Arch(arch).into());
        }
        if !addon.fits(profile.uname.as_deref()) {
            let text = |uname: &Option<String>| uname.clone().unwrap_or_default();
            return Err(AddonError::Release {
                addon: text(&addon.uname),
                image: text(&profile.uname),
            }
            .into());
        }
        if addon.dtb.is_some() || !addon.dtbauto.is_empty() {
            eprintln!("note: the device tree overlays of an addon are not used");
        }
        // Microcode of addons is before that of the image, the last one first.
        self.initrds.splice(0..0, parts(file, &addon.ucode)?);
        self.initrds.extend(parts(file, &addon.initrd)?);
        self.cmdlines.addons.extend(addon.cmdline);
        Ok(())
    }
}

fn part(source: &Rc<dyn ByteSource>, range: SourceRange) -> Result<Part, ReadError> {
    Window::new(Rc::clone(source), range)
}

fn parts<'a>(
    source: &Rc<dyn ByteSource>,
    ranges: impl IntoIterator<Item = &'a SourceRange>,
) -> Result<Vec<Part>, ReadError> {
    ranges.into_iter().map(|range| part(source, *range)).collect()
}
