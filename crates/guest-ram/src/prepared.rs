//! Boots that are prepared once, for any number of machines.

use std::io;
use std::os::unix::fs::FileExt as _;

use boot_core::{
    BootPlan, GuestMemory as _, GuestRange, LoadContent, LoadError, MemoryError, MemoryMap, MemoryMapError,
    RegionKind, Sources, arith,
};
use vm_memory::{GuestMemoryBackend, GuestMemoryMmap};

use crate::file_mapper::{FileMapping, MappedRange};
use crate::memfd::Memfd;
use crate::{GuestRam, HugePages, RamError, RamOptions, pages};

/// Bytes that are copied at once.
const CHUNK: usize = 0x10_0000;

/// A plan whose bytes are in a sealed memory file, page by page, for any number of machines.
///
/// [`load`](Self::load) maps the pages into the memory of a machine, whatever the plan has: parts of files at any offset, unpacked kernels, tables. It
/// takes a few system calls and copies nothing, and machines share every page that their guests do not write. No machine sees what another writes.
///
/// The plan, its files and its sources are not needed any more: [`plan`](Self::plan) has the entry states of the CPUs.
///
/// ```
/// use boot_core::{
///     Arch, BootProtocol, BootRequest, Cmdline, Endian, EntryAbi, GuestRange, ImageBuilder, Machine, MemoryMap, SourceRange,
///     Sources,
/// };
/// use guest_ram::{GuestRam, PreparedBoot};
///
/// # let kernel = vec![0x90; 0x1000];
/// # let image = ImageBuilder::new("elf", Arch::X86_64, Endian::Little, 0x1000)
/// #     .segment(SourceRange::whole(0x1000), GuestRange::new(0x100_0000, 0x1000).unwrap())
/// #     .entry(EntryAbi::ELF64, 0x100_0000)
/// #     .build()?;
/// # let machine = Machine::new(Arch::X86_64, MemoryMap::pc(64 << 20)?);
/// # let cmdline = Cmdline::new();
/// # let plan = proto_linux_x86::PROTOCOL.plan(&BootRequest::new(&image, &machine, &cmdline))?;
/// let prepared = PreparedBoot::new(plan, &Sources::kernel(&kernel))?;
/// for _ in 0..3 {
///     let mut ram = GuestRam::new(&machine.memory)?;
///     prepared.load(&mut ram)?;
///     // A virtual machine with this memory, and the CPUs of `prepared.plan()`.
/// }
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct PreparedBoot {
    plan: BootPlan,
    pages: Vec<MappedRange>,
    file: Memfd,
}

