//! Loading files by mapping them over guest memory.

use std::fmt;

use boot_core::{
    BackingStore, ByteSource, GuestMemory, GuestRange, MemoryError, ReadError, ReadErrorKind, arith,
};
use vm_memory::{GuestMemoryBackend, GuestMemoryMmap};

use crate::GuestRam;
use crate::access::{Access, Backend as _, failed};
use crate::pages;
use crate::pages::map::{MappableFile, map_file};

/// The files that [`GuestRam::map_files`] may map.
///
/// A page that is mapped is that of the file until the first write to it. Whoever can write to the file changes such a page in the guest, whoever
/// can shorten it takes the page away: an access of the guest then fails, and one of this process is a `SIGBUS`. A file that was copied has no
/// influence any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum FileMapping {
    /// Memory files that are sealed against writes and shrinking (`F_SEAL_WRITE` and `F_SEAL_SHRINK`), such as a
    /// [`Memfd`](crate::Memfd) after [`seal`](crate::Memfd::seal). Others are copied.
    Sealed,
    /// Every regular file. The caller vouches that nobody writes to it or shortens it while the guest's memory exists.
    Trusted,
}

/// A part of a file that was mapped at guest physical addresses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "prepared-files", derive(serde::Serialize, serde::Deserialize))]
#[non_exhaustive]
pub struct MappedRange {
    /// The guest physical addresses: whole pages of the host.
    pub range: GuestRange,
    /// Offset of the first byte in the file.
    pub offset: u64,
}

/// Guest memory into which files are mapped rather than copied: made by [`GuestRam::map_files`].
///
/// [`GuestMemory::copy_from`] maps the whole pages of a file whose offset and guest physical address agree modulo the size of a page; the rest, and
/// every other source, is copied. All other accesses are those of the [`GuestRam`].
pub struct FileMapper<'a, M = GuestMemoryMmap> {
    ram: &'a mut GuestRam<M>,
    files: FileMapping,
    examined: &'a [MappableFile<'a>],
    prefault: bool,
    mapped: Vec<MappedRange>,
    copied_len: u64,
}

impl<M: GuestMemoryBackend + Sync> GuestRam<M> {
    /// This memory for loads that map files into it, rather than copy them; a plan is then loaded in the time of a few system calls, whatever the size
    /// of the kernel, and machines share the pages that their guests do not write.
    ///
    /// Files are mapped into memory that is [anonymous and private](crate::AccessOptions::anonymous_private), such as that of
    /// [`RamOptions`](crate::RamOptions), with [`SystemCalls::Fast`](crate::SystemCalls::Fast); into other memory they are copied. `files` chooses
    /// which: the others are copied, too.
    ///
    /// ```
    /// use std::fs::File;
    ///
    /// use boot_core::{GuestMemory, GuestRange, MemoryMap};
    /// use guest_ram::{FileMapping, GuestRam, Memfd};
    ///
    /// let kernel = Memfd::create(c"kernel", 0x3000)?;
    /// std::os::unix::fs::FileExt::write_all_at(kernel.file(), b"code", 0x1000)?;
    /// kernel.seal()?;
    ///
    /// let mut ram = GuestRam::new(&MemoryMap::pc(16 << 20)?)?;
    /// let mut mapper = ram.map_files(FileMapping::Sealed);
    /// // Instead of this, `BootPlan::load`.
    /// mapper.copy_from(GuestRange::new(0x10_0000, 0x2800).unwrap(), kernel.file(), 0)?;
    /// assert_eq!((mapper.mapped_len(), mapper.copied_len()), (0x2000, 0x800));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn map_files(&mut self, files: FileMapping) -> FileMapper<'_, M> {
        FileMapper {
            ram: self,
            files,
            examined: &[],
            prefault: false,
            mapped: Vec::new(),
            copied_len: 0,
        }
    }
}

