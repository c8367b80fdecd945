//! Errors of unified kernel images.

use alloc::string::String;

use boot_core::ReadError;
use fmt_pe::pe::PeError;

use super::kind::SectionKind;
use crate::text::TextError;

/// Error in a unified kernel image or an addon.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum UkiError {
    /// The file could not be read.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// The PE headers are malformed or unsupported.
    #[error(transparent)]
    Pe(#[from] PeError),
    /// A section does not have the text that it should have.
    #[error("the section \"{section}\": {source}")]
    Text {
        /// Section.
        section: SectionKind,
        /// Cause.
        source: TextError,
    },
    /// A section occurs twice in a profile or the base, and may occur once. What is signed and what is booted could differ.
    #[error("the section \"{section}\" occurs twice in {}", Part(*.profile))]
    Repeated {
        /// Section.
        section: SectionKind,
        /// Profile; `None` for the base.
        profile: Option<u32>,
    },
    /// A profile has no kernel, or an empty one.
    #[error("the section \"{}\" is absent or empty in {}", SectionKind::Linux, Part(*.profile))]
    NoKernel {
        /// Profile; `None` for the base.
        profile: Option<u32>,
    },
    /// The image has no profile of this number.
    #[error("the image has no profile {number}; it has {count}, counted from 0")]
    NoSuchProfile {
        /// Selected number.
        number: u32,
        /// Number of profiles.
        count: u32,
    },
    /// The image has no profile with this identification.
    #[error("the image has no profile with \"ID={id}\"")]
    NoSuchProfileId {
        /// Selected identification, possibly cut.
        id: String,
    },
    /// A file that should be an addon is not a PE file.
    #[error("the addon is not a PE file")]
    AddonNotPe,
    /// An addon contains a kernel.
    #[error(
        "the addon has a section \"{}\", so it is a unified kernel image",
        SectionKind::Linux
    )]
    AddonWithKernel,
    /// An addon has none of the sections that apply to an image.
    #[error("the addon has none of the sections .cmdline, .dtb, .dtbauto, .ucode and .initrd")]
    AddonEmpty,
}

/// Part of an image, for messages.
struct Part(Option<u32>);

impl core::fmt::Display for Part {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        match self.0 {
            Some(number) => write!(f, "profile {number}"),
            None => f.write_str("the base of the image"),
        }
    }
}
