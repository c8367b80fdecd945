//! Sections of unified kernel images, by profile.

use alloc::string::String;
use alloc::vec::Vec;

use boot_core::{SizedSource, SourceRange};
use fmt_pe::pe::PeFile;

use super::error::UkiError;
use super::kind::SectionKind;
use crate::text::{self, MAX_TEXT_LEN, TextError};

/// Sections in the order of the section table.
#[derive(Clone, Debug)]
pub(super) struct Sections(Vec<ProfileSection>);

/// Section of a unified kernel image, and the part of the image that it belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ProfileSection {
    /// Number of the profile; `None` for the base.
    pub profile: Option<u32>,
    /// Kind of the section.
    pub kind: SectionKind,
    /// Its bytes in the file.
    pub range: SourceRange,
}

impl Sections {
    /// Sorts the sections by profile, and checks that none repeats that may not.
    pub(super) fn new(pe: &PeFile<'_>) -> Result<Self, UkiError> {
        let (mut sections, mut profile) = (Vec::<ProfileSection>::new(), None);
        for section in pe.sections() {
            let Some(kind) = SectionKind::of(section.name.as_bytes()) else {
                continue;
            };
            if kind == SectionKind::Profile {
                profile = Some(profile.map_or(0, |number: u32| number.saturating_add(1)));
            }
            let is_same = |other: &&ProfileSection| other.kind == kind && other.profile == profile;
            if !kind.may_repeat() && sections.iter().any(|other| is_same(&other)) {
                return Err(UkiError::Repeated {
                    section: kind,
                    profile,
                });
            }
            let range = section.data;
            sections.push(ProfileSection { profile, kind, range });
        }
        Ok(Self(sections))
    }

    pub(super) fn all(&self) -> &[ProfileSection] {
        &self.0
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
        let matching = |section: &&ProfileSection| section.kind == kind && section.profile == profile;
        let matching = self.0.iter().filter(matching);
        matching.map(|section| section.range).collect()
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
