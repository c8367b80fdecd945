//! Boots that are prepared once, for any number of machines.

#[cfg(feature = "prepared-files")]
pub(crate) mod file;

use std::fs::File;
use std::io;
use std::os::fd::AsFd as _;
use std::sync::Arc;

use boot_core::{
    Arch, BootPlan, ByteSource, CpuState, GuestMemory, GuestRange, LoadContent, LoadError, MemoryError,
    MemoryMap, Sources, arith,
};
use vm_memory::{FileOffset, GuestAddress, GuestMemoryBackend, GuestMemoryMmap, GuestRegionMmap, MmapRegion};

use crate::file_mapper::{FileMapping, MappedRange};
use crate::huge_pages::HUGE_PAGE;
use crate::memfd::Memfd;
use crate::pages::map::MappableFile;
use crate::{GuestRam, HugePages, RamError, congruent, pages};

/// A plan whose bytes are in a sealed memory file, page by page, for any number of machines.
///
/// [`load`](Self::load) maps the pages into the memory of a machine, whatever the plan has: parts of files at any offset, unpacked kernels, tables. It
/// takes a few system calls and copies nothing, and machines share every page that their guests do not write. No machine sees what another writes.
///
/// The plan, its files and its sources are not needed any more. With the feature `prepared-files`, `save` writes the boot to a file, from
/// which other processes load it.
///
/// Where the host gives memory files huge pages on request (`advise` in `/sys/kernel/mm/transparent_hugepage/shmem_enabled`), large parts of a kernel are in
/// huge pages, which all machines share too. A page that a guest writes becomes a small one of its own.
///
/// Every machine gets the same bytes, also those of random seeds: plan without them, or let the guest draw its own numbers.
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
/// let prepared = PreparedBoot::new(&plan, &Sources::kernel(&kernel))?;
/// for _ in 0..3 {
///     let mut ram = GuestRam::new(&machine.memory)?;
///     prepared.load(&mut ram)?;
///     // A virtual machine with this memory, and a CPU with the state `prepared.boot_cpu()`.
/// }
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct PreparedBoot {
    description: Description,
    file: File,
    /// How the file may be mapped.
    files: FileMapping,
    /// Length of a file that was made and sealed here.
    sealed_len: Option<u64>,
}

/// All of a prepared boot but the bytes of its pages.
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "prepared-files", derive(serde::Serialize, serde::Deserialize))]
struct Description {
    arch: Arch,
    memory: MemoryMap,
    kernel: GuestRange,
    /// Not empty, all of the architecture.
    cpus: Vec<CpuState>,
    zeros: Vec<GuestRange>,
    /// By guest physical address, without overlaps.
    pages: Vec<MappedRange>,
    notes: String,
}

/// A boot could not be prepared.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PrepareError {
    /// The plan loads nothing.
    #[error("the plan loads nothing")]
    Empty,
    /// The host cannot map the memory file.
    #[error("the memory file cannot be mapped")]
    Ram(#[from] RamError),
    /// The plan cannot be loaded.
    #[error("the plan cannot be loaded")]
    Load(#[from] LoadError),
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
    pub fn new(plan: &BootPlan, sources: &Sources<'_>) -> Result<Self, PrepareError> {
        let mapped = in_file(0, whole_pages(plan));
        let Some(len) = mapped.last().map(end_in_file) else {
            return Err(PrepareError::Empty);
        };
        let file = Memfd::create(c"prepared boot", usize::try_from(len).unwrap_or(usize::MAX))?;
        // The mappings are gone before the file is sealed.
        plan.load(sources, &mut FilePages::map(&file, &mapped)?)?;
        file.seal()?;
        let zeros = plan
            .loads()
            .iter()
            .filter(|load| load.content == LoadContent::Zeros);
        Ok(Self {
            description: Description {
                arch: plan.arch(),
                memory: plan.memory().clone(),
                kernel: plan.kernel(),
                cpus: plan.cpus().to_vec(),
                zeros: zeros.map(|load| load.range).collect(),
                pages: mapped,
                notes: String::new(),
            },
            file: file.into_file(),
            files: FileMapping::Sealed,
            sealed_len: Some(len),
        })
    }

    /// The same with a text of the caller, such as a description of the machine. It is saved with the boot.
    #[must_use]
    pub fn with_notes(mut self, notes: String) -> Self {
        self.description.notes = notes;
        self
    }

    /// The text of [`with_notes`](Self::with_notes); empty without one.
    #[must_use]
    pub fn notes(&self) -> &str {
        &self.description.notes
    }

    /// The architecture of the machine.
    #[must_use]
    pub fn arch(&self) -> Arch {
        self.description.arch
    }

    /// The memory map that is described to the guest.
    #[must_use]
    pub fn memory(&self) -> &MemoryMap {
        &self.description.memory
    }

    /// The runtime extent of the kernel.
    #[must_use]
    pub fn kernel(&self) -> GuestRange {
        self.description.kernel
    }

    /// The entry states of the CPUs that the VMM starts, at least one; the first is the boot CPU.
    #[must_use]
    pub fn cpus(&self) -> &[CpuState] {
        &self.description.cpus
    }

    /// The entry state of the boot CPU.
    #[must_use]
    #[expect(
        clippy::indexing_slicing,
        reason = "a plan has at least one CPU, and a file without one is refused"
    )]
    pub fn boot_cpu(&self) -> &CpuState {
        &self.description.cpus[0]
    }

    /// The ranges that [`load`](Self::load) fills with zeros.
    #[must_use]
    pub fn zeros(&self) -> &[GuestRange] {
        &self.description.zeros
    }

    /// The pages that [`load`](Self::load) maps, by guest physical address, and where they are in the [file](Self::file).
    #[must_use]
    pub fn pages(&self) -> &[MappedRange] {
        &self.description.pages
    }

    /// The file with the pages: a sealed memory file, or that of `open`.
    #[must_use]
    pub fn file(&self) -> &File {
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
        let Description { zeros, pages, .. } = &self.description;
        for range in zeros.iter().copied().chain(pages.iter().map(|pages| pages.range)) {
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
        for &range in zeros {
            ram.zero(range).map_err(incomplete(range))?;
        }
        let mapper = ram.map_files(self.files);
        // The file is examined once, and not at all if it was sealed here.
        let examined = match self.sealed_len {
            Some(len) => Some(MappableFile::sealed(self.file.as_fd(), len)),
            None => mapper.file(&self.file),
        };
        let mut mapper = mapper.examined(examined.as_slice());
        for &MappedRange { range, offset } in pages {
            mapper
                .copy_from(range, &self.file, offset)
                .map_err(incomplete(range))?;
        }
        Ok(())
    }
}

