//! Maps files and memory of the host into sandboxes, and unmaps them.

use std::fs::File;
use std::os::fd::AsFd;
use std::sync::Arc;

use boot_core::arith;
use guest_ram::{HostMapping, MappingError};
use hv_core::{BareVcpu, BareVm, Operation, SlotAttributes};
use sandbox_abi::layout;

use crate::backend::Backend;
use crate::error::BackendError;
use crate::mapping::{FileOptions, Mapping, RegionAccess};
use crate::mapping_error::{MapError, UnmapError};
use crate::mappings::{Backing, NewMapping, Source};
use crate::sandbox::Sandbox;
use crate::shared_region::SharedRegion;
use crate::status::{Cause, Event, Status, next};

/// A failed flush of the guest's translations.
enum FlushError {
    Memory(MappingError),
    Backend(BackendError),
}

impl<B: Backend> Sandbox<B> {
    /// Largest number of files and regions that are mapped at a time.
    pub const MAX_MAPPINGS: usize = crate::mappings::MAX_MAPPINGS;

    /// Maps a file into the guest. Nothing is read or copied: the guest's pages are those of the host's page cache, so a large file that the guest
    /// reads in parts takes no more memory than those parts, once for all sandboxes.
    ///
    /// - The mapping belongs to the sandbox, not to its state: it stays over [`restore`](Self::restore) and until [`unmap`](Self::unmap) or the
    ///   drop of the sandbox. Clones and sandboxes that start from a snapshot have none, and [`snapshot`](Self::snapshot) refuses while there
    ///   is one. It is never executable.
    /// - With [`FileOptions::copy_on_write`], a restore drops the pages that the guest wrote: it sees the file again.
    /// - Others may change the file meanwhile, and the guest sees it: a private copy is made by the first write of the guest, not before. If the
    ///   file becomes shorter, a call that accesses pages past its new end fails with
    ///   [`CallError::FileTruncated`](crate::CallError::FileTruncated); the host gets no `SIGBUS`.
    ///
    /// The sandbox has a duplicate of the descriptor while the file is mapped. Only regular files are accepted; files of `memfd_create(2)` are such.
    ///
    /// # Errors
    ///
    /// [`MapError`].
    pub fn map_file(&mut self, file: &impl AsFd, options: FileOptions) -> Result<Mapping, MapError> {
        self.check_ready()?;
        let file = file.as_fd().try_clone_to_owned().map_err(MapError::File)?;
        let (backing, len) = Backing::new(File::from(file), options)?;
        let (file, offset) = (&backing.file, options.offset);
        let pages = arith::align_up(len, layout::PAGE).and_then(|len| usize::try_from(len).ok());
        let pages = pages.ok_or(MapError::NoSpace { len })?;
        let attributes = SlotAttributes::default();
        // Without a log, a restore drops all pages.
        let log_dirty = self.engine.vm.abilities().dirty_log;
        let (memory, attributes, source) = if options.copy_on_write {
            let memory = HostMapping::copy_on_write(file, offset, pages)?;
            (
                memory,
                attributes.with_log_dirty(log_dirty),
                Source::copy_of(backing, pages),
            )
        } else {
            let memory = HostMapping::shared_read_only(file, offset, pages)?;
            (memory, attributes.with_read_only(true), Source::File(backing))
        };
        self.add_mapping(NewMapping {
            len,
            memory: Arc::new(memory),
            attributes,
            source,
        })
    }

    /// Maps memory of the host into the guest, which both access from now on. The mapping stays as that of a
    /// [file](Self::map_file). A [`restore`](Self::restore) does not change its contents: they are data of the program.
    ///
    /// The guest may write at any time while a call runs, so what the host reads can change between two reads. Read it once, and check the copy.
    /// Several sandboxes can have one region: they can then exchange data with each other.
    ///
    /// # Errors
    ///
    /// [`MapError`].
    pub fn map_region(&mut self, region: &SharedRegion, access: RegionAccess) -> Result<Mapping, MapError> {
        self.check_ready()?;
        let attributes = SlotAttributes::default();
        self.add_mapping(NewMapping {
            len: arith::to_u64(region.len()),
            memory: Arc::clone(region.memory()),
            attributes: attributes.with_read_only(access == RegionAccess::ReadOnly),
            source: Source::Region,
        })
    }

    /// Takes a file or region away from the guest. Its next access to the addresses is an exception.
    ///
    /// A [poisoned](Status::Poisoned) sandbox can be without it, too.
    ///
    /// # Errors
    ///
    /// [`UnmapError`]; the mapping is then still there.
    pub fn unmap(&mut self, mapping: Mapping) -> Result<(), UnmapError> {
        let status = self.engine.status;
        if let Status::Unrecoverable(_) = status {
            return Err(UnmapError::NotPossible(status));
        }
        if !self.mappings().any(|found| found == mapping) {
            let address = mapping.address;
            return Err(UnmapError::NotMapped { address });
        }
        if status == Status::Ready {
            self.flush_translations().map_err(|error| match error {
                FlushError::Memory(error) => UnmapError::Memory(error),
                FlushError::Backend(error) => UnmapError::Backend(error),
            })?;
        }
        let engine = &mut self.engine;
        engine.memory.remove_mapping(&engine.vm, &engine.image, mapping)
    }

    /// [Unmaps](Self::unmap) all files and regions.
    ///
    /// # Errors
    ///
    /// As [`unmap`](Self::unmap), at the first mapping that cannot be removed.
    pub fn unmap_all(&mut self) -> Result<(), UnmapError> {
        let mappings: Vec<Mapping> = self.mappings().collect();
        mappings.into_iter().try_for_each(|mapping| self.unmap(mapping))
    }

    /// The files and regions that are mapped, in the order of their addresses.
    pub fn mappings(&self) -> impl Iterator<Item = Mapping> {
        self.engine.memory.mappings.iter()
    }

    fn check_ready(&self) -> Result<(), MapError> {
        match self.engine.status {
            Status::Ready => Ok(()),
            status => Err(MapError::NotReady(status)),
        }
    }

    fn add_mapping(&mut self, new: NewMapping) -> Result<Mapping, MapError> {
        let place = self.engine.memory.mappings.place(new.len)?;
        self.flush_translations().map_err(|error| match error {
            FlushError::Memory(error) => MapError::Memory(error),
            FlushError::Backend(error) => MapError::Backend(error),
        })?;
        let engine = &mut self.engine;
        engine.memory.add_mapping(&engine.vm, &engine.image, new, place)
    }

    /// Makes the guest, which waits for a call, start its next run without cached translations. Page tables may be changed until then.
    fn flush_translations(&mut self) -> Result<(), FlushError> {
        let flushed = self.rewind_to_same();
        if flushed.is_err() {
            let engine = &mut self.engine;
            engine.status = next(engine.status, Event::Failed(Cause::Backend));
        }
        flushed
    }

    /// A guest that waits needs nothing of its registers but what each moment gives at which it waits.
    fn rewind_to_same(&mut self) -> Result<(), FlushError> {
        let engine = &mut self.engine;
        let waiting = self
            .registers
            .get(&mut engine.vcpu)
            .map_err(BackendError::at(Operation::Capture))
            .map_err(FlushError::Backend)?;
        let waiting = Arc::clone(waiting);
        self.registers
            .load(&waiting, &engine.memory)
            .map_err(FlushError::Memory)?;
        engine
            .vcpu
            .rewind(&waiting.saved, true)
            .map_err(BackendError::at(Operation::Rewind))
            .map_err(FlushError::Backend)
    }
}
