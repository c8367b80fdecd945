//! `PT_LOAD` segments and the physical address of the entry point.

use alloc::vec::Vec;

use boot_core::{GuestRange, Segment, SourceRange};

use crate::encoding::Class;
use crate::error::ElfError;
use crate::file::ElfFile;
use crate::header::{ProgramHeader, field};
use crate::raw;
use crate::warning::{Warning, Warnings};

/// The loadable segments of a file, collected one program header at a time.
#[derive(Debug, Default)]
pub(crate) struct LoadSegments {
    /// Program header index of each segment, and the segment.
    segments: Vec<(u32, Segment)>,
    /// Highest `p_align`.
    align: u64,
    entry: EntryLookup,
}

/// Result of looking up `e_entry` in the segments added so far.
#[derive(Clone, Copy, Debug, Default)]
struct EntryLookup {
    /// Physical address, if `e_entry` is a virtual address of an executable segment.
    by_vaddr: Option<u64>,
    /// A different physical address by the virtual addresses of another segment.
    conflict: Option<u64>,
    /// True if `e_entry` is a physical address of a segment.
    by_paddr: bool,
    /// Distance from physical to virtual addresses of that segment, if it is executable.
    distance: Option<u64>,
}

impl LoadSegments {
    /// Checks a `PT_LOAD` program header and adds its segment. A segment without a size in memory is skipped.
    pub(crate) fn add(
        &mut self,
        file: &ElfFile<'_>,
        header: &ProgramHeader,
        warnings: &mut Warnings,
    ) -> Result<(), ElfError> {
        check_sizes(header)?;
        if header.p_memsz == 0 {
            return Ok(());
        }
        check_alignment(header, warnings);
        let last = last_address(header, header.p_vaddr).unwrap_or_else(|| {
            warnings.add(Warning::VirtualAddressOverflow {
                index: header.index,
                field: field!(header.class, Phdr32 | Phdr64 @ header.header_offset, p_vaddr),
                vaddr: header.p_vaddr,
                memsz: header.p_memsz,
                more: 0,
            });
            highest_address(header.class)
        });
        let overflow = || ElfError::AddressOverflow {
            index: header.index,
            field: field!(header.class, Phdr32 | Phdr64 @ header.header_offset, p_paddr),
            start: header.p_paddr,
            memsz: header.p_memsz,
            class: header.class,
        };
        last_address(header, header.p_paddr).ok_or_else(overflow)?;
        let range = GuestRange::new(header.p_paddr, header.p_memsz).ok_or_else(overflow)?;
        // `p_offset` of a segment without file content has no meaning and is not checked.
        let source = if header.p_filesz == 0 {
            SourceRange::whole(0)
        } else {
            file.content(header)?
        };
        self.segments.push((header.index, Segment::new(source, range)));
        if header.p_align.is_power_of_two() {
            self.align = self.align.max(header.p_align);
        }
        self.entry.add_segment(header, last, range, file.header().e_entry);
        Ok(())
    }

    /// Highest `p_align` of all segments that is a power of two; else zero.
    pub(crate) fn align(&self) -> u64 {
        self.align
    }

    /// If `e_entry` is only a physical address, of an executable segment: the distance from there to its virtual address.
    pub(crate) fn entry_distance(&self) -> Option<u64> {
        self.entry.distance.filter(|_| self.entry.by_vaddr.is_none())
    }

    /// Sorts the segments by physical address and checks that there is at least one and that no two overlap.
    pub(crate) fn sort_and_check(&mut self, file: &ElfFile<'_>) -> Result<(), ElfError> {
        if self.segments.is_empty() {
            let count = file.program_header_count();
            return Err(ElfError::NoLoadableSegment { count });
        }
        self.segments
            .sort_unstable_by_key(|(index, segment)| (segment.range, *index));
        for pair in self.segments.windows(2) {
            match pair {
                [(i, a), (j, b)] if a.range.overlaps(b.range) => {
                    return Err(ElfError::SegmentsOverlap {
                        first: (*i, a.range),
                        second: (*j, b.range),
                    });
                }
                _ => {}
            }
        }
        Ok(())
    }

