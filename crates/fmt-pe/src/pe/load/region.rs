//! Access rights of loaded images.

use alloc::vec::Vec;
use core::fmt;

use super::{PAGE_SIZE, range};
use crate::pe::constants::SectionFlags;
use crate::pe::file::PeFile;
use crate::pe::rva::RvaRange;
use crate::pe::section::Section;

/// Part of a loaded image with its access rights.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub struct Region {
    /// Addresses relative to the start of the image. The start is a multiple of [`PAGE_SIZE`]; the end, too, except for the
    /// last region, whose last page belongs to the image as a whole.
    pub range: RvaRange,
    /// Access rights.
    pub permissions: Permissions,
}

/// Access rights of memory. `Display` prints them like `r-x`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Permissions {
    /// The memory can be read.
    pub read: bool,
    /// The memory can be written.
    pub write: bool,
    /// The memory can be executed.
    pub execute: bool,
}

impl Permissions {
    /// All access rights.
    pub const ALL: Self = Self {
        read: true,
        write: true,
        execute: true,
    };

    /// Rights of headers and of gaps between sections.
    pub const READ_ONLY: Self = Self {
        read: true,
        write: false,
        execute: false,
    };

    /// True if the memory can be written and executed.
    #[must_use]
    pub const fn is_writable_code(self) -> bool {
        self.write && self.execute
    }

    const fn of(flags: SectionFlags) -> Self {
        Self {
            read: flags.contains(SectionFlags::MEM_READ),
            write: flags.contains(SectionFlags::MEM_WRITE),
            execute: flags.contains(SectionFlags::MEM_EXECUTE),
        }
    }
}

impl fmt::Display for Permissions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let flag = |is_set, letter| if is_set { letter } else { '-' };
        write!(
            f,
            "{}{}{}",
            flag(self.read, 'r'),
            flag(self.write, 'w'),
            flag(self.execute, 'x')
        )
    }
}

/// Access rights of the whole image, see [`ImageLayout::regions`](super::ImageLayout::regions).
pub(super) fn regions(pe: &PeFile<'_>) -> Vec<Region> {
    let header = pe.optional_header();
    let image = header.size_of_image;
    let mut sections: Vec<&Section> = pe.sections().iter().filter(|s| !s.range.is_empty()).collect();
    sections.sort_unstable_by_key(|section| section.range);
    if sections
        .iter()
        .any(|section| section.range.start() % PAGE_SIZE != 0)
    {
        return alloc::vec![Region {
            range: range(0, image),
            permissions: Permissions::ALL,
        }];
    }
    let mut regions = Vec::with_capacity(sections.len().saturating_mul(2).saturating_add(1));
    let mut at = 0;
    let mut push = |start: u32, end: u32, permissions| {
        if start < end {
            let range = range(start, end);
            regions.push(Region { range, permissions });
        }
    };
    for section in sections {
        let RvaPages { start, end } = pages(section.range, image);
        push(at, start, Permissions::READ_ONLY);
        push(start, end, Permissions::of(section.flags));
        at = end;
    }
    push(at, image, Permissions::READ_ONLY);
    regions
}

/// Pages of a section.
struct RvaPages {
    start: u32,
    end: u32,
}

/// The pages of `range`, without what is after the image.
fn pages(range: RvaRange, image: u32) -> RvaPages {
    let end = range.end().checked_next_multiple_of(PAGE_SIZE);
    RvaPages {
        start: range.start(),
        end: end.unwrap_or(u32::MAX).min(image),
    }
}
