//! Sections of unified kernel images.

use std::fmt;

use bls::uki::ProfileSection;
use boot_core::ByteCount;
use serde::{Deserialize, Serialize};

use super::Hex;

/// Report on a section of a unified kernel image that a boot uses.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct SectionReport {
    /// Name of the section, such as `.initrd`.
    pub name: String,
    /// Number of the profile that the section belongs to; `None` for the base of the image.
    pub profile: Option<u32>,
    /// Offset in the image, which is the file or, if that is compressed, a layer of it.
    pub offset: Hex,
    /// Length in bytes.
    pub len: u64,
    /// Name of the file that `vmboot extract` writes.
    pub file: String,
}

impl SectionReport {
    /// Reports on the sections of an image, in the order of its section table. Those of a name that occurs again in a profile are numbered.
    #[must_use]
    pub fn of_image(sections: &[ProfileSection]) -> Vec<Self> {
        let is_same = |a: &ProfileSection, b: &ProfileSection| a.kind == b.kind && a.profile == b.profile;
        let reports = sections.iter().enumerate().map(|(index, section)| {
            let count = sections.iter().filter(|other| is_same(section, other)).count();
            let before = sections.iter().take(index);
            let number = before.filter(|other| is_same(section, other)).count();
            Self::new(section, (count > 1).then_some(number))
        });
        reports.collect()
    }

    fn new(section: &ProfileSection, number: Option<usize>) -> Self {
        let name = section.kind.name();
        let part = section
            .profile
            .map_or_else(|| "base".to_owned(), |profile| format!("profile-{profile}"));
        let number = number.map(|number| format!("-{number}")).unwrap_or_default();
        Self {
            name: name.to_owned(),
            profile: section.profile,
            offset: Hex(section.range.offset()),
            len: section.range.len(),
            file: format!("{part}-{}{number}", name.trim_start_matches('.')),
        }
    }
}

/// One line.
impl fmt::Display for SectionReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.name)?;
        if let Some(profile) = self.profile {
            write!(f, " of profile {profile}")?;
        }
        write!(f, ": {} at {}", ByteCount(self.len), self.offset)
    }
}
