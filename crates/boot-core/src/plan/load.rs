//! Loading a plan into guest memory.

use alloc::borrow::Cow;
use alloc::vec::Vec;

use super::{BootFile, BootPlan, Load, LoadContent};
use crate::{ByteSource, GuestMemory, GuestRange, MemoryError, ReadError};

/// The files of a boot, from which [`BootPlan::load`] reads.
#[derive(Clone, Copy)]
#[non_exhaustive]
pub struct Sources<'a> {
    /// The kernel image.
    pub kernel: &'a dyn ByteSource,
    /// The initrd.
    pub initrd: Option<&'a dyn ByteSource>,
    /// The modules, in the order of [`BootRequest::modules`](crate::BootRequest::modules).
    pub modules: &'a [&'a dyn ByteSource],
    /// The files of the additional loads that are files: each with the index of its load in
    /// [`BootRequest::additional_loads`](crate::BootRequest::additional_loads).
    pub additional: &'a [(usize, &'a dyn ByteSource)],
}

impl<'a> Sources<'a> {
    /// A kernel without initrd and modules.
    #[must_use]
    pub const fn kernel(kernel: &'a dyn ByteSource) -> Self {
        Self {
            kernel,
            initrd: None,
            modules: &[],
            additional: &[],
        }
    }

    /// The same with an initrd.
    #[must_use]
    pub const fn with_initrd(self, initrd: &'a dyn ByteSource) -> Self {
        Self {
            initrd: Some(initrd),
            ..self
        }
    }

    /// The same with modules.
    #[must_use]
    pub const fn with_modules(self, modules: &'a [&'a dyn ByteSource]) -> Self {
        Self { modules, ..self }
    }

    /// The same with the files of additional loads, each with the index of its load.
    #[must_use]
    pub const fn with_additional(self, additional: &'a [(usize, &'a dyn ByteSource)]) -> Self {
        Self { additional, ..self }
    }

    /// The source of a file, if it is there.
    #[must_use]
    pub fn get(&self, id: BootFile) -> Option<&'a dyn ByteSource> {
        match id {
            BootFile::Kernel => Some(self.kernel),
            BootFile::Initrd => self.initrd,
            BootFile::Module(index) => self.modules.get(index).copied(),
            BootFile::Additional(index) => {
                let mut files = self.additional.iter();
                files.find(|(of, _)| *of == index).map(|(_, file)| *file)
            }
        }
    }
}

/// Why a plan could not be loaded.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LoadError {
    /// A file of the plan is missing from [`Sources`].
    #[error("the plan loads the {0}, but it is not among the sources; nothing was written")]
    Missing(BootFile),
    /// The length of a file could not be determined.
    #[error("the length of the {id} cannot be read; nothing was written")]
    Unreadable {
        /// The file.
        id: BootFile,
        /// The error of the source.
        source: ReadError,
    },
    /// A file has another length than at planning time.
    #[error(
        "the {id} has {found:#x} bytes, but the plan is for {expected:#x}: plan again; nothing was written"
    )]
    Changed {
        /// The file.
        id: BootFile,
        /// Its length at planning time, in bytes.
        expected: u64,
        /// Its length now, in bytes.
        found: u64,
    },
    /// The guest memory lacks RAM that the machine of the plan has.
    #[error("guest memory lacks {range} for the {label}; nothing was written")]
    NoMemory {
        /// Label of the load.
        label: Cow<'static, str>,
        /// Its range.
        range: GuestRange,
        /// The error of the guest memory.
        source: MemoryError,
    },
    /// A write failed after others succeeded: the guest must not be started.
    #[error("the {label} could not be written to {range}; the guest must not be started")]
    Incomplete {
        /// Label of the load.
        label: Cow<'static, str>,
        /// Its range.
        range: GuestRange,
        /// The error of the guest memory or of the source.
        source: MemoryError,
    },
}