/// The memory of a plan while it is loaded into a file: the pages with bytes. There is none for zeros, which the other pages are.
struct FilePages(GuestRam);

impl FilePages {
    fn map(file: &Memfd, pages: &[MappedRange]) -> Result<Self, PrepareError> {
        let shared = Arc::new(file.file().try_clone()?);
        let map = |&MappedRange { range, offset }: &MappedRange| {
            let mapping = congruent::map_advised(range, HugePages::Advise, |len| {
                MmapRegion::from_file(FileOffset::from_arc(Arc::clone(&shared), offset), len)
            })?;
            GuestRegionMmap::new(mapping, GuestAddress(range.start())).ok_or(RamError::TooLarge(range))
        };
        let regions: Result<Vec<_>, RamError> = pages.iter().map(map).collect();
        let memory = GuestMemoryMmap::from_regions(regions?).map_err(RamError::from)?;
        Ok(Self(GuestRam::from_memory(Arc::new(memory))))
    }
}

impl GuestMemory for FilePages {
    /// Loads of a plan do not overlap, and its bytes are in pages of the file: an access elsewhere fails by itself.
    fn check(&self, _: GuestRange) -> Result<(), MemoryError> {
        Ok(())
    }

    fn write(&mut self, addr: u64, bytes: &[u8]) -> Result<(), MemoryError> {
        self.0.write(addr, bytes)
    }

    fn zero(&mut self, _: GuestRange) -> Result<(), MemoryError> {
        Ok(())
    }

    fn read(&self, addr: u64, buf: &mut [u8]) -> Result<(), MemoryError> {
        self.0.read(addr, buf)
    }

    fn copy_from(
        &mut self,
        range: GuestRange,
        source: &dyn ByteSource,
        offset: u64,
    ) -> Result<(), MemoryError> {
        self.0.copy_from(range, source, offset)
    }
}

/// Places pages in a file from `start` on, one range behind the other. A range that has a whole huge page of the guest is at the same offset in a huge page
/// of the file, so that the host can map it with huge pages.
fn in_file(start: u64, ranges: impl IntoIterator<Item = GuestRange>) -> Vec<MappedRange> {
    let mut end = start;
    let place = |range: GuestRange| {
        let has_huge_page = arith::align_up(range.start(), HUGE_PAGE)
            .is_some_and(|first| first < arith::align_down(range.end(), HUGE_PAGE));
        let gap = if has_huge_page {
            range.start().wrapping_sub(end) % HUGE_PAGE
        } else {
            0
        };
        let mapped = MappedRange {
            range,
            offset: end.saturating_add(gap),
        };
        end = end_in_file(&mapped);
        mapped
    };
    ranges.into_iter().map(place).collect()
}

fn end_in_file(pages: &MappedRange) -> u64 {
    pages.offset.saturating_add(pages.range.len())
}

/// The whole pages with bytes of a plan, in order, without overlaps.
fn whole_pages(plan: &BootPlan) -> Vec<GuestRange> {
    let page = arith::to_u64(pages::size());
    let has_bytes =
        |content: &LoadContent| matches!(content, LoadContent::File { .. } | LoadContent::Bytes(_));
    let loads = plan.loads().iter().filter(|load| has_bytes(&load.content));
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_with_a_huge_page_keep_their_offset_in_it() {
        let check = |start, ranges: &[(u64, u64)], expected: &[u64]| {
            let range = |&(start, len): &(u64, u64)| GuestRange::new(start, len).unwrap();
            let mapped = in_file(start, ranges.iter().map(range));
            let offsets: Vec<u64> = mapped.iter().map(|pages| pages.offset).collect();
            assert_eq!(offsets, expected);
            assert!(mapped.is_sorted_by(|one, next| end_in_file(one) <= next.offset));
        };
        // Small ranges, and one that is long but has no whole huge page.
        check(0, &[(0x7000, 0x1000), (0x9000, 0x3000)], &[0, 0x1000]);
        check(0, &[(0x30_0000, 0x2f_0000)], &[0]);
        check(0x1_0000, &[(0x9000, 0x1000)], &[0x1_0000]);
        // Text, and data that begins 0x5000 bytes behind it.
        check(
            0,
            &[(0x7000, 0x1000), (0x100_0000, 0x40_3000), (0x140_8000, 0x60_0000)],
            &[0, 0x20_0000, 0x60_8000],
        );
        check(0x1_0000, &[(0x10_0000, 0x40_0000)], &[0x10_0000]);
        check(u64::MAX, &[(0x20_0000, 0x20_0000)], &[u64::MAX]);
    }
}
