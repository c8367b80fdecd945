//! Unified kernel images and their addons (UAPI.5 "Unified Kernel Image" 1.0; systemd-stub(7)).
//!
//! Only headers and short texts are read. Kernel, initrds and device trees are ranges of the file: a
//! [`Window`](crate::Window) gives access to their bytes.

mod addon;
mod boot;
mod error;
mod kind;
mod sections;

use alloc::string::String;
use alloc::vec::Vec;

use boot_core::{Arch, SizedSource, SourceRange};
use fmt_pe::pe::{Machine, PeFile};

pub use addon::Addon;
pub use boot::{AddonMismatch, MAX_HWIDS_LEN, SelectTreeError, UkiBoot, UkiBootError, UkiSection};
pub use error::UkiError;
pub use kind::SectionKind;
pub use sections::ProfileSection;

use crate::os_release::{OsRelease, assignments};
use crate::type1::ProfileSelector;
use sections::{Sections, read_text};

/// Unified kernel image with its sections sorted by profile.
#[derive(Clone, Debug)]
pub struct Uki<'a> {
    source: SizedSource<'a>,
    machine: Machine,
    sections: Sections,
}

/// What a profile of a unified kernel image boots: its own sections, and those of the base that it does not replace.
///
/// A range has the bytes of a section that are in the file. A section that is longer in memory continues with zeros.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct UkiProfile {
    /// Number of the profile; `None` if the image has no profiles.
    pub number: Option<u32>,
    /// `ID=` of the `.profile` section.
    pub id: Option<String>,
    /// `TITLE=` of the `.profile` section.
    pub title: Option<String>,
    /// `.linux`: kernel.
    pub linux: SourceRange,
    /// `.ucode`: microcode archive, which comes before the initrd.
    pub ucode: Option<SourceRange>,
    /// `.initrd`
    pub initrd: Option<SourceRange>,
    /// `.cmdline`, with spaces in place of control characters.
    pub cmdline: Option<String>,
    /// `.osrel`
    pub os_release: OsRelease,
    /// `.uname`: release of the kernel.
    pub uname: Option<String>,
    /// `.dtb`: device tree.
    pub dtb: Option<SourceRange>,
    /// `.dtbauto`: device trees for single models of machines. The first that matches the machine replaces `.dtb`.
    pub dtbauto: Vec<SourceRange>,
    /// `.hwids`: models by hardware identification, see [`compatible_of`](crate::compatible_of).
    pub hwids: Option<SourceRange>,
    /// `.splash`: picture.
    pub splash: Option<SourceRange>,
    /// `.sbat`: generations for revocation.
    pub sbat: Option<SourceRange>,
    /// `.pcrsig`: signatures of TPM measurements.
    pub pcrsig: Option<SourceRange>,
    /// `.pcrpkey`: key of these signatures.
    pub pcrpkey: Option<SourceRange>,
    /// `.efifw`: firmware images for single models of machines.
    pub efifw: Vec<SourceRange>,
}

impl<'a> Uki<'a> {
    /// Parses the headers. `Ok(None)` if the source is not a PE file, or has no `.linux` section.
    ///
    /// # Errors
    ///
    /// [`UkiError`] if the PE headers are malformed, a section repeats that may occur once, or the source cannot be read.
    pub fn parse(source: SizedSource<'a>) -> Result<Option<Self>, UkiError> {
        let Some(pe) = PeFile::parse(source)? else {
            return Ok(None);
        };
        let sections = Sections::new(&pe)?;
        if !sections.has_kernel() {
            return Ok(None);
        }
        Ok(Some(Self {
            source,
            machine: pe.machine(),
            sections,
        }))
    }

    /// Machine type.
    #[must_use]
    pub fn machine(&self) -> Machine {
        self.machine
    }

    /// Architecture; `None` if this workspace does not support it.
    #[must_use]
    pub fn arch(&self) -> Option<Arch> {
        arch(self.machine)
    }

    /// Number of `.profile` sections. Without one, the image has only its base, and can be booted as well.
    #[must_use]
    pub fn profile_count(&self) -> u32 {
        self.sections.profile_count()
    }

    /// All sections of the kinds of [`SectionKind`], in the order of the section table.
    #[must_use]
    pub fn sections(&self) -> &[ProfileSection] {
        self.sections.all()
    }

