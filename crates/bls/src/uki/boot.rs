//! What a boot of a unified kernel image takes from the image and its addons (UAPI.5, "PE Addons"; systemd-stub(7)).

use alloc::string::String;
use alloc::vec::Vec;

use boot_core::{Arch, ByteSource, Initrds, ReadError, SizedSource, SourceRange};
use disk::Window;

use super::error::UkiError;
use super::kind::SectionKind;
use super::{Addon, Uki, UkiProfile};
use crate::hwids::{Chid, HwidsError, compatible_of};
use crate::root_compatible::{RootCompatibleError, root_compatible};
use crate::type1::ProfileSelector;

/// Maximum length of a section `.hwids` in bytes.
pub const MAX_HWIDS_LEN: usize = 1 << 20;

/// Section of a file. `F` leads to the file: its path, or the opened file.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct UkiSection<F> {
    /// The file.
    pub file: F,
    /// Kind of the section.
    pub kind: SectionKind,
    /// Its bytes in the file.
    pub range: SourceRange,
}

impl<F: ByteSource> UkiSection<F> {
    /// Opens the bytes of the section; nothing is read.
    ///
    /// # Errors
    ///
    /// [`ReadError`] if the length of the file cannot be read, or the file has become shorter.
    pub fn open(&self) -> Result<Window<&F>, ReadError> {
        Window::new(&self.file, self.range)
    }

    /// Opens the bytes of the section, which then own the file.
    ///
    /// # Errors
    ///
    /// Those of [`open`](Self::open).
    pub fn into_window(self) -> Result<Window<F>, ReadError> {
        Window::new(self.file, self.range)
    }
}

/// A profile of a unified kernel image and its addons, as one boot: kernel, initrds, command line and device tree.
///
/// `F` leads to the files: open files as [`ByteSource`]s, or paths on a volume.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct UkiBoot<F> {
    /// Architecture of the image; `None` if this workspace does not support it.
    pub arch: Option<Arch>,
    /// Profile of the image, without its addons.
    pub profile: UkiProfile,
    /// Kernel: an image of its own, which may be compressed or an EFI zboot file.
    pub kernel: UkiSection<F>,
    /// Microcode and initrds, in the order in which the kernel gets them: microcode of the addons, that of the last addon first, then that of
    /// the image, then initrds of the image, then those of the addons.
    pub initrds: Vec<UkiSection<F>>,
    /// Command lines of the addons, in their order. That of the image is in [`profile`](Self::profile); [`cmdline`](Self::cmdline) joins
    /// them.
    pub addon_cmdlines: Vec<String>,
    /// `.dtb` of the image.
    pub device_tree: Option<UkiSection<F>>,
    /// `.dtbauto` of the addons, those of the last addon first, and of the image; [`device_tree_for`](Self::device_tree_for) selects one.
    pub device_tree_candidates: Vec<UkiSection<F>>,
    /// `.hwids` of the image.
    pub hwids: Option<UkiSection<F>>,
    /// `.dtb` of the addons, in their order: overlays for the device tree.
    pub overlays: Vec<UkiSection<F>>,
}

/// An addon is not for the image.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum AddonMismatch {
    /// The addon is for the release of another kernel.
    #[error("the addon is for the kernel release {addon:?}, and the image has {image:?}")]
    Release {
        /// `.uname` of the addon.
        addon: String,
        /// `.uname` of the image.
        image: String,
    },
    /// The addon is for another architecture.
    #[error("the addon is for another architecture than the image, which is for {image}")]
    Arch {
        /// Architecture of the image.
        image: Arch,
    },
}

/// A unified kernel image and its addons cannot be booted together.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum UkiBootError {
    /// The image is malformed, or has no such profile.
    #[error(transparent)]
    Image(UkiError),
    /// The file is not a PE file, or has no section `.linux`.
    #[error("the file is not a unified kernel image: it is no PE file with a section \".linux\"")]
    NotUki,
    /// An addon is malformed.
    #[error("addon {index}: {source}")]
    Addon {
        /// Position of the addon, from 0.
        index: usize,
        /// Cause.
        source: UkiError,
    },
    /// An addon is not for the image.
    #[error("addon {index}: {source}")]
    Mismatch {
        /// Position of the addon, from 0.
        index: usize,
        /// Cause.
        source: AddonMismatch,
    },
}

