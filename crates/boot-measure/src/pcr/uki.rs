//! PCR 11: the sections of unified kernel images, and the phases of a boot (UAPI.5 "Unified Kernel Image", "Measuring PE Sections";
//! systemd-stub(7), systemd-pcrphase.service(8)).

use alloc::vec::Vec;

use boot_core::{ByteSource, ReadError};
use fmt_pe::pe::{PeFile, Section};

use super::Pcr;
use crate::HashAlgorithm;
use crate::authenticode::section_content;
use crate::content::Content;

/// The sections that are measured, in this order. `.pcrsig` is not among them: it has signatures of the result.
pub const MEASURED_SECTIONS: [&str; 14] = [
    ".linux", ".osrel", ".cmdline", ".initrd", ".ucode", ".splash", ".dtb", ".uname", ".sbat", ".pcrpkey",
    ".profile", ".dtbauto", ".hwids", ".efifw",
];

/// The phases of a boot that systemd measures after the sections, one after the other.
pub const BOOT_PHASES: [&str; 4] = ["enter-initrd", "leave-initrd", "sysinit", "ready"];

/// Why the sections of an image cannot be measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum UkiSectionsError {
    /// The image has no such profile.
    #[error("there is no profile {wanted}: the image has {found} profiles")]
    NoProfile {
        /// The profile.
        wanted: u32,
        /// Number of profiles.
        found: usize,
    },
    /// No such `.dtbauto` section.
    #[error("there is no .dtbauto section {wanted}: {found} sections of that name apply")]
    NoDeviceTree {
        /// Its index.
        wanted: usize,
        /// Number of such sections.
        found: usize,
    },
    /// The image has no `.linux` section.
    #[error("the file is no unified kernel image: it has no .linux section")]
    NoKernel,
    /// The section is not measured into PCR 11.
    #[error("sections of this name are not measured: {}", .0)]
    NotMeasured(&'static str),
}

/// The sections of a unified kernel image that a boot measures: at most one of each name.
#[derive(Clone, Debug, Default)]
pub struct UkiSections<'a> {
    measured: [Option<Content<'a>>; 14],
    /// `.pcrsig`, which is not measured.
    signature: Option<Content<'a>>,
}

impl<'a> UkiSections<'a> {
    /// No sections.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Sets a section by its name, such as `.linux`. Sections without bytes are not measured, nor is `.pcrsig`.
    ///
    /// # Errors
    ///
    /// [`UkiSectionsError::NotMeasured`] for another name that is not in [`MEASURED_SECTIONS`].
    pub fn set(&mut self, name: &'static str, content: Content<'a>) -> Result<(), UkiSectionsError> {
        if name == ".pcrsig" {
            self.signature = Some(content);
            return Ok(());
        }
        self.set_if_measured(name.as_bytes(), content)
            .ok_or(UkiSectionsError::NotMeasured(name))
    }

    fn set_if_measured(&mut self, name: &[u8], content: Content<'a>) -> Option<()> {
        let mut measured = MEASURED_SECTIONS.iter();
        let index = measured.position(|measured| measured.as_bytes() == name)?;
        *self.measured.get_mut(index)? = Some(content);
        Some(())
    }

    /// The section of this name; also `.pcrsig`, which is not measured.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&Content<'a>> {
        if name == ".pcrsig" {
            return self.signature.as_ref();
        }
        let index = MEASURED_SECTIONS.iter().position(|measured| *measured == name)?;
        self.measured.get(index)?.as_ref()
    }

    /// The sections that systemd-stub takes of an image for a profile: those before the first `.profile` section, and in place of
    /// them those of the profile, the first of each name. Profile 0 of an image without profiles is the image.
    ///
    /// Which `.dtbauto` section applies depends on the machine: `device_tree` is its index among those of the image that belong
    /// to the profile, or to the base if the profile has none. With `None`, none of them applies.
    ///
    /// # Errors
    ///
    /// [`UkiSectionsError`] where the image has no kernel, or not this profile or device tree.
    pub fn of_image(
        pe: &PeFile<'_>,
        source: &'a dyn ByteSource,
        profile: u32,
        device_tree: Option<usize>,
    ) -> Result<Self, UkiSectionsError> {
        let mut groups = pe
            .sections()
            .chunk_by(|_, next| next.name.as_bytes() != b".profile")
            .peekable();
        let starts_with_profile = |group: &&[Section]| {
            group
                .first()
                .is_some_and(|first| first.name.as_bytes() == b".profile")
        };
        let base = groups
            .next_if(|group| !starts_with_profile(group))
            .unwrap_or_default();
        let profiles: Vec<&[Section]> = groups.collect();
        let wanted = usize::try_from(profile).unwrap_or(usize::MAX);
        let own = match profiles.get(wanted) {
            Some(own) => own,
            None if profile == 0 => &[][..],
            None => {
                return Err(UkiSectionsError::NoProfile {
                    wanted: profile,
                    found: profiles.len(),
                });
            }
        };
        let mut sections = Self::new();
        for group in [base, own] {
            // The first section of a name is the one that stays.
            for section in group.iter().rev() {
                let name = section.name.as_bytes();
                if name == b".pcrsig" && !section.range.is_empty() {
                    sections.signature = Some(section_content(source, section));
                }
                if name != b".dtbauto" && !section.range.is_empty() {
                    // Other sections are not measured.
                    let _unmeasured = sections.set_if_measured(name, section_content(source, section));
                }
            }
        }
        if let Some(wanted) = device_tree {
            let is_tree = |section: &&Section| section.name.as_bytes() == b".dtbauto";
            let group = if own.iter().any(|section| is_tree(&section)) {
                own
            } else {
                base
            };
            let trees: Vec<&Section> = group.iter().filter(is_tree).collect();
            let Some(tree) = trees.get(wanted) else {
                return Err(UkiSectionsError::NoDeviceTree {
                    wanted,
                    found: trees.len(),
                });
            };
            sections.set(".dtbauto", section_content(source, tree))?;
        }
        match sections.get(".linux") {
            Some(_) => Ok(sections),
            None => Err(UkiSectionsError::NoKernel),
        }
    }

    /// PCR 11 after systemd-stub, and after these phases of the boot: the first so many of [`BOOT_PHASES`], or others.
    ///
    /// The name of each section is measured with a NUL, then its content as it is in memory; phases without a NUL.
    ///
    /// # Errors
    ///
    /// The error of a source.
    pub fn pcr11(&self, bank: HashAlgorithm, phases: &[&str]) -> Result<Pcr, ReadError> {
        let mut pcr = Pcr::new(bank);
        for (name, content) in MEASURED_SECTIONS.iter().zip(&self.measured) {
            let Some(content) = content.filter(|content| !content.is_empty()) else {
                continue;
            };
            let mut name = name.as_bytes().to_vec();
            name.push(0);
            pcr.measure(&name);
            pcr.measure_content(&content)?;
        }
        for phase in phases {
            pcr.measure(phase.as_bytes());
        }
        Ok(pcr)
    }
}
