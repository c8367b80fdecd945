//! Addons of unified kernel images (UAPI.5, "PE Addons").

use alloc::string::String;
use alloc::vec::Vec;

use boot_core::{Arch, SizedSource, SourceRange};
use fmt_pe::pe::{Machine, PeFile};

use super::error::UkiError;
use super::kind::SectionKind;
use super::sections::{Sections, read_text};
use super::{arch, clean_cmdline};

/// Addon: a PE file whose sections are added to those of a unified kernel image.
///
/// Nothing here checks its signature. A loader with Secure Boot must verify it, or must not use it.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Addon {
    /// Machine type.
    pub machine: Machine,
    /// `.cmdline`: added to the command line of the image.
    pub cmdline: Option<String>,
    /// `.uname`: release of the kernel that the addon is for, if it is for one release.
    pub uname: Option<String>,
    /// `.ucode`: microcode archive, before that of the image.
    pub ucode: Option<SourceRange>,
    /// `.initrd`: after that of the image.
    pub initrd: Option<SourceRange>,
    /// `.dtb`: applied as an overlay to the device tree of the image.
    pub dtb: Option<SourceRange>,
    /// `.dtbauto`: the same for single models of machines.
    pub dtbauto: Vec<SourceRange>,
}

impl Addon {
    /// Parses the headers and the texts of an addon.
    ///
    /// # Errors
    ///
    /// [`UkiError`] if the file is not an addon, is malformed, or cannot be read.
    pub fn parse(source: SizedSource<'_>) -> Result<Self, UkiError> {
        let pe = PeFile::parse(source)?.ok_or(UkiError::AddonNotPe)?;
        let sections = Sections::new(&pe)?;
        if sections.has_kernel() {
            return Err(UkiError::AddonWithKernel);
        }
        let all = |kind| sections.select(None, kind);
        let one = |kind| all(kind).first().copied();
        let text = |kind| one(kind).map(|range| read_text(&source, kind, range)).transpose();
        let addon = Self {
            machine: pe.machine(),
            cmdline: text(SectionKind::Cmdline)?.as_deref().map(clean_cmdline),
            uname: text(SectionKind::Uname)?.as_deref().map(clean_cmdline),
            ucode: one(SectionKind::Ucode),
            initrd: one(SectionKind::Initrd),
            dtb: one(SectionKind::Dtb),
            dtbauto: all(SectionKind::Dtbauto),
        };
        let is_empty = addon.cmdline.is_none()
            && [addon.dtb, addon.ucode, addon.initrd].iter().all(Option::is_none)
            && addon.dtbauto.is_empty();
        if is_empty {
            return Err(UkiError::AddonEmpty);
        }
        Ok(addon)
    }

    /// Architecture; `None` if this workspace does not support it.
    #[must_use]
    pub fn arch(&self) -> Option<Arch> {
        arch(self.machine)
    }

    /// True if the addon may be used with a kernel of this release: if both have one, they must be equal (systemd-stub(7)).
    #[must_use]
    pub fn fits(&self, uname: Option<&str>) -> bool {
        match (&self.uname, uname) {
            (Some(own), Some(other)) => own == other,
            _ => true,
        }
    }
}