/// A device tree for the machine could not be selected.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SelectTreeError {
    /// A file could not be read.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// The section `.hwids` is malformed.
    #[error(transparent)]
    Hwids(#[from] HwidsError),
    /// The section `.hwids` is longer than [`MAX_HWIDS_LEN`].
    #[error("the section \".hwids\" has {len} bytes; at most {MAX_HWIDS_LEN} are supported")]
    HwidsTooLong {
        /// Length of the section in bytes.
        len: u64,
    },
    /// A candidate is not a device tree.
    #[error("the section \".dtbauto\" with the index {index} is not a device tree: {source}")]
    Candidate {
        /// Index among the candidates, from 0.
        index: usize,
        /// Cause.
        source: RootCompatibleError,
    },
}

impl<F: Clone> UkiBoot<F> {
    /// A profile of an image, without addons.
    pub fn new(file: F, arch: Option<Arch>, profile: UkiProfile) -> Self {
        let section = |kind, range: &SourceRange| section(&file, kind, *range);
        let list = |kind, ranges: &[SourceRange]| -> Vec<_> {
            ranges.iter().map(|range| section(kind, range)).collect()
        };
        let one = |kind, range: &Option<SourceRange>| range.as_ref().map(|range| section(kind, range));
        let ucode = one(SectionKind::Ucode, &profile.ucode);
        let initrd = one(SectionKind::Initrd, &profile.initrd);
        Self {
            arch,
            kernel: section(SectionKind::Linux, &profile.linux),
            initrds: ucode.into_iter().chain(initrd).collect(),
            addon_cmdlines: Vec::new(),
            device_tree: one(SectionKind::Dtb, &profile.dtb),
            device_tree_candidates: list(SectionKind::Dtbauto, &profile.dtbauto),
            hwids: one(SectionKind::Hwids, &profile.hwids),
            overlays: Vec::new(),
            profile,
        }
    }

    /// Adds an addon. systemd-stub takes those for all images first, then those of the image, each in the order of their file names.
    ///
    /// # Errors
    ///
    /// [`AddonMismatch`] if the addon is not for this image; nothing is added then.
    pub fn add(&mut self, file: &F, addon: &Addon) -> Result<(), AddonMismatch> {
        if let Some(image) = self.arch.filter(|arch| addon.arch() != Some(*arch)) {
            return Err(AddonMismatch::Arch { image });
        }
        let uname = self.profile.uname.as_deref();
        if !addon.fits(uname) {
            return Err(AddonMismatch::Release {
                addon: addon.uname.clone().unwrap_or_default(),
                image: uname.map(String::from).unwrap_or_default(),
            });
        }
        let one = |kind, range: Option<SourceRange>| range.map(|range| section(file, kind, range));
        self.initrds.splice(0..0, one(SectionKind::Ucode, addon.ucode));
        self.initrds.extend(one(SectionKind::Initrd, addon.initrd));
        let cmdline = addon.cmdline.as_ref().filter(|line| !line.is_empty());
        self.addon_cmdlines.extend(cmdline.cloned());
        self.overlays.extend(one(SectionKind::Dtb, addon.dtb));
        // systemd-stub installs those of addons behind that of the image, in whose place they are.
        let candidates = addon.dtbauto.iter();
        let candidates = candidates.map(|range| section(file, SectionKind::Dtbauto, *range));
        self.device_tree_candidates.splice(0..0, candidates);
        Ok(())
    }

    /// The command line of the kernel: `own` or else that of the image, then those of the addons. `own` is what a caller passes in place of
    /// the image's, as a boot loader passes it to systemd-stub.
    #[must_use]
    pub fn cmdline(&self, own: Option<&str>) -> String {
        let first = own.or(self.profile.cmdline.as_deref());
        let mut line = String::new();
        let addons = self.addon_cmdlines.iter().map(String::as_str);
        for part in first.into_iter().chain(addons).filter(|part| !part.is_empty()) {
            if !line.is_empty() {
                line.push(' ');
            }
            line.push_str(part);
        }
        line
    }
}

