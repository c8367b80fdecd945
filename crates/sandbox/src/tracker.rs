//! Which pages of a sandbox's memory differ from its last snapshot, and how they return to another one, by a dirty log of the hypervisor.

use std::sync::Arc;

use guest_ram::{HostMapping, MappingError};
use hv_core::{BareVm, DirtyPages};

use crate::base::{Base, PAGE};
use crate::contents::Contents;
use crate::image::{Image, len};
use crate::memory::{Memory, slot};
use crate::memory_error::MemoryFileError;
use crate::window::Window;

/// Pages of one sandbox's memory.
#[derive(Debug)]
pub(crate) struct Tracker {
    /// What the memory is, except for `dirty`.
    at: Arc<Contents>,
    /// The base whose file is mapped.
    mapped: Arc<Base>,
    /// Pages that may differ from `at`.
    dirty: DirtyPages,
    /// Pages of outbox and page tables that the guest wrote, numbered from the end of the memory on.
    exchange: DirtyPages,
    /// Result of the last question to the hypervisor; kept for its memory.
    taken: DirtyPages,
    /// Pages that take memory of this sandbox.
    resident: DirtyPages,
    /// Number of pages in `resident`.
    resident_len: usize,
    /// Number of pages in `resident` from which on a restore drops pages.
    max_resident: usize,
}

impl Tracker {
    /// A sandbox whose memory is `memory`: a private mapping of the base of `at`, to which layers of `at` are copied, and behind it outbox and
    /// page tables.
    pub(crate) fn new(
        at: Arc<Contents>,
        memory: &HostMapping,
        max_resident: usize,
    ) -> Result<Self, MappingError> {
        let pages = at.base().present().pages();
        let all_pages = memory.len() / PAGE;
        let mut resident = DirtyPages::new(pages);
        at.add_layers(&mut resident);
        for page in resident.iter() {
            at.copy(page, memory)?;
        }
        Ok(Self {
            mapped: Arc::clone(at.base()),
            at,
            dirty: DirtyPages::new(pages),
            exchange: DirtyPages::new(all_pages.saturating_sub(pages)),
            taken: DirtyPages::default(),
            resident_len: resident.len(),
            resident,
            max_resident,
        })
    }

    /// What the memory was at the last snapshot or restore.
    pub(crate) fn contents(&self) -> &Arc<Contents> {
        &self.at
    }

    /// Pages that may differ from [`contents`](Self::contents).
    pub(crate) fn dirty(&self) -> &DirtyPages {
        &self.dirty
    }

    /// Number of pages that take memory of this sandbox.
    pub(crate) fn resident(&self) -> usize {
        self.resident_len
    }

    /// Asks the hypervisor for the pages that the guest wrote. Returns whether there were any in the memory: then the guest's translations
    /// were flushed.
    pub(crate) fn collect<V: BareVm>(&mut self, vm: &V) -> Result<bool, V::Error> {
        // Every call writes the outbox, and CPUs count as writers of the page tables that they use.
        let end = self.dirty.pages();
        vm.take_dirty_before(slot::MEMORY, end, &mut self.taken)?;
        let mut flushed = false;
        for page in self.taken.iter() {
            if let Some(page) = page.checked_sub(end) {
                self.exchange.insert(page);
            } else {
                self.dirty.insert(page);
                add(&mut self.resident, &mut self.resident_len, page);
                flushed = true;
            }
        }
        Ok(flushed)
    }

    /// Takes note of pages that the host wrote.
    pub(crate) fn add_written(&mut self, pages: impl IntoIterator<Item = usize>) {
        for page in pages {
            self.dirty.insert(page);
            add(&mut self.resident, &mut self.resident_len, page);
        }
    }

    /// Brings all pages of outbox and page tables that the guest wrote back to the start, after [`collect`](Self::collect).
    pub(crate) fn rewind_exchange(&mut self, window: &mut Window, memory: &mut Memory, image: &Image) {
        let outbox_pages = len(image.areas.outbox) / PAGE;
        for page in self.exchange.iter() {
            if !window.scrub_outbox(page) {
                memory.restore_table(page.saturating_sub(outbox_pages), image);
            }
        }
        self.exchange.clear();
    }

    /// The contents of the memory, after [`collect`](Self::collect).
    pub(crate) fn take(&mut self, memory: &HostMapping) -> Result<Arc<Contents>, MemoryFileError> {
        let contents = Contents::take(&self.at, &self.dirty, memory)?;
        self.at = Arc::clone(&contents);
        self.dirty.clear();
        Ok(contents)
    }

    /// Makes the memory `target`, after [`collect`](Self::collect). On an error, the next call makes up for it.
    pub(crate) fn rewind(
        &mut self,
        target: &Arc<Contents>,
        memory: &HostMapping,
    ) -> Result<(), MappingError> {
        self.at.add_difference(target, &mut self.dirty);
        if self.resident_len > self.max_resident && Arc::ptr_eq(&self.mapped, target.base()) {
            self.drop_pages(target, memory)?;
        }
        for page in self.dirty.iter() {
            target.copy(page, memory)?;
            add(&mut self.resident, &mut self.resident_len, page);
        }
        self.at = Arc::clone(target);
        self.dirty.clear();
        Ok(())
    }

    /// Drops all pages that are those of the mapped file in `target`.
    fn drop_pages(&mut self, target: &Contents, memory: &HostMapping) -> Result<(), MappingError> {
        self.resident.union(&self.dirty);
        let [mut kept, mut dirty] = [(); 2].map(|()| DirtyPages::new(self.resident.pages()));
        let mut run: Option<std::ops::Range<usize>> = None;
        let drop_run = |run: std::ops::Range<usize>| {
            memory.dont_need(run.start.saturating_mul(PAGE)..run.end.saturating_mul(PAGE))
        };
        for page in self.resident.iter() {
            if !target.is_of_base(page) {
                kept.insert(page);
                if self.dirty.contains(page) {
                    dirty.insert(page);
                }
                continue;
            }
            let end = page.saturating_add(1);
            match &mut run {
                Some(run) if run.end == page => run.end = end,
                _ => {
                    if let Some(last) = run.replace(page..end) {
                        drop_run(last)?;
                    }
                }
            }
        }
        if let Some(last) = run {
            drop_run(last)?;
        }
        self.resident_len = kept.len();
        self.resident = kept;
        self.dirty = dirty;
        Ok(())
    }
}

/// Adds a page to a set with a count.
fn add(pages: &mut DirtyPages, len: &mut usize, page: usize) {
    if !pages.contains(page) && pages.insert(page) {
        *len = len.saturating_add(1);
    }
}