    /// Program header index of each segment, and the segment.
    pub(crate) fn segments(&self) -> &[(u32, Segment)] {
        &self.segments
    }

    /// Physical address of the entry point; `None` if the file has none.
    ///
    /// `e_entry` is a virtual address by the specification and a physical one in an x86 vmlinux. An address inside the
    /// virtual addresses of an executable segment is taken as virtual. Zero means no entry point, unless it is such a
    /// virtual address.
    pub(crate) fn entry(&self, file: &ElfFile<'_>) -> Result<Option<u64>, ElfError> {
        let entry = file.header().e_entry;
        let field = field!(file.encoding().class, Ehdr32 | Ehdr64 @ 0, e_entry);
        match self.entry {
            EntryLookup {
                by_vaddr: Some(first),
                conflict: Some(second),
                ..
            } => Err(ElfError::AmbiguousEntry {
                field,
                entry,
                first,
                second,
            }),
            EntryLookup {
                by_vaddr: Some(paddr),
                ..
            } => Ok(Some(paddr)),
            _ if entry == 0 => Ok(None),
            EntryLookup { by_paddr: true, .. } => Ok(Some(entry)),
            _ => Err(ElfError::EntryOutsideSegments { field, entry }),
        }
    }
}

impl EntryLookup {
    /// Looks up `entry` in a segment whose last virtual address is `last`.
    fn add_segment(&mut self, header: &ProgramHeader, last: u64, range: GuestRange, entry: u64) {
        if range.contains_addr(entry) {
            self.by_paddr = true;
            if header.p_flags & raw::PF_X != 0 {
                self.distance = Some(header.p_vaddr.wrapping_sub(header.p_paddr));
            }
        }
        if header.p_flags & raw::PF_X == 0 || entry > last {
            return;
        }
        let Some(distance) = entry.checked_sub(header.p_vaddr) else {
            return;
        };
        let paddr = range.start().saturating_add(distance);
        match self.by_vaddr {
            None => self.by_vaddr = Some(paddr),
            // Never the same address: segments that share one overlap, which is an error of its own.
            Some(_) => self.conflict = Some(paddr),
        }
    }
}

fn check_sizes(header: &ProgramHeader) -> Result<(), ElfError> {
    if header.p_filesz > header.p_memsz {
        return Err(ElfError::FileSizeExceedsMemorySize {
            index: header.index,
            field: field!(header.class, Phdr32 | Phdr64 @ header.header_offset, p_filesz),
            filesz: header.p_filesz,
            memsz: header.p_memsz,
        });
    }
    Ok(())
}

/// gABI chapter 5, `p_align`: 0 and 1 mean no alignment; otherwise it is a power of two, and `p_vaddr` and `p_offset` are
/// congruent modulo `p_align`. Nothing depends on this in a loader that copies the file to physical addresses. The
/// congruence is not checked for a segment without file content.
fn check_alignment(header: &ProgramHeader, warnings: &mut Warnings) {
    let (index, align, vaddr, offset) = (header.index, header.p_align, header.p_vaddr, header.p_offset);
    let field = field!(header.class, Phdr32 | Phdr64 @ header.header_offset, p_align);
    if align != 0 && !align.is_power_of_two() {
        warnings.add(Warning::InvalidAlign {
            index,
            field,
            align,
            more: 0,
        });
        return;
    }
    let differing_bits = (vaddr ^ offset) & align.saturating_sub(1);
    if header.p_filesz != 0 && differing_bits != 0 {
        warnings.add(Warning::Misaligned {
            index,
            field,
            vaddr,
            offset,
            align,
            more: 0,
        });
    }
}

fn highest_address(class: Class) -> u64 {
    match class {
        Class::Elf32 => u32::MAX.into(),
        Class::Elf64 => u64::MAX,
    }
}

/// Last address of a non-empty segment that starts at `start`; `None` if it exceeds the address space of the file's class.
fn last_address(header: &ProgramHeader, start: u64) -> Option<u64> {
    header
        .p_memsz
        .checked_sub(1)
        .and_then(|distance| start.checked_add(distance))
        .filter(|last| *last <= highest_address(header.class))
}