    /// Sections of a profile; of profile 0, or the base of an image without profiles, if none is selected.
    ///
    /// # Errors
    ///
    /// [`UkiError`] if there is no such profile, it has no kernel, a text in it is invalid, or the source cannot be read.
    pub fn profile(&self, selector: Option<&ProfileSelector>) -> Result<UkiProfile, UkiError> {
        match selector {
            None if self.profile_count() == 0 => self.read_profile(None),
            None => self.read_profile(Some(0)),
            Some(ProfileSelector::Number(number)) => self.numbered_profile(*number),
            Some(ProfileSelector::Id(id)) => self.profile_with_id(id),
        }
    }

    fn numbered_profile(&self, number: u32) -> Result<UkiProfile, UkiError> {
        let count = self.profile_count();
        match number {
            // The base of an image without profiles counts as profile 0.
            0 if count == 0 => self.read_profile(None),
            _ if number < count => self.read_profile(Some(number)),
            _ => Err(UkiError::NoSuchProfile { number, count }),
        }
    }

    fn profile_with_id(&self, id: &str) -> Result<UkiProfile, UkiError> {
        for number in 0..self.profile_count() {
            let found = match self.describe(Some(number)) {
                Ok((found, _)) => found,
                // Not the profile that is looked for.
                Err(UkiError::Text { .. }) => None,
                Err(error) => return Err(error),
            };
            if found.as_deref() == Some(id) {
                return self.read_profile(Some(number));
            }
        }
        let id = crate::note::cut(id);
        Err(UkiError::NoSuchProfileId { id })
    }

    /// `ID=` and `TITLE=` of a profile.
    fn describe(&self, number: Option<u32>) -> Result<(Option<String>, Option<String>), UkiError> {
        let (mut id, mut title) = (None, None);
        if let Some(range) = number.and_then(|number| self.sections.profile(number)) {
            let text = read_text(&self.source, SectionKind::Profile, range)?;
            for (key, value) in assignments(&text) {
                match key {
                    "ID" => id = Some(value),
                    "TITLE" => title = Some(value),
                    _ => {}
                }
            }
        }
        Ok((id, title))
    }

    fn read_profile(&self, number: Option<u32>) -> Result<UkiProfile, UkiError> {
        let (id, title) = self.describe(number)?;
        let all = |kind| self.sections.select(number, kind);
        let one = |kind| all(kind).first().copied();
        let text = |kind| {
            one(kind)
                .map(|range| read_text(&self.source, kind, range))
                .transpose()
        };
        let linux = one(SectionKind::Linux).filter(|range| !range.is_empty());
        let os_release = text(SectionKind::Osrel)?;
        let os_release = os_release
            .map(|text| OsRelease::parse(text.as_bytes()))
            .transpose();
        Ok(UkiProfile {
            number,
            id,
            title,
            linux: linux.ok_or(UkiError::NoKernel { profile: number })?,
            ucode: one(SectionKind::Ucode),
            initrd: one(SectionKind::Initrd),
            cmdline: text(SectionKind::Cmdline)?.as_deref().map(clean_cmdline),
            os_release: os_release
                .map_err(|source| UkiError::Text {
                    section: SectionKind::Osrel,
                    source,
                })?
                .unwrap_or_default(),
            uname: text(SectionKind::Uname)?.as_deref().map(clean_cmdline),
            dtb: one(SectionKind::Dtb),
            dtbauto: all(SectionKind::Dtbauto),
            hwids: one(SectionKind::Hwids),
            splash: one(SectionKind::Splash),
            sbat: one(SectionKind::Sbat),
            pcrsig: one(SectionKind::Pcrsig),
            pcrpkey: one(SectionKind::Pcrpkey),
            efifw: all(SectionKind::Efifw),
        })
    }
}

/// Architecture of a machine type.
fn arch(machine: Machine) -> Option<Arch> {
    match machine {
        Machine::AMD64 => Some(Arch::X86_64),
        Machine::ARM64 => Some(Arch::Aarch64),
        Machine::RISCV64 => Some(Arch::Riscv64),
        _ => None,
    }
}

/// Replaces control characters of ASCII, such as a newline at the end, by spaces and removes spaces at the ends, as systemd-stub does.
fn clean_cmdline(text: &str) -> String {
    let text: String = text
        .chars()
        .map(|c| if c.is_ascii_control() { ' ' } else { c })
        .collect();
    String::from(text.trim_matches(' '))
}
