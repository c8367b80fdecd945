//! The PT_LOAD segments of a file and the entry point among them.

use alloc::vec::Vec;

use boot_core::{GuestRange, Segment, SourceRange};

use crate::error::Expected;
use crate::file::expect;
use crate::header::at;
use crate::{Class, ElfError, ElfFile, ProgramHeader, raw};

/// What a file wants loaded, collected one program header at a time.
#[derive(Debug, Default)]
pub(crate) struct Loads {
    /// The index of each segment's program header, and the segment.
    segments: Vec<(u32, Segment)>,
    /// The highest `p_align`.
    align: u64,
    entry: Entry,
}

/// What the segments so far say about `e_entry`.
#[derive(Clone, Copy, Debug, Default)]
struct Entry {
    /// The physical address, where `e_entry` is a virtual address of an executable segment.
    by_vaddr: Option<u64>,
    /// A second, different one.
    conflict: Option<u64>,
    /// Whether `e_entry` is a physical address of a segment.
    by_paddr: bool,
}

impl Loads {
    /// Checks a PT_LOAD program header and adds its segment. One without a size in memory adds nothing.
    pub(crate) fn add(&mut self, file: &ElfFile<'_>, header: &ProgramHeader) -> Result<(), ElfError> {
        check_sizes(header)?;
        if header.p_memsz == 0 {
            return Ok(());
        }
        check_alignment(header)?;
        let last = last_address(
            header,
            at!(header.class, Phdr32 | Phdr64 @ header.position, p_vaddr),
            header.p_vaddr,
        )?;
        let at_paddr = at!(header.class, Phdr32 | Phdr64 @ header.position, p_paddr);
        last_address(header, at_paddr, header.p_paddr)?;
        let range = GuestRange::new(header.p_paddr, header.p_memsz).ok_or(ElfError::Wraps {
            index: header.index,
            at: at_paddr,
            start: header.p_paddr,
            memsz: header.p_memsz,
            class: header.class,
        })?;
        // The offset of a segment without file content means nothing, and may lie anywhere.
        let source = if header.p_filesz == 0 {
            SourceRange::whole(0)
        } else {
            file.content(header)?
        };
        self.segments.push((header.index, Segment::new(source, range)));
        self.align = self.align.max(header.p_align);
        self.entry.look_in(header, last, range, file.header().e_entry);
        Ok(())
    }

    /// The highest `p_align` of all segments.
    pub(crate) fn align(&self) -> u64 {
        self.align
    }

    /// Sorts the segments by physical address and checks that there is one and that no two overlap.
    pub(crate) fn check(&mut self, file: &ElfFile<'_>) -> Result<(), ElfError> {
        if self.segments.is_empty() {
            let count = file.program_header_count();
            return Err(ElfError::NothingToLoad { count });
        }
        self.segments.sort_by_key(|(_, segment)| segment.range);
        for pair in self.segments.windows(2) {
            if let [(i, a), (j, b)] = pair
                && a.range.overlaps(b.range)
            {
                return Err(ElfError::Overlap {
                    first: (*i, a.range),
                    second: (*j, b.range),
                });
            }
        }
        Ok(())
    }

    /// The index of each segment's program header, and the segment.
    pub(crate) fn segments(&self) -> &[(u32, Segment)] {
        &self.segments
    }

    /// The physical address of `e_entry`; `None` where the file has no entry point.
    ///
    /// `e_entry` is a virtual address by the specification, and a physical one in an x86 vmlinux. Where it lies in an
    /// executable segment's virtual addresses it is the former. Zero means that there is none, unless code is there.
    pub(crate) fn entry(&self, file: &ElfFile<'_>) -> Result<Option<u64>, ElfError> {
        let entry = file.header().e_entry;
        let at = at!(file.encoding().class, Ehdr32 | Ehdr64 @ 0, e_entry);
        match self.entry {
            Entry {
                by_vaddr: Some(first),
                conflict: Some(second),
                ..
            } => Err(ElfError::AmbiguousEntry {
                at,
                entry,
                first,
                second,
            }),
            Entry {
                by_vaddr: Some(paddr),
                ..
            } => Ok(Some(paddr)),
            _ if entry == 0 => Ok(None),
            Entry { by_paddr: true, .. } => Ok(Some(entry)),
            _ => Err(ElfError::EntryOutside { at, entry }),
        }
    }
}

impl Entry {
    /// Looks for `entry` in a segment whose last virtual address is `last`.
    fn look_in(&mut self, header: &ProgramHeader, last: u64, range: GuestRange, entry: u64) {
        self.by_paddr |= range.contains_addr(entry);
        if header.p_flags & raw::PF_X == 0 || entry > last {
            return;
        }
        let Some(distance) = entry.checked_sub(header.p_vaddr) else {
            return;
        };
        let paddr = range.start().saturating_add(distance);
        match self.by_vaddr {
            None => self.by_vaddr = Some(paddr),
            Some(first) if first != paddr => self.conflict = Some(paddr),
            Some(_) => {}
        }
    }
}

fn check_sizes(header: &ProgramHeader) -> Result<(), ElfError> {
    if header.p_filesz > header.p_memsz {
        return Err(ElfError::FileLargerThanMemory {
            index: header.index,
            at: at!(header.class, Phdr32 | Phdr64 @ header.position, p_filesz),
            filesz: header.p_filesz,
            memsz: header.p_memsz,
        });
    }
    Ok(())
}

/// gABI chapter 5, `p_align`: 0 and 1 ask for nothing; otherwise a power of two, modulo which `p_vaddr` and `p_offset`
/// are equal. The latter says nothing about a segment that takes no bytes from the file.
fn check_alignment(header: &ProgramHeader) -> Result<(), ElfError> {
    let (align, vaddr, offset) = (header.p_align, header.p_vaddr, header.p_offset);
    let at = at!(header.class, Phdr32 | Phdr64 @ header.position, p_align);
    expect(at, align, Expected::PowerOfTwoOrZero)?;
    let differing_bits = (vaddr ^ offset) & align.saturating_sub(1);
    if header.p_filesz != 0 && differing_bits != 0 {
        return Err(ElfError::Misaligned {
            index: header.index,
            at,
            vaddr,
            offset,
            align,
        });
    }
    Ok(())
}

/// The last address of a segment that starts at `start`, which must be one of the file's class. The segment has bytes.
fn last_address(header: &ProgramHeader, at: crate::error::At, start: u64) -> Result<u64, ElfError> {
    let highest = match header.class {
        Class::Elf32 => u32::MAX.into(),
        Class::Elf64 => u64::MAX,
    };
    header
        .p_memsz
        .checked_sub(1)
        .and_then(|distance| start.checked_add(distance))
        .filter(|last| *last <= highest)
        .ok_or(ElfError::Wraps {
            index: header.index,
            at,
            start,
            memsz: header.p_memsz,
            class: header.class,
        })
}