impl BootPlan {
    /// Writes all loads to guest memory. Memory outside the loads is not written.
    ///
    /// The length of every file and the range of every load are checked before the first write.
    ///
    /// # Errors
    ///
    /// [`LoadError`]. After [`LoadError::Incomplete`] guest memory is undefined; after every other error it is
    /// untouched.
    pub fn load(&self, sources: &Sources<'_>, memory: &mut dyn GuestMemory) -> Result<(), LoadError> {
        self.load_if(sources, memory, |_| true)
    }

    /// Writes the loads for which `is_wanted` is true; otherwise as [`load`](Self::load).
    ///
    /// With it the kernel can be loaded before the command line is complete: plan with
    /// [`BootRequest::cmdline_capacity`](crate::BootRequest::cmdline_capacity), load `Load::is_kernel`, plan again with the
    /// final command line, and load the others.
    ///
    /// # Errors
    ///
    /// Those of [`load`](Self::load).
    pub fn load_if(
        &self,
        sources: &Sources<'_>,
        memory: &mut dyn GuestMemory,
        is_wanted: impl Fn(&Load) -> bool,
    ) -> Result<(), LoadError> {
        let is_written = |load: &&Load| load.content != LoadContent::Present && is_wanted(load);
        let loads: Vec<&Load> = self.loads().iter().filter(is_written).collect();
        for &(id, expected) in self.file_lens() {
            let used =
                |content: &LoadContent| matches!(content, LoadContent::File { id: used, .. } if *used == id);
            if !loads.iter().any(|load| used(&load.content)) {
                continue;
            }
            let source = sources.get(id).ok_or(LoadError::Missing(id))?;
            let found = source
                .len()
                .map_err(|source| LoadError::Unreadable { id, source })?;
            if found != expected {
                return Err(LoadError::Changed { id, expected, found });
            }
        }
        for load in &loads {
            memory.check(load.range).map_err(|source| LoadError::NoMemory {
                label: load.label.clone(),
                range: load.range,
                source,
            })?;
        }
        for load in &loads {
            let written = match &load.content {
                LoadContent::File { id, range } => {
                    let source = sources.get(*id).ok_or(LoadError::Missing(*id))?;
                    memory.copy_from(load.range, source, range.offset())
                }
                LoadContent::Bytes(bytes) => memory.write(load.range.start(), bytes),
                LoadContent::Zeros => memory.zero(load.range),
                LoadContent::Present => Ok(()),
            };
            written.map_err(|source| LoadError::Incomplete {
                label: load.label.clone(),
                range: load.range,
                source,
            })?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::vec;

    use super::*;
    use crate::cpu::x86_64;
    use crate::{
        AdditionalLoad, Arch, BootRequest, Cmdline, Constraints, EntryAbi, Machine, MemoryMap, Module,
        PlacedAdditional, PlacedKernel, PlanBuilder, RamAllocator, SliceMemory, testing,
    };

    /// A plan with an initrd of two bytes at 0x1000 and a module of three bytes at 0x2000.
    fn plan() -> BootPlan {
        let image = testing::image(GuestRange::new(0x10_0000, 4).unwrap(), EntryAbi::ELF32);
        let machine = Machine::new(Arch::X86_64, MemoryMap::pc(2 << 20).unwrap());
        let cmdline = Cmdline::new();
        let modules = [Module::new(3)];
        let request = BootRequest::new(&image, &machine, &cmdline)
            .with_initrd(2)
            .with_modules(&modules);
        let kernel = PlacedKernel::place(&image, &mut RamAllocator::new(&machine.memory)).unwrap();
        let file = |start, len| GuestRange::new(start, len).unwrap();
        PlanBuilder::new("test", &request, &kernel)
            .file("initrd", file(0x1000, 2), BootFile::Initrd, Constraints::NONE)
            .file("module", file(0x2000, 3), BootFile::Module(0), Constraints::NONE)
            .cpu(x86_64::State::protected_mode(0x10_0000, 8, 16))
            .build()
            .unwrap()
    }

    #[test]
    fn memory_that_is_present_is_neither_checked_nor_written() {
        let image = testing::image(GuestRange::new(0x10_0000, 4).unwrap(), EntryAbi::ELF32);
        let machine = Machine::new(Arch::X86_64, MemoryMap::pc(2 << 20).unwrap());
        let cmdline = Cmdline::new();
        let loads = [AdditionalLoad::present("firmware", 0x1000, 0x1000)];
        let request = BootRequest::new(&image, &machine, &cmdline).with_additional_loads(&loads);
        let mut allocator = RamAllocator::for_request(&request).unwrap();
        let kernel = PlacedKernel::place(&image, &mut allocator).unwrap();
        let placed = PlacedAdditional::place(&mut allocator, &loads).unwrap();
        let plan = PlanBuilder::new("test", &request, &kernel)
            .additional(&request, &placed)
            .cpu(x86_64::State::protected_mode(0x10_0000, 8, 16))
            .build()
            .unwrap();
        assert!(
            plan.loads()
                .iter()
                .any(|load| load.content == LoadContent::Present)
        );
        // Only the kernel's memory exists.
        let mut ram = [1; 4];
        let mut memory = SliceMemory::new();
        memory.add(0x10_0000, &mut ram).unwrap();
        plan.load(&Sources::kernel(&[0_u8; 4]), &mut memory).unwrap();
        assert_eq!(ram, [0; 4]);
    }

    #[test]
    fn every_file_is_loaded_and_none_may_be_missing() {
        let plan = plan();
        let modules: [&dyn ByteSource; 1] = [b"mod"];
        let mut ram = vec![0; 2 << 20];
        let mut load = |sources: &Sources<'_>| {
            let mut memory = SliceMemory::new();
            memory.add(0, &mut ram).unwrap();
            plan.load(sources, &mut memory)
        };
        let kernel = Sources::kernel(b"kern");
        let missing = |result: Result<(), LoadError>, file| {
            assert!(matches!(result, Err(LoadError::Missing(id)) if id == file));
        };
        missing(load(&kernel), BootFile::Initrd);
        missing(load(&kernel.with_initrd(b"in")), BootFile::Module(0));
        missing(load(&kernel.with_modules(&modules)), BootFile::Initrd);
        assert!(matches!(
            load(&kernel.with_initrd(b"ini").with_modules(&modules)),
            Err(LoadError::Changed {
                id: BootFile::Initrd,
                expected: 2,
                found: 3
            })
        ));
        load(&kernel.with_initrd(b"in").with_modules(&modules)).unwrap();
        assert_eq!(&ram[0x10_0000..0x10_0004], b"kern");
        assert_eq!(
            (&ram[0x1000..0x1002], &ram[0x2000..0x2003]),
            (&b"in"[..], &b"mod"[..])
        );
        assert_eq!(ram.iter().filter(|byte| **byte != 0).count(), 9);
    }

    #[test]
    fn a_part_of_the_loads_can_be_written_first() {
        let plan = plan();
        let modules: [&dyn ByteSource; 1] = [b"mod"];
        let mut ram = vec![0; 2 << 20];
        let mut memory = SliceMemory::new();
        memory.add(0, &mut ram).unwrap();
        // The files of the other loads are not needed.
        plan.load_if(&Sources::kernel(b"kern"), &mut memory, Load::is_kernel)
            .unwrap();
        let sources = Sources::kernel(b"KERN").with_initrd(b"in").with_modules(&modules);
        plan.load_if(&sources, &mut memory, |load| !load.is_kernel())
            .unwrap();
        assert_eq!(&ram[0x10_0000..0x10_0004], b"kern");
        assert_eq!(&ram[0x1000..0x1002], b"in");
        assert_eq!(ram.iter().filter(|byte| **byte != 0).count(), 9);
    }

    #[test]
    fn files_of_additional_loads_are_found_by_their_index() {
        let (first, second): (&dyn ByteSource, &dyn ByteSource) = (b"a", b"bc");
        let files = [(1, first), (4, second)];
        let sources = Sources::kernel(b"kern").with_additional(&files);
        let len = |index| {
            let file = sources.get(BootFile::Additional(index))?;
            file.len().ok()
        };
        assert_eq!([0, 1, 4].map(len), [None, Some(1), Some(2)]);
    }
}