/// A boot could not be prepared.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PrepareError {
    /// The plan loads nothing.
    #[error("the plan loads nothing")]
    Empty,
    /// The pages of the plan are not memory of a machine.
    #[error("the pages of the plan cannot be described")]
    Pages(#[from] MemoryMapError),
    /// The host cannot map memory for the plan.
    #[error("the memory of the plan cannot be mapped")]
    Ram(#[from] RamError),
    /// The plan cannot be loaded.
    #[error("the plan cannot be loaded")]
    Load(#[from] LoadError),
    /// Loaded memory cannot be read.
    #[error("the loaded memory cannot be read")]
    Read(#[from] MemoryError),
    /// The memory file cannot be made.
    #[error("the memory file cannot be made")]
    File(#[from] io::Error),
}

impl PreparedBoot {
    /// Loads the plan once, into a memory file.
    ///
    /// # Errors
    ///
    /// [`PrepareError`].
    pub fn new(plan: BootPlan, sources: &Sources<'_>) -> Result<Self, PrepareError> {
        let with_bytes =
            |content: &LoadContent| matches!(content, LoadContent::File { .. } | LoadContent::Bytes(_));
        let pages = whole_pages(&plan, with_bytes);
        let all = whole_pages(&plan, |content| *content != LoadContent::Present);
        let mut map = MemoryMap::new();
        for range in all {
            map.insert(range, RegionKind::Ram)?;
        }
        // Its pages are used once, each by a copy.
        let options = RamOptions::new().huge_pages(HugePages::Avoid);
        let mut ram: GuestRam = options.build(&map)?;
        plan.load(sources, &mut ram)?;

        let len = pages.iter().map(|range| range.len()).fold(0, u64::saturating_add);
        let len = usize::try_from(len).unwrap_or(usize::MAX);
        if len == 0 {
            return Err(PrepareError::Empty);
        }
        let file = Memfd::create(c"prepared boot", len)?;
        let mut offset = 0_u64;
        let mut mapped = Vec::new();
        for range in pages {
            copy(&ram, range, &file, offset)?;
            mapped.push(MappedRange { range, offset });
            offset = offset.saturating_add(range.len());
        }
        file.seal()?;
        Ok(Self {
            plan,
            pages: mapped,
            file,
        })
    }

    /// The plan.
    #[must_use]
    pub fn plan(&self) -> &BootPlan {
        &self.plan
    }

    /// The pages that [`load`](Self::load) maps, by guest physical address.
    #[must_use]
    pub fn pages(&self) -> &[MappedRange] {
        &self.pages
    }

    /// The memory file with the pages. It is sealed.
    #[must_use]
    pub fn file(&self) -> &Memfd {
        &self.file
    }

    /// Loads the boot into the memory of a machine: zeroes what the plan zeroes, and maps the pages.
    ///
    /// Bytes that share a page with a load become zeros, where [`BootPlan::load`] leaves them; in new memory they are. Memory that files cannot be
    /// [mapped](GuestRam::map_files) into gets copies of the pages.
    ///
    /// # Errors
    ///
    /// [`LoadError::NoMemory`] if the memory lacks a page; nothing is written then. [`LoadError::Incomplete`] if a page could not be mapped or written.
    pub fn load<M: GuestMemoryBackend + Sync>(&self, ram: &mut GuestRam<M>) -> Result<(), LoadError> {
        const LABEL: &str = "prepared boot";
        let zeros = self
            .plan
            .loads()
            .iter()
            .filter(|load| load.content == LoadContent::Zeros);
        let zeros = zeros.map(|load| load.range);
        for range in zeros.clone().chain(self.pages.iter().map(|pages| pages.range)) {
            ram.check(range).map_err(|source| LoadError::NoMemory {
                label: LABEL.into(),
                range,
                source,
            })?;
        }
        let incomplete = |range| {
            move |source| LoadError::Incomplete {
                label: LABEL.into(),
                range,
                source,
            }
        };
        for range in zeros {
            ram.zero(range).map_err(incomplete(range))?;
        }
        let mut mapper = ram.map_files(FileMapping::Sealed);
        for &MappedRange { range, offset } in &self.pages {
            mapper
                .copy_from(range, self.file.file(), offset)
                .map_err(incomplete(range))?;
        }
        Ok(())
    }
}

/// The whole pages with bytes of loads that `is_wanted`, in order, without overlaps.
fn whole_pages(plan: &BootPlan, is_wanted: impl Fn(&LoadContent) -> bool) -> Vec<GuestRange> {
    let page = arith::to_u64(pages::size());
    let loads = plan.loads().iter().filter(|load| is_wanted(&load.content));
    let mut ranges: Vec<GuestRange> = loads
        .filter(|load| !load.range.is_empty())
        .filter_map(|load| {
            let start = load.range.start() - load.range.start() % page;
            GuestRange::from_bounds(start, load.range.end().checked_next_multiple_of(page)?)
        })
        .collect();
    ranges.sort_by_key(|range| range.start());
    let mut merged: Vec<GuestRange> = Vec::new();
    for range in ranges {
        match merged.last_mut() {
            Some(last) if range.start() <= last.end() => {
                let end = last.end().max(range.end());
                *last = GuestRange::from_bounds(last.start(), end).unwrap_or(*last);
            }
            _ => merged.push(range),
        }
    }
    merged
}

/// Copies memory to the file.
fn copy(
    ram: &GuestRam<GuestMemoryMmap>,
    range: GuestRange,
    file: &Memfd,
    offset: u64,
) -> Result<(), PrepareError> {
    let mut buffer = vec![0; usize::try_from(range.len()).unwrap_or(usize::MAX).min(CHUNK)];
    let mut done = 0;
    while done < range.len() {
        let len = usize::try_from(range.len() - done)
            .unwrap_or(usize::MAX)
            .min(CHUNK);
        let bytes = buffer.get_mut(..len).unwrap_or_default();
        ram.read(range.start().saturating_add(done), bytes)?;
        file.file().write_all_at(bytes, offset.saturating_add(done))?;
        done = done.saturating_add(arith::to_u64(len));
    }
    Ok(())
}
