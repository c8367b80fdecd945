//! Guest memory over vm-memory.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use boot_core::{ByteSource, GuestMemory, GuestRange, MemoryError, MemoryMap, MemoryMapError, RegionKind};
use vm_memory::bitmap::{Bitmap, MS};
use vm_memory::{
    GuestAddress, GuestMemoryBackend, GuestMemoryMmap, GuestMemoryRegion, MemoryRegionAddress, VolatileSlice,
};

use crate::access::{Access, Backend};
use crate::access_options::AccessOptions;
use crate::{HugePages, RamRegion, pages};

/// Guest memory over [`vm_memory`], for loading a [`BootPlan`](boot_core::BootPlan) and for the memory slots of a hypervisor.
///
/// [`new`](Self::new) and [`RamOptions`](crate::RamOptions) map memory for a [`MemoryMap`](boot_core::MemoryMap);
/// [`from_memory`](Self::from_memory) wraps existing memory of a VMM: any [`GuestMemoryBackend`] with any type of region and of
/// dirty bitmap. Clones share the memory. Writes through this type are marked in the dirty bitmap, if the regions have one.
///
/// An access may span regions that are adjacent in guest physical memory. If a part of its range has no memory, it fails
/// before anything is written.
pub struct GuestRam<M = GuestMemoryMmap> {
    memory: Arc<M>,
    options: AccessOptions,
    /// Ranges where files were mapped. Clones share the list, as they share the memory.
    mapped: Arc<Mutex<Vec<GuestRange>>>,
}

/// A memory map with every region of `memory` as RAM, for the [`Machine`](boot_core::Machine) of a VMM with memory of its own. The
/// caller reserves what the guest must not use as RAM.
///
/// ```
/// use boot_core::{Arch, Machine};
/// use vm_memory::{GuestAddress, GuestMemoryMmap};
///
/// let memory = GuestMemoryMmap::<()>::from_ranges(&[(GuestAddress(0x8000_0000), 64 << 20)])?;
/// let machine = Machine::new(Arch::Riscv64, guest_ram::memory_map(&memory)?);
/// assert_eq!(machine.memory.ram_len(), 64 << 20);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// # Errors
///
/// [`MemoryMapError`] if regions are empty or overlap, which those of vm-memory's own types do not, or if one contains the last
/// address, `u64::MAX`.
pub fn memory_map(memory: &impl GuestMemoryBackend) -> Result<MemoryMap, MemoryMapError> {
    let mut map = MemoryMap::new();
    for region in memory.iter() {
        let len = region.len();
        let range = GuestRange::new(region.start_addr().0, len);
        map.insert(range.ok_or(MemoryMapError::TooLarge { len })?, RegionKind::Ram)?;
    }
    Ok(map)
}

impl<M: GuestMemoryBackend> GuestRam<M> {
    /// Wraps existing memory with mappings of any kind: anonymous, shared, of files or of huge pages.
    ///
    /// The host must be able to write to all of it: a read of a file into a mapping without `PROT_WRITE` is an error, but a write of bytes to it is a `SIGSEGV`,
    /// as by vm-memory itself.
    ///
    /// [`zero`](GuestMemory::zero) writes every byte of such mappings, except with [`AccessOptions::anonymous_private`].
    #[must_use]
    pub fn from_memory(memory: Arc<M>) -> Self {
        Self {
            memory,
            options: AccessOptions::new(),
            mapped: Arc::default(),
        }
    }

    /// Sets how the memory is accessed. Existing clones keep their options. Memory that was
    /// [anonymous and private](AccessOptions::anonymous_private) stays so.
    #[must_use]
    pub fn with_access(self, options: AccessOptions) -> Self {
        let options = options.anonymous_private_or(self.options);
        Self { options, ..self }
    }

    /// How the memory is accessed.
    #[must_use]
    pub fn access_options(&self) -> AccessOptions {
        self.options
    }

    /// The memory itself, for devices.
    ///
    /// In mappings of this crate, [`zero`](GuestMemory::zero) discards pages that are not resident (`MADV_DONTNEED`). A VMM
    /// that registers the memory with `userfaultfd` or maps other memory over it must wrap the memory again with
    /// [`from_memory`](Self::from_memory).
    #[must_use]
    pub fn memory(&self) -> &Arc<M> {
        &self.memory
    }