fn section<F: Clone>(file: &F, kind: SectionKind, range: SourceRange) -> UkiSection<F> {
    UkiSection {
        file: file.clone(),
        kind,
        range,
    }
}

impl<F: ByteSource + Clone> UkiBoot<F> {
    /// Parses an image and addons. Only headers and short texts are read.
    ///
    /// # Errors
    ///
    /// [`UkiBootError`].
    pub fn open(
        image: F,
        profile: Option<&ProfileSelector>,
        addons: impl IntoIterator<Item = F>,
    ) -> Result<Self, UkiBootError> {
        let image_error = UkiBootError::Image;
        let (arch, profile) = {
            let source = SizedSource::new(&image).map_err(|error| image_error(error.into()))?;
            let uki = Uki::parse(source)
                .map_err(image_error)?
                .ok_or(UkiBootError::NotUki)?;
            (uki.arch(), uki.profile(profile).map_err(image_error)?)
        };
        let mut boot = Self::new(image, arch, profile);
        for (index, file) in addons.into_iter().enumerate() {
            let addon = SizedSource::new(&file)
                .map_err(UkiError::from)
                .and_then(Addon::parse);
            let addon = addon.map_err(|source| UkiBootError::Addon { index, source })?;
            boot.add(&file, &addon)
                .map_err(|source| UkiBootError::Mismatch { index, source })?;
        }
        Ok(boot)
    }

    /// The initrds as one, each at a multiple of four bytes, as the kernel gets them; `None` without any.
    ///
    /// # Errors
    ///
    /// [`ReadError`] if the length of a file cannot be read, or a file has become shorter.
    pub fn initrd(&self) -> Result<Option<Initrds<Window<&F>>>, ReadError> {
        let parts = self.initrds.iter().map(UkiSection::open);
        let parts = parts.collect::<Result<Vec<_>, _>>()?;
        (!parts.is_empty()).then(|| Initrds::new(parts)).transpose()
    }

    /// The device tree that systemd-stub installs on a machine: the first of the candidates for its model, else
    /// [`device_tree`](Self::device_tree). `None` keeps that of the machine.
    ///
    /// A candidate is for the machine if the first string of `compatible` of its root is `compatible`, the first of the machine's own
    /// device tree, or the one that `.hwids` has for one of `chids`, the hardware identifications of the machine.
    ///
    /// # Errors
    ///
    /// [`SelectTreeError`] of `.hwids`, or of a candidate before the one that is selected.
    pub fn device_tree_for(
        &self,
        compatible: Option<&str>,
        chids: &[Chid],
    ) -> Result<Option<&UkiSection<F>>, SelectTreeError> {
        let hwids = self.hwids.as_ref().filter(|_| !chids.is_empty());
        let table = hwids.map(Self::read_hwids).transpose()?;
        let of_hwids = match &table {
            Some(table) => compatible_of(table, chids)?,
            None => None,
        };
        for (index, candidate) in self.device_tree_candidates.iter().enumerate() {
            let window = candidate.open()?;
            let found = root_compatible(&SizedSource::new(&window)?);
            let found = found.map_err(|source| SelectTreeError::Candidate { index, source })?;
            if found.is_some() && [compatible, of_hwids].contains(&found.as_deref()) {
                return Ok(Some(candidate));
            }
        }
        Ok(self.device_tree.as_ref())
    }

    fn read_hwids(section: &UkiSection<F>) -> Result<Vec<u8>, SelectTreeError> {
        let len = section.range.len();
        let limit = usize::try_from(len).ok().filter(|len| *len <= MAX_HWIDS_LEN);
        let limit = limit.ok_or(SelectTreeError::HwidsTooLong { len })?;
        Ok(SizedSource::new(&section.open()?)?.read_vec(0, limit)?)
    }
}
