//! Pages that a guest copied before it wrote them, and how its memory returns to a snapshot without a dirty log.
//!
//! The memory of the sandbox is a mapping that the guest cannot write. Its page tables refer to a copy in the scratch area for each page
//! that it wrote since the last restore. A snapshot finds the copies by the page tables, in which nothing is trusted. A restore reads
//! nothing of the guest: page tables become those of the entry, and the scratch area zeros.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use boot_core::{Arch, GuestRange};
use boot_paging::{PageSize, Pages, Scheme};
use guest_ram::{HostMapping, MappingError};
use hv_core::DirtyPages;

use crate::backend::Backend;
use crate::base::PAGE;
use crate::contents::Contents;
use crate::image::{Areas, Image, len};
use crate::memory::{Memory, offset};
use crate::page_table_error::{PageTableError, TakeError};
use crate::rewind::{Parts, Rewind};
use crate::tracker::Tracker;

/// Scheme of the page tables of an architecture on which sandboxes run.
pub(crate) fn scheme(arch: Arch) -> Scheme {
    match arch {
        Arch::Aarch64 => Scheme::Arm64,
        Arch::Riscv64 => Scheme::Sv39,
        _ => Scheme::X86_64,
    }
}

/// Finds the copies of pages of the memory: physical addresses, by virtual ones. `read` reads an entry of the page tables.
///
/// It reads each table at most once more than there are pages for tables, so it ends for every content. The result has at most as many
/// pages as there are for copies. What is not mapped has no copy.
pub(crate) fn find(
    scheme: Scheme,
    areas: &Areas,
    read: impl FnMut(u64) -> Option<u64>,
) -> Result<BTreeMap<u64, u64>, PageTableError> {
    let page = u64::try_from(PAGE).unwrap_or(u64::MAX);
    let max_tables = (len(areas.tables) / PAGE).saturating_add(len(areas.copies) / PAGE);
    let mut copies = BTreeMap::new();
    let mut owners: BTreeMap<u64, u64> = BTreeMap::new();
    for found in Pages::new(scheme, areas.tables.start(), max_tables, read) {
        let found = found?;
        let (virt, phys) = (found.virt, found.phys);
        let is_memory = |area: GuestRange| {
            GuestRange::new(virt, found.size.bytes()).is_some_and(|pages| pages.overlaps(area))
        };
        if virt == phys || !is_memory(areas.memory) {
            continue;
        }
        if found.size == PageSize::Size4K {
            // The memory of this stack is at the start of the scratch area.
            if areas.fault_stack.contains_addr(virt) && !areas.copies.contains_addr(phys) {
                continue;
            }
            if GuestRange::new(phys, page).is_some_and(|copy| areas.copies.contains(copy)) {
                if let Some(first) = owners.insert(phys, virt) {
                    let second = virt;
                    return Err(PageTableError::Twice { first, second, phys });
                }
                copies.insert(virt, phys);
                continue;
            }
        }
        return Err(PageTableError::Elsewhere { virt, phys });
    }
    Ok(copies)
}

/// Most pages of the scratch area that a restore fills with zeros instead of dropping them.
const KEPT: usize = 64;

/// Number of pages of the scratch area before those for copies.
fn scratch_head(areas: &Areas) -> usize {
    len(areas.scratch).saturating_sub(len(areas.copies)) / PAGE
}

/// The memory of a sandbox whose guest copies the pages that it writes.
#[derive(Debug)]
pub(crate) struct Copies {
    /// The mapping that the guest cannot write: what the memory was at the last restore, and what a debugger wrote.
    below: Tracker,
    /// Number of pages of the scratch area that take memory of this sandbox, as far as it is known.
    scratch: usize,
    /// Number of pages from which on a restore drops pages.
    max_resident: usize,
}

impl Copies {
    /// As [`Tracker::new`].
    pub(crate) fn new(
        at: Arc<Contents>,
        memory: &HostMapping,
        max_resident: usize,
    ) -> Result<Self, MappingError> {
        let below = Tracker::new(at, memory, max_resident)?;
        Ok(Self {
            below,
            scratch: 0,
            max_resident,
        })
    }
}

impl<B: Backend> Rewind<B> for Copies {
    fn contents(&self) -> &Arc<Contents> {
        self.below.contents()
    }

    fn resident(&self) -> usize {
        self.below.resident().saturating_add(self.scratch)
    }

    fn collect(&mut self, _vm: &B::Vm) -> Result<bool, B::Error> {
        Ok(false)
    }

    fn add_written(&mut self, pages: BTreeSet<usize>) {
        self.below.add_written(pages);
    }

    /// What is taken has all pages since the last restore, as the copies stay where they are.
    fn take(&mut self, memory: &Memory, image: &Image) -> Result<Arc<Contents>, TakeError> {
        let areas = &image.areas;
        let scheme = scheme(image.entry.arch());
        let copies = find(scheme, areas, |addr| memory.read_entry(areas, addr))?;
        self.scratch = self.scratch.max(scratch_head(areas).saturating_add(copies.len()));
        let mut pages: DirtyPages = self.below.dirty().clone();
        let mut at = BTreeMap::new();
        for (virt, phys) in copies {
            let page = offset(areas.memory.start(), virt) / PAGE;
            // A copy of a guard is not part of the memory.
            if pages.insert(page) {
                at.insert(page, offset(areas.memory.start(), phys));
            }
        }
        let append = |page: usize, bytes: &mut Vec<u8>| {
            let from = at.get(&page).copied().unwrap_or(page.saturating_mul(PAGE));
            memory.data.append_to(from, PAGE, bytes)
        };
        Ok(Contents::take_with(self.below.contents(), &pages, append)?)
    }

    fn rewind(&mut self, target: &Arc<Contents>, parts: Parts<'_>) -> Result<(), MappingError> {
        let Parts {
            memory,
            window,
            image,
        } = parts;
        let areas = &image.areas;
        for page in 0..len(areas.tables) / PAGE {
            memory.restore_table(page, image);
        }
        window.scrub_written_outbox();
        self.below.rewind(target, &memory.data)?;
        let budget = self.max_resident.saturating_sub(self.below.resident());
        self.scratch = memory.scrub(areas, KEPT, budget)? / PAGE;
        Ok(())
    }
}
