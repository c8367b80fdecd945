//! How the memory of a sandbox returns to a snapshot.

use std::collections::BTreeSet;
use std::fmt;
use std::sync::Arc;

use guest_ram::MappingError;

use crate::backend::Backend;
use crate::contents::Contents;
use crate::image::Image;
use crate::memory::Memory;
use crate::page_table_error::TakeError;
use crate::tracker::Tracker;
use crate::window::Window;

/// The parts of a sandbox that a restore brings back to their start.
pub(crate) struct Parts<'a> {
    pub(crate) memory: &'a mut Memory,
    pub(crate) window: &'a mut Window,
    pub(crate) image: &'a Image,
}

/// Finds the pages that the guest wrote, and makes the memory that of a snapshot again. Calls of the guest do not use it.
pub(crate) trait Rewind<B: Backend>: fmt::Debug + Send + Sync {
    /// Contents whose base is that of the memory: those at the last snapshot or restore, or those before.
    fn contents(&self) -> &Arc<Contents>;

    /// Number of pages that take memory of this sandbox, as far as it is known.
    fn resident(&self) -> usize;

    /// Asks the hypervisor for the pages that the guest wrote. Returns whether the guest's translations were flushed.
    fn collect(&mut self, vm: &B::Vm) -> Result<bool, B::Error>;

    /// Takes note of pages of the memory that a debugger wrote.
    #[cfg_attr(
        not(feature = "debug"),
        expect(dead_code, reason = "only debuggers write pages")
    )]
    fn add_written(&mut self, pages: BTreeSet<usize>);

    /// The contents of the memory, after [`collect`](Self::collect).
    fn take(&mut self, memory: &Memory, image: &Image) -> Result<Arc<Contents>, TakeError>;

    /// Makes the memory `target`, and outbox and page tables as they were at the start, after [`collect`](Self::collect). On an error, the
    /// next call makes up for it.
    fn rewind(&mut self, target: &Arc<Contents>, parts: Parts<'_>) -> Result<(), MappingError>;
}

/// The dirty log of the hypervisor.
impl<B: Backend> Rewind<B> for Tracker {
    fn contents(&self) -> &Arc<Contents> {
        self.contents()
    }

    fn resident(&self) -> usize {
        self.resident()
    }

    fn collect(&mut self, vm: &B::Vm) -> Result<bool, B::Error> {
        self.collect(vm)
    }

    fn add_written(&mut self, pages: BTreeSet<usize>) {
        self.add_written(pages);
    }

    fn take(&mut self, memory: &Memory, _image: &Image) -> Result<Arc<Contents>, TakeError> {
        Ok(self.take(&memory.data)?)
    }

    fn rewind(&mut self, target: &Arc<Contents>, parts: Parts<'_>) -> Result<(), MappingError> {
        self.rewind(target, &parts.memory.data)?;
        self.rewind_exchange(parts.window, parts.memory, parts.image);
        Ok(())
    }
}
