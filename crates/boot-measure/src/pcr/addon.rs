//! Addons of unified kernel images (systemd-stub(7), "Companion Files"): PE files without a kernel.

use alloc::string::String;
use alloc::vec;

use boot_core::{ByteSource, ReadError};
use fmt_pe::pe::PeFile;

use crate::authenticode::section_content;
use crate::content::Content;

/// Longest text of a section `.cmdline` in bytes.
const CMDLINE_MAX: u64 = 1 << 20;

/// What an addon adds to a boot.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct Addon<'a> {
    /// Text of `.cmdline`.
    pub cmdline: Option<String>,
    /// `.dtb`.
    pub device_tree: Option<Content<'a>>,
    /// `.ucode`.
    pub ucode: Option<Content<'a>>,
    /// `.initrd`.
    pub initrd: Option<Content<'a>>,
}

/// Why a file is no addon.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum AddonError {
    /// The file has a kernel.
    #[error("the file has a section .linux: it is a unified kernel image, which is no addon")]
    Kernel,
    /// The file has nothing that an addon can add.
    #[error("the file has none of the sections .cmdline, .dtb, .initrd and .ucode, so it is no addon")]
    Empty,
    /// The text of a section is too long or no UTF-8.
    #[error("the section .cmdline is not a text in UTF-8 of at most {CMDLINE_MAX} bytes")]
    Text,
    /// The file cannot be read.
    #[error("the file cannot be read")]
    Read(#[from] ReadError),
}

impl<'a> Addon<'a> {
    /// The sections of an addon. Device trees for single models of machines (`.dtbauto`) are left out.
    ///
    /// # Errors
    ///
    /// [`AddonError`] where the file is no addon, or cannot be read.
    pub fn of_image(pe: &PeFile<'_>, source: &'a dyn ByteSource) -> Result<Self, AddonError> {
        let find = |name: &[u8]| {
            let section = pe.section(name).filter(|section| !section.range.is_empty());
            section.map(|section| section_content(source, section))
        };
        if find(b".linux").is_some() {
            return Err(AddonError::Kernel);
        }
        let addon = Self {
            cmdline: find(b".cmdline").map(|content| text(&content)).transpose()?,
            device_tree: find(b".dtb"),
            ucode: find(b".ucode"),
            initrd: find(b".initrd"),
        };
        match &addon {
            Self {
                cmdline: None,
                device_tree: None,
                ucode: None,
                initrd: None,
            } => Err(AddonError::Empty),
            _ => Ok(addon),
        }
    }
}

/// The text of a section, such as `.cmdline` of an image.
///
/// # Errors
///
/// [`AddonError::Text`] where it is too long or no UTF-8, [`AddonError::Read`] of the source.
pub fn text(content: &Content<'_>) -> Result<String, AddonError> {
    let len = usize::try_from(content.len().min(CMDLINE_MAX.saturating_add(1)));
    let len = len
        .ok()
        .filter(|_| content.len() <= CMDLINE_MAX)
        .ok_or(AddonError::Text)?;
    let mut bytes = vec![0; len];
    content.read_exact_at(0, &mut bytes)?;
    String::from_utf8(bytes).or(Err(AddonError::Text))
}
