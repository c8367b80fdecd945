//! Snapshots of sandboxes.

use std::fmt;
use std::sync::{Arc, OnceLock};

use guest_ram::MappingError;
use hv_core::{BareVcpu, Operation};

use crate::backend::{Backend, Kvm};
use crate::contents::Contents;
use crate::error::BackendError;
use crate::image::Image;
use crate::limits::Limits;
use crate::memory_error::MemoryFileError;
use crate::page_table_error::{PageTableError, TakeError};
use crate::rewind::Parts;
use crate::sandbox::Sandbox;
use crate::status::{Cause, Event, Status, next};
use crate::waiting::Waiting;

/// State of a sandbox that waits for a call: memory and registers. Sandboxes [return](Sandbox::restore) to it, and new ones
/// [start](Sandbox::clone_from) from it.
///
/// Snapshots share the pages that did not change between them. Clones of the value are the same snapshot. [`save`](Self::save) writes one to a
/// file.
pub struct Snapshot<B: Backend = Kvm>(pub(crate) Arc<State<B>>);

/// What a snapshot consists of.
pub(crate) struct State<B: Backend> {
    pub(crate) backend: Arc<B>,
    pub(crate) image: Arc<Image>,
    pub(crate) contents: Arc<Contents>,
    /// Bytes of pages that were copied.
    pub(crate) copied: usize,
    /// The same contents without layers, for clones: so they share all pages. Made for the first of them.
    pub(crate) flat: OnceLock<Arc<Contents>>,
    pub(crate) waiting: Arc<Waiting<B>>,
    /// Number of the last message to the guest.
    pub(crate) sequence: u64,
    pub(crate) limits: Limits,
}

impl<B: Backend> State<B> {
    /// The contents for a new sandbox, all of whose pages are shared.
    pub(crate) fn flat(&self) -> Result<Arc<Contents>, MemoryFileError> {
        if self.contents.is_flat() {
            return Ok(Arc::clone(&self.contents));
        }
        if let Some(flat) = self.flat.get() {
            return Ok(Arc::clone(flat));
        }
        // Of several threads, one wins.
        let flat = Arc::new(self.contents.flattened()?);
        Ok(Arc::clone(self.flat.get_or_init(|| flat)))
    }

    /// The contents for a sandbox whose memory is that of `current`: those that share a base with it, if there are such.
    fn contents_for(&self, current: &Contents) -> &Arc<Contents> {
        match self.flat.get() {
            Some(flat) if Arc::ptr_eq(flat.base(), current.base()) => flat,
            _ => &self.contents,
        }
    }
}

impl<B: Backend> Clone for Snapshot<B> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<B: Backend> fmt::Debug for Snapshot<B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Snapshot")
            .field("sequence", &self.0.sequence)
            .finish_non_exhaustive()
    }
}

impl<B: Backend> Snapshot<B> {
    /// Bytes of the guest's pages that were copied for this snapshot: those that the guest wrote since the snapshot or restore before. Zero
    /// for one that became a memory file of its own, because it has many pages.
    #[must_use]
    pub fn copied(&self) -> u64 {
        boot_core::arith::to_u64(self.0.copied)
    }
}

