//! Sections of unified kernel images, by profile.

use alloc::string::String;
use alloc::vec::Vec;
use core::fmt;

use boot_core::{SizedSource, SourceRange};
use fmt_pe::pe::PeFile;

use super::error::UkiError;
use crate::text::{self, MAX_TEXT_LEN, TextError};

/// Kind of a section of a unified kernel image. `Display` prints its name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum SectionKind {
    /// `.linux`: kernel.
    Linux,
    /// `.osrel`: `os-release`.
    Osrel,
    /// `.cmdline`: command line.
    Cmdline,
    /// `.initrd`
    Initrd,
    /// `.ucode`: microcode.
    Ucode,
    /// `.splash`: picture.
    Splash,
    /// `.dtb`: device tree.
    Dtb,
    /// `.dtbauto`: device tree for one model of machines.
    Dtbauto,
    /// `.hwids`: models by hardware identification.
    Hwids,
    /// `.uname`: release of the kernel.
    Uname,
    /// `.sbat`: generations for revocation.
    Sbat,
    /// `.pcrsig`: signatures of TPM measurements.
    Pcrsig,
    /// `.pcrpkey`: key of these signatures.
    Pcrpkey,
    /// `.efifw`: firmware image.
    Efifw,
    /// `.profile`: start of a profile.
    Profile,
}

impl SectionKind {
    const ALL: [Self; 15] = [
        Self::Linux,
        Self::Osrel,
        Self::Cmdline,
        Self::Initrd,
        Self::Ucode,
        Self::Splash,
        Self::Dtb,
        Self::Dtbauto,
        Self::Hwids,
        Self::Uname,
        Self::Sbat,
        Self::Pcrsig,
        Self::Pcrpkey,
        Self::Efifw,
        Self::Profile,
    ];

    /// Name of the section.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Linux => ".linux",
            Self::Osrel => ".osrel",
            Self::Cmdline => ".cmdline",
            Self::Initrd => ".initrd",
            Self::Ucode => ".ucode",
            Self::Splash => ".splash",
            Self::Dtb => ".dtb",
            Self::Dtbauto => ".dtbauto",
            Self::Hwids => ".hwids",
            Self::Uname => ".uname",
            Self::Sbat => ".sbat",
            Self::Pcrsig => ".pcrsig",
            Self::Pcrpkey => ".pcrpkey",
            Self::Efifw => ".efifw",
            Self::Profile => ".profile",
        }
    }

    /// True if the section may occur several times in a profile. The specification permits it for `.dtbauto`; several
    /// archives have an order, so that they are not ambiguous.
    const fn may_repeat(self) -> bool {
        matches!(
            self,
            Self::Initrd | Self::Ucode | Self::Dtbauto | Self::Efifw | Self::Profile
        )
    }

    fn of(name: &[u8]) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.name().as_bytes() == name)
    }
}

impl fmt::Display for SectionKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// Sections in the order of the section table.
#[derive(Clone, Debug)]
pub(super) struct Sections(Vec<Section>);

#[derive(Clone, Copy, Debug)]
struct Section {
    kind: SectionKind,
    /// `None` for the base.
    profile: Option<u32>,
    data: SourceRange,
}

impl Sections {
    /// Sorts the sections by profile, and checks that none repeats that may not.
    pub(super) fn new(pe: &PeFile<'_>) -> Result<Self, UkiError> {
        let (mut sections, mut profile) = (Vec::<Section>::new(), None);
        for section in pe.sections() {
            let Some(kind) = SectionKind::of(section.name.as_bytes()) else {
                continue;
            };
            if kind == SectionKind::Profile {
                profile = Some(profile.map_or(0, |number: u32| number.saturating_add(1)));
            }
            let is_same = |other: &&Section| other.kind == kind && other.profile == profile;
            if !kind.may_repeat() && sections.iter().any(|other| is_same(&other)) {
                return Err(UkiError::Repeated {
                    section: kind,
                    profile,
                });
            }
            let data = section.data;
            sections.push(Section { kind, profile, data });
        }
        Ok(Self(sections))
    }

    pub(super) fn has_kernel(&self) -> bool {
        self.0.iter().any(|section| section.kind == SectionKind::Linux)
    }

    pub(super) fn profile_count(&self) -> u32 {
        let last = self.0.iter().rev().find_map(|section| section.profile);
        last.map_or(0, |number| number.saturating_add(1))
    }

    /// The `.profile` section of a profile.
    pub(super) fn profile(&self, number: u32) -> Option<SourceRange> {
        self.of(Some(number), SectionKind::Profile).first().copied()
    }

    /// Sections of a kind: those of the profile, or if it has none, those of the base.
    pub(super) fn select(&self, profile: Option<u32>, kind: SectionKind) -> Vec<SourceRange> {
        let own = self.of(profile, kind);
        if own.is_empty() { self.of(None, kind) } else { own }
    }

    fn of(&self, profile: Option<u32>, kind: SectionKind) -> Vec<SourceRange> {
        let matching = |section: &&Section| section.kind == kind && section.profile == profile;
        let matching = self.0.iter().filter(matching);
        matching.map(|section| section.data).collect()
    }
}

/// Reads a section with text, without zeros at its end.
pub(super) fn read_text(
    source: &SizedSource<'_>,
    section: SectionKind,
    range: SourceRange,
) -> Result<String, UkiError> {
    let max = usize::try_from(range.len())
        .ok()
        .filter(|len| *len <= MAX_TEXT_LEN);
    let Some(len) = max else {
        let source = TextError::TooLong { len: range.len() };
        return Err(UkiError::Text { section, source });
    };
    let bytes = source.read_vec(range.offset(), len)?;
    let end = bytes.iter().rposition(|byte| *byte != 0);
    let end = end.map_or(0, |last| last.saturating_add(1));
    let text = text::decode(bytes.get(..end).unwrap_or_default());
    Ok(String::from(
        text.map_err(|source| UkiError::Text { section, source })?,
    ))
}
