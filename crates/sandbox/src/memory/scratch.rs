//! Memory of guests that copy the pages that they write.

use boot_core::arith;
use boot_paging::translate;
use guest_ram::MappingError;

use super::{Memory, bytes, offset};
use crate::base::PAGE;
use crate::copies::scheme;
use crate::image::{Areas, Image, len};

impl Memory {
    /// The entry of a page table at a physical address, a multiple of 8; none outside of page tables and pages for copies.
    pub(crate) fn read_entry(&self, areas: &Areas, addr: u64) -> Option<u64> {
        if areas.tables.contains_addr(addr) {
            let [entry] = self.tables.read_words(offset(areas.tables.start(), addr))?;
            return Some(u64::from_le(entry));
        }
        let mut entry = [0; 8];
        let is_read = areas.scratch.contains_addr(addr) && self.read_scratch(areas, addr, &mut entry);
        is_read.then(|| u64::from_le_bytes(entry))
    }

    /// Reads the scratch area; false if a byte is elsewhere.
    pub(crate) fn read_scratch(&self, areas: &Areas, addr: u64, bytes: &mut [u8]) -> bool {
        addr >= areas.scratch.start() && self.data.read(offset(areas.memory.start(), addr), bytes).is_ok()
    }

    /// Reads the memory of data, stacks and heap at a virtual address, as the guest does: where it has copies of pages, these. False if a byte
    /// is elsewhere.
    pub(crate) fn read_as_guest(&self, image: &Image, addr: u64, bytes: &mut [u8]) -> bool {
        let areas = &image.areas;
        if areas.scratch.is_empty() {
            return self.read_data(areas.memory.start(), addr, bytes);
        }
        let scheme = scheme(image.entry.arch());
        let mut addr = addr;
        let mut rest = bytes;
        while !rest.is_empty() {
            let page = translate(scheme, areas.tables.start(), addr, |addr| {
                self.read_entry(areas, addr)
            });
            let Some(phys) = page.ok().and_then(|page| page.translate(addr)) else {
                return false;
            };
            // Every page is as long.
            let within = PAGE.saturating_sub(offset(0, addr) % PAGE);
            let (now, later) = rest.split_at_mut(rest.len().min(within));
            let is_read = if areas.copies.contains_addr(phys) {
                self.read_scratch(areas, phys, now)
            } else {
                areas.memory.contains_addr(phys) && self.read_data(areas.memory.start(), phys, now)
            };
            if !is_read {
                return false;
            }
            addr = addr.saturating_add(arith::to_u64(now.len()));
            rest = later;
        }
        true
    }

    /// Makes the scratch area zeros: the first pages, as many as the guest says that it used, and at most `kept` for copies, by writing them,
    /// the others by dropping them. If the first are more than `budget` pages, all are dropped. Returns the number of bytes of the first.
    pub(crate) fn scrub(&self, areas: &Areas, kept: usize, budget: usize) -> Result<usize, MappingError> {
        let start = offset(areas.memory.start(), areas.scratch.start());
        let mut used = [0; 8];
        self.data.read(start, &mut used)?;
        let used = usize::try_from(u64::from_le_bytes(used)).unwrap_or(usize::MAX);
        let head = offset(areas.scratch.start(), areas.copies.start());
        let kept = head.saturating_add(used.min(kept).saturating_mul(PAGE));
        let kept = Some(kept.min(len(areas.scratch)))
            .filter(|kept| *kept <= budget.saturating_mul(PAGE))
            .unwrap_or(0);
        self.data.zero(start, kept)?;
        let rest = bytes(
            start.saturating_add(kept),
            len(areas.scratch).saturating_sub(kept),
        );
        if !rest.is_empty() {
            self.data.dont_need(rest)?;
        }
        Ok(kept)
    }
}