/// Why a snapshot cannot be taken.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SnapshotError {
    /// The sandbox is not ready.
    #[error("no snapshot is taken: the sandbox is {0}")]
    NotReady(Status),
    /// Files or regions are mapped, which are no part of snapshots: a sandbox that starts from one would not have them.
    #[error(
        "no snapshot is taken: {count} files or regions are mapped; take it before they are, or unmap them first"
    )]
    Mapped {
        /// Number of mappings.
        count: usize,
    },
    /// The hypervisor failed. If it failed at [`Operation::Capture`], the sandbox is [poisoned](Status::Poisoned).
    #[error(transparent)]
    Backend(#[from] BackendError),
    /// The host has no memory for the snapshot.
    #[error(transparent)]
    Memory(#[from] MemoryFileError),
    /// The guest copies the pages that it writes, and its page tables are not those that its exception handlers make. The sandbox is as
    /// before.
    #[error("no snapshot is taken: {0}")]
    PageTables(#[from] PageTableError),
}

impl From<TakeError> for SnapshotError {
    fn from(error: TakeError) -> Self {
        match error {
            TakeError::Memory(error) => error.into(),
            TakeError::PageTables(error) => error.into(),
        }
    }
}

/// Why a sandbox cannot return to a snapshot.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RestoreError {
    /// The snapshot is one of another image: of another load of a program or of a file, also if the bytes are the same.
    #[error("the snapshot is one of another load of a program or of a snapshot's file")]
    OtherImage,
    /// An earlier restore failed half-way.
    #[error("nothing is restored: the sandbox is {0}")]
    NotPossible(Status),
    /// The hypervisor failed. If it failed at [`Operation::DirtyLog`], the sandbox is as before; otherwise it is
    /// [unrecoverable](Status::Unrecoverable).
    #[error(transparent)]
    Backend(#[from] BackendError),
    /// The memory cannot be written. The sandbox is [unrecoverable](Status::Unrecoverable).
    #[error("the memory of the guest cannot be written")]
    Memory(#[from] MappingError),
}

impl<B: Backend> Sandbox<B> {
    /// Takes a snapshot. This takes time in proportion to the pages that the guest wrote since the last snapshot or restore.
    ///
    /// # Errors
    ///
    /// [`SnapshotError`].
    pub fn snapshot(&mut self) -> Result<Snapshot<B>, SnapshotError> {
        let engine = &mut self.engine;
        if engine.status != Status::Ready {
            return Err(SnapshotError::NotReady(engine.status));
        }
        let count = engine.memory.mappings.count();
        if count != 0 {
            return Err(SnapshotError::Mapped { count });
        }
        self.tracker
            .collect(&engine.vm)
            .map_err(BackendError::at(Operation::DirtyLog))?;
        #[cfg(feature = "debug")]
        self.add_debugger_writes();
        let engine = &mut self.engine;
        let waiting = match self.registers.get(&mut engine.vcpu) {
            Ok(waiting) => Arc::clone(waiting),
            Err(error) => {
                engine.status = next(engine.status, Event::Failed(Cause::Snapshot));
                return Err(BackendError::at(Operation::Capture)(error).into());
            }
        };
        let before = Arc::clone(self.tracker.contents());
        let contents = self.tracker.take(&engine.memory, &engine.image)?;
        let is_new = !Arc::ptr_eq(&before, &contents);
        Ok(Snapshot(Arc::new(State {
            backend: Arc::clone(&self.backend),
            image: Arc::clone(&engine.image),
            copied: if is_new { contents.layer_len() } else { 0 },
            contents,
            flat: OnceLock::new(),
            waiting,
            sequence: engine.sequence,
            limits: engine.limits,
        })))
    }

    /// Returns to `snapshot`, of this sandbox or another one of the same image: of the same load of a program, or of the same
    /// [load](Snapshot::load) of a file. It makes the sandbox [ready](Status::Ready). Everything that the guest did since then is gone: memory,
    /// page tables, registers and messages. [Mappings](Self::map_file) stay.
    ///
    /// This takes time in proportion to the pages that the guest wrote since the last snapshot or restore, and to those in which the two
    /// snapshots differ.
    ///
    /// # Errors
    ///
    /// [`RestoreError`].
    pub fn restore(&mut self, snapshot: &Snapshot<B>) -> Result<(), RestoreError> {
        let target = &*snapshot.0;
        let status = self.engine.status;
        if let Status::Unrecoverable(_) = status {
            return Err(RestoreError::NotPossible(status));
        }
        if target.image.exports.image() != self.engine.image.exports.image() {
            return Err(RestoreError::OtherImage);
        }
        let engine = &mut self.engine;
        let flushed = self.tracker.collect(&engine.vm).and_then(|flushed| {
            engine.memory.mappings.collect(&engine.vm)?;
            Ok(flushed && !engine.memory.mappings.needs_flush())
        });
        let flushed = flushed.map_err(|error| {
            engine.status = next(status, Event::RestoreRefused);
            BackendError::at(Operation::DirtyLog)(error)
        })?;
        // The guest's page tables may be in pages that a debugger wrote.
        #[cfg(feature = "debug")]
        let flushed = !self.add_debugger_writes() && flushed;
        let restored = self.rewind(target, !flushed);
        let event = match restored {
            Ok(()) => Event::Restored,
            Err(_) => Event::RestoreFailed(Cause::Restore),
        };
        self.engine.status = next(status, event);
        restored
    }

    /// Makes memory and registers those of `target`. `flush`: the guest's translations may be those of other page tables.
    fn rewind(&mut self, target: &State<B>, flush: bool) -> Result<(), RestoreError> {
        let engine = &mut self.engine;
        let contents = Arc::clone(target.contents_for(self.tracker.contents()));
        let parts = Parts {
            memory: &mut engine.memory,
            window: &mut engine.window,
            image: &engine.image,
        };
        self.tracker.rewind(&contents, parts)?;
        engine.memory.mappings.restore()?;
        engine.window.scrub_inbox();
        engine.sequence = target.sequence;
        self.registers.load(&target.waiting, &engine.memory)?;
        engine
            .vcpu
            .rewind(&target.waiting.saved, flush)
            .map_err(BackendError::at(Operation::Rewind))?;
        engine.memory.mappings.set_flushed();
        Ok(())
    }
}