    /// Advises the host about huge pages in all regions (`MADV_HUGEPAGE` or `MADV_NOHUGEPAGE`). The host may ignore it.
    ///
    /// A huge page of the host can back a huge page of the guest only if the host address and the guest physical address are
    /// equal modulo 2 MiB. [`RamOptions`](crate::RamOptions) arranges it for the mappings of this crate.
    pub fn advise_huge_pages(&self, huge_pages: HugePages) {
        for region in self.memory.iter() {
            let len = usize::try_from(region.len()).unwrap_or(usize::MAX);
            if let Ok(slice) = region.get_slice(MemoryRegionAddress(0), len) {
                pages::advise_huge(&slice, huge_pages);
            }
        }
    }
}

impl<B: Bitmap> GuestRam<GuestMemoryMmap<B>> {
    /// All regions, sorted by guest physical address, for the memory slots of a hypervisor.
    pub fn regions(&self) -> impl Iterator<Item = RamRegion> + '_
    where
        B: Send + Sync + 'static,
    {
        // vm-memory has no regions past the last address.
        self.memory.iter().filter_map(RamRegion::new)
    }
}

impl<M: GuestMemoryBackend + Sync> Backend for M {
    type Slice<'a>
        = VolatileSlice<'a, MS<'a, M>>
    where
        Self: 'a;

    fn pieces(&self, range: GuestRange) -> Option<impl Iterator<Item = Self::Slice<'_>>> {
        let start = GuestAddress(range.start());
        let len = usize::try_from(range.len()).ok()?;
        let all = self.check_range(start, len);
        all.then(|| self.get_slices(start, len).map_while(Result::ok))
    }
}

impl<M: GuestMemoryBackend + Sync> GuestRam<M> {
    /// Notes that a file is mapped at `range`.
    #[cfg(target_os = "linux")]
    pub(crate) fn add_mapped(&self, range: GuestRange) {
        let mut mapped = self.mapped.lock().unwrap_or_else(PoisonError::into_inner);
        // Loads of another plan into the same memory do not make the list longer.
        mapped.retain(|other| !range.contains(*other));
        mapped.push(range);
    }

    /// Whether no file is mapped in `range`.
    fn is_anonymous(&self, range: GuestRange) -> bool {
        let mapped = self.mapped.lock().unwrap_or_else(PoisonError::into_inner);
        !mapped.iter().any(|other| other.overlaps(range))
    }

    pub(crate) fn access(&self) -> Access<'_, M> {
        Access {
            memory: &*self.memory,
            options: self.options,
        }
    }
}

impl<M: GuestMemoryBackend + Sync> GuestMemory for GuestRam<M> {
    fn check(&self, range: GuestRange) -> Result<(), MemoryError> {
        self.access().check(range)
    }

    fn write(&mut self, addr: u64, bytes: &[u8]) -> Result<(), MemoryError> {
        self.access().write(addr, bytes)
    }

    /// Fills `range` with zeros. In large ranges of the crate's own mappings only resident pages are written: the host zeroes
    /// the others.
    fn zero(&mut self, range: GuestRange) -> Result<(), MemoryError> {
        self.access().zero(range, self.is_anonymous(range))
    }

    fn read(&self, addr: u64, buf: &mut [u8]) -> Result<(), MemoryError> {
        self.access().read(addr, buf)
    }

    /// Fills `range` with the bytes of `source` from `offset` on: bytes in memory are copied, files are read into guest
    /// memory, other sources are copied through a buffer.
    ///
    /// The cursor of a file does not move. If the file became shorter, the error is
    /// [`ReadErrorKind::Shrunk`](boot_core::ReadErrorKind::Shrunk).
    fn copy_from(
        &mut self,
        range: GuestRange,
        source: &dyn ByteSource,
        offset: u64,
    ) -> Result<(), MemoryError> {
        self.access().copy_from(range, source, offset)
    }
}

impl<M> Clone for GuestRam<M> {
    fn clone(&self) -> Self {
        Self {
            memory: Arc::clone(&self.memory),
            options: self.options,
            mapped: Arc::clone(&self.mapped),
        }
    }
}

impl<M: GuestMemoryBackend> fmt::Debug for GuestRam<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ranges = self
            .memory
            .iter()
            .filter_map(|region| GuestRange::new(region.start_addr().0, region.len()));
        f.debug_struct("GuestRam")
            .field("regions", &ranges.collect::<Vec<_>>())
            .field("options", &self.options)
            .field("mapped", &self.mapped)
            .finish()
    }
}