impl<'a, M: GuestMemoryBackend + Sync> FileMapper<'a, M> {
    /// Sets files that were examined before. Other files are examined for each [`copy_from`](GuestMemory::copy_from): system calls that take as long as
    /// those that map a part.
    ///
    /// The length of a file is that at its examination. [`BootPlan::load`](boot_core::BootPlan::load) compares the present length with the one of the plan.
    ///
    /// ```
    /// use std::fs::File;
    ///
    /// use boot_core::{GuestMemory, GuestRange, MemoryMap};
    /// use guest_ram::{FileMapping, GuestRam, MappableFile};
    ///
    /// let kernel = File::open("/proc/self/exe")?;
    /// let examined = MappableFile::new(&kernel);
    /// for _machine in 0..2 {
    ///     let mut ram = GuestRam::new(&MemoryMap::pc(16 << 20)?)?;
    ///     let mut mapper = ram.map_files(FileMapping::Trusted).examined(examined.as_slice());
    ///     mapper.copy_from(GuestRange::new(0x10_0000, 0x1000).unwrap(), &kernel, 0)?;
    ///     assert_eq!(mapper.mapped_len(), 0x1000);
    /// }
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn examined(self, files: &'a [MappableFile<'a>]) -> Self {
        Self {
            examined: files,
            ..self
        }
    }

    /// Sets whether the host maps the pages of a file at once (`MAP_POPULATE`), rather than at the first access of the guest. Off by default.
    #[must_use]
    pub fn prefault(self, prefault: bool) -> Self {
        Self { prefault, ..self }
    }

    /// What was mapped, in the order of the loads.
    #[must_use]
    pub fn mapped(&self) -> &[MappedRange] {
        &self.mapped
    }

    /// The number of bytes that were mapped.
    #[must_use]
    pub fn mapped_len(&self) -> u64 {
        let lens = self.mapped.iter().map(|mapped| mapped.range.len());
        lens.fold(0, u64::saturating_add)
    }

    /// The number of bytes that [`GuestMemory::copy_from`] copied.
    #[must_use]
    pub const fn copied_len(&self) -> u64 {
        self.copied_len
    }

    /// The file of a source, if it may be mapped.
    pub(crate) fn file<'s>(&self, source: &'s dyn ByteSource) -> Option<MappableFile<'s>> {
        if !self.ram.access_options().maps_files() {
            return None;
        }
        let BackingStore::File(file) = source.backing_store() else {
            return None;
        };
        let examined = self.examined.iter().find_map(|examined| examined.by(file));
        match self.files {
            FileMapping::Trusted => examined.or_else(|| MappableFile::of(file)),
            FileMapping::Sealed => {
                let file = examined.or_else(|| MappableFile::of(file).map(MappableFile::with_seals));
                file.filter(|file| file.is_sealed())
            }
        }
    }

    fn copy(&mut self, range: GuestRange, source: &dyn ByteSource, offset: u64) -> Result<(), MemoryError> {
        if range.is_empty() {
            return Ok(());
        }
        self.ram.copy_from(range, source, offset)?;
        self.copied_len = self.copied_len.saturating_add(range.len());
        Ok(())
    }

    /// Maps whole pages.
    fn map(&mut self, range: GuestRange, file: MappableFile<'_>, offset: u64) -> Result<(), MemoryError> {
        let end = offset.saturating_add(range.len());
        if end > file.len() {
            let len = usize::try_from(range.len()).unwrap_or(usize::MAX);
            return Err(ReadError::new(offset, len, ReadErrorKind::Shrunk).into());
        }
        // Before the pages are there: `zero` must not take them for anonymous ones.
        self.ram.add_mapped(range);
        let access: Access<'_, M> = self.ram.access();
        let mut position = offset;
        let pieces = access.memory.pieces(range).ok_or(MemoryError::NotBacked(range))?;
        for piece in pieces {
            map_file(&piece, file, position, self.prefault).map_err(|error| failed(range, error))?;
            position = position.saturating_add(arith::to_u64(piece.len()));
        }
        self.mapped.push(MappedRange { range, offset });
        Ok(())
    }

    /// The whole pages in `range` that can be mapped: where a page of the host, of guest physical addresses and of the file begin at the same places.
    fn whole_pages(&self, range: GuestRange, offset: u64) -> Option<GuestRange> {
        let page = arith::to_u64(pages::size());
        let start = range.start().checked_next_multiple_of(page)?;
        let end = range.end() - range.end() % page;
        let pages = GuestRange::from_bounds(start, end).filter(|pages| !pages.is_empty())?;
        if !offset.wrapping_sub(range.start()).is_multiple_of(page) {
            return None;
        }
        // Memory of the VMM may have other host addresses.
        let access = self.ram.access();
        let mut pieces = access.memory.pieces(pages)?;
        pieces.all(|piece| pages::is_whole(&piece)).then_some(pages)
    }
}

impl<M: GuestMemoryBackend + Sync> GuestMemory for FileMapper<'_, M> {
    fn check(&self, range: GuestRange) -> Result<(), MemoryError> {
        self.ram.check(range)
    }

    fn write(&mut self, addr: u64, bytes: &[u8]) -> Result<(), MemoryError> {
        self.ram.write(addr, bytes)
    }

    fn zero(&mut self, range: GuestRange) -> Result<(), MemoryError> {
        self.ram.zero(range)
    }

    fn read(&self, addr: u64, buf: &mut [u8]) -> Result<(), MemoryError> {
        self.ram.read(addr, buf)
    }

    fn copy_from(
        &mut self,
        range: GuestRange,
        source: &dyn ByteSource,
        offset: u64,
    ) -> Result<(), MemoryError> {
        self.check(range)?;
        let pages = self.whole_pages(range, offset);
        let Some((pages, file)) = pages.and_then(|pages| Some((pages, self.file(source)?))) else {
            return self.copy(range, source, offset);
        };
        let position = |addr: u64| offset.saturating_add(addr.saturating_sub(range.start()));
        let part = |start, end| GuestRange::from_bounds(start, end).unwrap_or(GuestRange::EMPTY);
        self.map(pages, file, position(pages.start()))?;
        self.copy(part(range.start(), pages.start()), source, offset)?;
        self.copy(part(pages.end(), range.end()), source, position(pages.end()))
    }
}

impl<M: GuestMemoryBackend> fmt::Debug for FileMapper<'_, M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FileMapper")
            .field("ram", &self.ram)
            .field("files", &self.files)
            .field("prefault", &self.prefault)
            .field("mapped", &self.mapped)
            .field("copied_len", &self.copied_len)
            .finish()
    }
}
