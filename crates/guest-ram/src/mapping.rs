//! Mappings of this process that back guest memory: anonymous memory, memory files and files.

#![expect(unsafe_code, reason = "maps and unmaps memory of this process")]

mod pair;

use std::io;
use std::ops::Range;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};
use std::ptr::{self, NonNull};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{PoisonError, RwLock};

use crate::mapping_error::MappingError;
use crate::memfd::Memfd;
use crate::slice::RawSlice;
use crate::{HugePages, pages, short_copy};

/// Consecutive host addresses with memory of one or several kinds, for the memory slots of a hypervisor.
///
/// A slot needs consecutive host addresses, but not one kind of memory: [`reserve`](Self::reserve) addresses and place parts in them, or make a
/// [`pair`](Self::pair).
/// The other constructors make a mapping of one part. [`ExclusiveBytes`](crate::ExclusiveBytes) are a part of a mapping for frequent
/// accesses.
///
/// All memory is mapped with `MAP_NORESERVE`: a page takes memory of the host from the first write on, and the host does not account for
/// it before. No Rust reference to the memory exists. [`read`](Self::read), [`write`](Self::write) and
/// [`dont_need`](Self::dont_need) of one mapping exclude each other; the guest, and other mappings of the same file, may access the memory
/// at any time.
///
/// ```
/// use guest_ram::{HostMapping, Memfd};
///
/// let file = Memfd::create(c"base", 0x4000)?;
/// HostMapping::shared(&file)?.write(0x1000, b"base")?;
/// let private = HostMapping::private(&file)?;
/// private.write(0x1000, b"copy")?;
/// // The host drops the private copy of the page, and the contents of the file are back.
/// private.dont_need(0x1000..0x2000)?;
/// let mut bytes = [0; 4];
/// private.read(0x1000, &mut bytes)?;
/// assert_eq!(&bytes, b"base");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct HostMapping {
    host: NonNull<u8>,
    len: usize,
    /// Parts with memory, in the order in which they were placed. They do not overlap.
    parts: Vec<Part>,
    /// Ranges of [`ExclusiveBytes`](crate::ExclusiveBytes). The lock also excludes accesses of the methods to each other.
    claims: RwLock<Vec<Range<usize>>>,
}

// SAFETY: the mapping is not tied to a thread. `host` is valid until the drop, and the methods with `&self` that access the memory
// exclude each other by the lock.
unsafe impl Send for HostMapping {}

// SAFETY: as for `Send`.
unsafe impl Sync for HostMapping {}

#[derive(Clone, Debug)]
struct Part {
    range: Range<usize>,
    access: HostAccess,
}

/// Access of the host to a part of a mapping.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum HostAccess {
    /// The length of the file can change, so an access could cause a `SIGBUS`.
    None,
    /// As `None`, but the host may drop pages: they are private copies.
    Drop,
    Read,
    ReadWrite,
}

impl HostAccess {
    /// Whether pages may be dropped. Those of read-only memory are those of the file.
    const fn permits_drop(self) -> bool {
        matches!(self, Self::Drop | Self::ReadWrite)
    }
}

/// How a part of a mapping relates to its [`Memfd`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum MemfdSharing {
    /// Readable and writable; writes change the file (`MAP_SHARED`).
    Shared,
    /// Readable; the pages are those of the file (`MAP_SHARED` without `PROT_WRITE`).
    SharedReadOnly,
    /// Readable and writable; the first write to a page makes a copy of it (`MAP_PRIVATE`). Whether later writes to the file appear in
    /// pages without a copy is unspecified, so the file is sealed first.
    Private,
}

/// What the kernel maps at a part.
struct Source<'a> {
    file: Option<(BorrowedFd<'a>, u64)>,
    flags: libc::c_int,
    protection: libc::c_int,
}

impl<'a> Source<'a> {
    /// Anonymous private memory.
    const ANONYMOUS: Self = Self {
        file: None,
        flags: libc::MAP_PRIVATE | libc::MAP_ANONYMOUS,
        protection: libc::PROT_READ | libc::PROT_WRITE,
    };

    /// The bytes of `memfd` from `offset` on, and the access that the host has.
    fn of_memfd(memfd: &'a Memfd, offset: usize, sharing: MemfdSharing) -> (Self, HostAccess) {
        let writable = libc::PROT_READ | libc::PROT_WRITE;
        let (flags, protection, access) = match sharing {
            MemfdSharing::Shared => (libc::MAP_SHARED, writable, HostAccess::ReadWrite),
            MemfdSharing::SharedReadOnly => (libc::MAP_SHARED, libc::PROT_READ, HostAccess::Read),
            MemfdSharing::Private => (libc::MAP_PRIVATE, writable, HostAccess::ReadWrite),
        };
        let source = Self {
            file: Some((memfd.as_fd(), boot_core::arith::to_u64(offset))),
            flags,
            protection,
        };
        (source, access)
    }

    /// The bytes of a file from `offset` on, for the guest: `MAP_SHARED` and readable, or `MAP_PRIVATE` and writable.
    fn of_file(file: &'a impl AsFd, offset: u64, is_private: bool) -> Self {
        let (flags, protection) = if is_private {
            (libc::MAP_PRIVATE, libc::PROT_READ | libc::PROT_WRITE)
        } else {
            (libc::MAP_SHARED, libc::PROT_READ)
        };
        Self {
            file: Some((file.as_fd(), offset)),
            flags,
            protection,
        }
    }
}

impl HostMapping {
    /// Reserves `len` bytes of addresses without memory (`PROT_NONE`): every access to them fails until a part is placed there.
    ///
    /// # Errors
    ///
    /// [`MappingError::Length`] if `len` is zero or is not a multiple of the page size; [`MappingError::Map`].
    pub fn reserve(len: usize) -> Result<Self, MappingError> {
        let source = Source {
            file: None,
            flags: libc::MAP_PRIVATE | libc::MAP_ANONYMOUS,
            protection: libc::PROT_NONE,
        };
        Self::map(len, &source, HostAccess::None).map(|mut mapping| {
            mapping.parts.clear();
            mapping
        })
    }

    /// Maps `len` bytes of `source`, from its start on, as one part.
    fn map(len: usize, source: &Source<'_>, access: HostAccess) -> Result<Self, MappingError> {
        let range = 0..len;
        check_pages(&range)?;
        if len == 0 {
            return Err(MappingError::Length {
                len,
                page_size: pages::size(),
            });
        }
        let fd = source.file.map_or(-1, |(file, _)| file.as_raw_fd());
        let flags = source.flags | libc::MAP_NORESERVE;
        // SAFETY: without MAP_FIXED the kernel chooses unused addresses, so no memory of the process changes.
        let start = unsafe { libc::mmap(ptr::null_mut(), len, source.protection, flags, fd, 0) };
        let host = NonNull::new(start.cast::<u8>()).filter(|_| start != libc::MAP_FAILED);
        let Some(host) = host else {
            let source = io::Error::last_os_error();
            return Err(MappingError::Map {
                offset: 0,
                len,
                source,
            });
        };
        Ok(Self {
            host,
            len,
            parts: vec![Part { range, access }],
            claims: RwLock::default(),
        })
    }

    /// Maps `len` bytes of anonymous private memory, which reads as zeros at first.
    ///
    /// # Errors
    ///
    /// As [`reserve`](Self::reserve).
    pub fn anonymous(len: usize) -> Result<Self, MappingError> {
        Self::map(len, &Source::ANONYMOUS, HostAccess::ReadWrite)
    }

    /// Maps all of `memfd` with [`MemfdSharing::Shared`].
    ///
    /// # Errors
    ///
    /// As [`reserve`](Self::reserve); [`MappingError::Map`] also for a sealed file.
    pub fn shared(memfd: &Memfd) -> Result<Self, MappingError> {
        Self::of_memfd(memfd, MemfdSharing::Shared)
    }

    /// Maps all of `memfd` with [`MemfdSharing::Private`].
    ///
    /// # Errors
    ///
    /// As [`reserve`](Self::reserve).
    pub fn private(memfd: &Memfd) -> Result<Self, MappingError> {
        Self::of_memfd(memfd, MemfdSharing::Private)
    }

    /// Maps `len` bytes of `file` from `offset` on, for reading by the guest: the pages are those of the file.
    ///
    /// Others can shorten the file, and an access to a page past its end is a `SIGBUS`. Therefore [`read`](Self::read) refuses this
    /// memory: read the file instead. A hypervisor reports such an access of the guest as an error.
    ///
    /// # Errors
    ///
    /// As [`place_file_read_only`](Self::place_file_read_only).
    pub fn shared_read_only(file: &impl AsFd, offset: u64, len: usize) -> Result<Self, MappingError> {
        let mut mapping = Self::reserve(len)?;
        mapping.place_file_read_only(0..len, file, offset)?;
        Ok(mapping)
    }

    /// Maps `len` bytes of `file` from `offset` on, a multiple of the page size, for reading and writing by the guest: a page is that of the
    /// file until the first write, which makes a private copy of it. The file need not be writable, and never changes.
    ///
    /// As with [`shared_read_only`](Self::shared_read_only), the host neither reads nor writes this memory.
    /// [`dont_need`](Self::dont_need) drops copies: the pages are those of the file again.
    ///
    /// # Errors
    ///
    /// As [`place_file_read_only`](Self::place_file_read_only).
    pub fn copy_on_write(file: &impl AsFd, offset: u64, len: usize) -> Result<Self, MappingError> {
        let mut mapping = Self::reserve(len)?;
        mapping.place(0..len, &Source::of_file(file, offset, true), HostAccess::Drop)?;
        Ok(mapping)
    }

    fn of_memfd(memfd: &Memfd, sharing: MemfdSharing) -> Result<Self, MappingError> {
        let (source, access) = Source::of_memfd(memfd, 0, sharing);
        Self::map(memfd.len(), &source, access)
    }

    /// Places anonymous private memory at `range`, byte offsets in the mapping.
    ///
    /// # Errors
    ///
    /// [`MappingError::Length`] if the range does not consist of whole pages, [`MappingError::Range`] if it is empty or ends past the
    /// mapping, [`MappingError::Overlap`] if it overlaps another part, [`MappingError::Map`].
    pub fn place_anonymous(&mut self, range: Range<usize>) -> Result<(), MappingError> {
        self.place(range, &Source::ANONYMOUS, HostAccess::ReadWrite)
    }

    /// Places the bytes of `memfd` from `offset` on, a multiple of the page size, at `range`.
    ///
    /// # Errors
    ///
    /// As [`place_anonymous`](Self::place_anonymous); [`MappingError::FileRange`] if the file has fewer bytes.
    pub fn place_memfd(
        &mut self,
        range: Range<usize>,
        memfd: &Memfd,
        offset: usize,
        sharing: MemfdSharing,
    ) -> Result<(), MappingError> {
        let end = offset.checked_add(range.len());
        if end.is_none_or(|end| end > memfd.len()) {
            return Err(MappingError::FileRange {
                offset,
                len: range.len(),
                file_len: memfd.len(),
            });
        }
        let (source, access) = Source::of_memfd(memfd, offset, sharing);
        self.place(range, &source, access)
    }

    /// Places the bytes of `file` from `offset` on, a multiple of the page size, at `range`; see
    /// [`shared_read_only`](Self::shared_read_only).
    ///
    /// # Errors
    ///
    /// As [`place_anonymous`](Self::place_anonymous).
    pub fn place_file_read_only(
        &mut self,
        range: Range<usize>,
        file: &impl AsFd,
        offset: u64,
    ) -> Result<(), MappingError> {
        self.place(range, &Source::of_file(file, offset, false), HostAccess::None)
    }

    fn place(
        &mut self,
        range: Range<usize>,
        source: &Source<'_>,
        access: HostAccess,
    ) -> Result<(), MappingError> {
        check_pages(&range)?;
        if range.is_empty() || range.end > self.len {
            let len = self.len;
            return Err(MappingError::Range { range, len });
        }
        let overlaps = |part: &&Part| part.range.start < range.end && range.start < part.range.end;
        if let Some(other) = self.parts.iter().find(overlaps) {
            let other = other.range.clone();
            return Err(MappingError::Overlap { range, other });
        }
        let failed = |source| MappingError::Map {
            offset: range.start,
            len: range.len(),
            source,
        };
        let (fd, offset) = source
            .file
            .map_or((-1, 0), |(file, offset)| (file.as_raw_fd(), offset));
        let offset = libc::off_t::try_from(offset)
            .map_err(|error| failed(io::Error::new(io::ErrorKind::InvalidInput, error)))?;
        // SAFETY: `range` is inside of the `self.len` bytes that were reserved at `self.host`.
        let start = unsafe { self.host.as_ptr().add(range.start) };
        let flags = source.flags | libc::MAP_NORESERVE | libc::MAP_FIXED;
        // SAFETY: the pages replaced are all in the reservation, which this value owns, and none of them is in another part. They have
        // no memory so far, so no value of the program is there.
        let mapped = unsafe { libc::mmap(start.cast(), range.len(), source.protection, flags, fd, offset) };
        if mapped == libc::MAP_FAILED {
            return Err(failed(io::Error::last_os_error()));
        }
        self.parts.push(Part { range, access });
        Ok(())
    }

    /// Length in bytes, with addresses that have no memory.
    #[must_use]
    #[expect(clippy::len_without_is_empty, reason = "it is never empty")]
    pub fn len(&self) -> usize {
        self.len
    }

    /// The host address of the first byte. The addresses stay mapped while the value exists.
    ///
    /// The guest may change the bytes at any time, so no Rust reference to them may exist. Accesses through the pointer are not excluded
    /// by those of [`read`](Self::read), [`write`](Self::write) and [`dont_need`](Self::dont_need).
    #[must_use]
    pub fn host_ptr(&self) -> *mut u8 {
        self.host.as_ptr()
    }

    /// Advises the host about huge pages in the whole mapping (`MADV_HUGEPAGE` or `MADV_NOHUGEPAGE`). The host may ignore it.
    ///
    /// Memory with a dirty log is better off with [`HugePages::Avoid`]: the hypervisor logs small pages, and a huge page of the host takes
    /// memory and time for 512 of them.
    pub fn advise_huge_pages(&self, huge_pages: HugePages) {
        // SAFETY: the bytes are mapped while `self` exists. `advise_huge` does not access them.
        let slice = unsafe { RawSlice::new(self.host.as_ptr(), self.len) };
        pages::advise_huge(&slice, huge_pages);
    }

    /// Copies bytes from `offset` on to `bytes`. If the guest writes them meanwhile, the copy is a mixture of old and new bytes.
    ///
    /// # Errors
    ///
    /// [`MappingError::NoAccess`] if a byte has no memory, or that of a [file](Self::shared_read_only), and [`MappingError::Claimed`] if a
    /// byte belongs to an [`ExclusiveBytes`](crate::ExclusiveBytes); nothing is read then.
    pub fn read(&self, offset: usize, bytes: &mut [u8]) -> Result<(), MappingError> {
        let range = self.accessible(offset, bytes.len(), HostAccess::Read)?;
        let claims = self.claims.read().unwrap_or_else(PoisonError::into_inner);
        check_claims(&claims, &range)?;
        // SAFETY: the range is inside of the mapping.
        let from = unsafe { self.host.as_ptr().add(range.start) };
        // SAFETY: `accessible` checked that as many bytes are readable. Writers of this value wait. No Rust reference to them exists, so
        // `bytes` are others.
        unsafe { short_copy::copy(from, bytes.as_mut_ptr(), bytes.len()) };
        Ok(())
    }

    /// Appends a copy of the `len` bytes from `offset` on to `bytes`. As [`read`](Self::read), without bytes that have to be written before.
    ///
    /// # Errors
    ///
    /// As [`read`](Self::read); `bytes` does not change then.
    pub fn append_to(&self, offset: usize, len: usize, bytes: &mut Vec<u8>) -> Result<(), MappingError> {
        let range = self.accessible(offset, len, HostAccess::Read)?;
        let claims = self.claims.read().unwrap_or_else(PoisonError::into_inner);
        check_claims(&claims, &range)?;
        bytes.reserve(len);
        let old = bytes.len();
        // SAFETY: the range is inside of the mapping.
        let from = unsafe { self.host.as_ptr().add(range.start) };
        let to = bytes.spare_capacity_mut().as_mut_ptr().cast::<u8>();
        // SAFETY: as for `read`; the vector has room for as many bytes after its length.
        unsafe { short_copy::copy(from, to, len) };
        // SAFETY: the capacity is sufficient after `reserve`, and the bytes were just written.
        unsafe { bytes.set_len(old.saturating_add(len)) };
        Ok(())
    }

    /// Copies `bytes` to the memory from `offset` on.
    ///
    /// # Errors
    ///
    /// [`MappingError::NoAccess`] if a byte has no memory, or memory that is not writable, and [`MappingError::Claimed`] if a byte belongs
    /// to an [`ExclusiveBytes`](crate::ExclusiveBytes); nothing is written then.
    pub fn write(&self, offset: usize, bytes: &[u8]) -> Result<(), MappingError> {
        let range = self.accessible(offset, bytes.len(), HostAccess::ReadWrite)?;
        let claims = self.claims.write().unwrap_or_else(PoisonError::into_inner);
        check_claims(&claims, &range)?;
        // SAFETY: the range is inside of the mapping.
        let to = unsafe { self.host.as_ptr().add(range.start) };
        // SAFETY: `accessible` checked that as many bytes are writable. Other accesses of this value wait. No Rust reference to them exists,
        // so `bytes` are others.
        unsafe { short_copy::copy(bytes.as_ptr(), to, bytes.len()) };
        Ok(())
    }

    /// Copies `len` bytes of `source` from `offset` on to the same offset of this mapping. If the guest writes them meanwhile, the copy is a
    /// mixture of old and new bytes.
    ///
    /// # Errors
    ///
    /// As [`read`](Self::read) of `source` and [`write`](Self::write); nothing is written then.
    pub fn copy_from(&self, source: &Self, offset: usize, len: usize) -> Result<(), MappingError> {
        if ptr::eq(self, source) {
            return Ok(());
        }
        let range = source.accessible(offset, len, HostAccess::Read)?;
        let target = self.accessible(offset, len, HostAccess::ReadWrite)?;
        // In the order of addresses, so that two threads that copy in both directions do not wait for each other.
        let is_first = ptr::from_ref(self).addr() < ptr::from_ref(source).addr();
        let mut source_claims = None;
        if !is_first {
            source_claims = Some(source.claims.read().unwrap_or_else(PoisonError::into_inner));
        }
        let claims = self.claims.write().unwrap_or_else(PoisonError::into_inner);
        let source_claims =
            source_claims.unwrap_or_else(|| source.claims.read().unwrap_or_else(PoisonError::into_inner));
        check_claims(&source_claims, &range)?;
        check_claims(&claims, &target)?;
        // SAFETY: the range is inside of the mapping of `source`.
        let from = unsafe { source.host.as_ptr().add(range.start) };
        // SAFETY: the range is inside of this mapping.
        let to = unsafe { self.host.as_ptr().add(target.start) };
        // SAFETY: `accessible` checked that the bytes are readable and writable, and writers of both values wait. Two mappings have different
        // addresses.
        unsafe { short_copy::copy(from, to, len) };
        Ok(())
    }

    /// Fills `len` bytes from `offset` on with zeros.
    ///
    /// # Errors
    ///
    /// As [`write`](Self::write).
    pub fn zero(&self, offset: usize, len: usize) -> Result<(), MappingError> {
        let range = self.accessible(offset, len, HostAccess::ReadWrite)?;
        let claims = self.claims.write().unwrap_or_else(PoisonError::into_inner);
        check_claims(&claims, &range)?;
        // SAFETY: the range is inside of the mapping.
        let to = unsafe { self.host.as_ptr().add(range.start) };
        // SAFETY: as for `write`.
        unsafe { short_copy::zero(to, len) };
        Ok(())
    }

    /// Reads the number of 64 bits at `offset`, in the byte order of the host, in one access (`Ordering::Acquire`): if the guest stores it in one
    /// access, it is one that was stored.
    ///
    /// # Errors
    ///
    /// As [`read`](Self::read); [`MappingError::Misaligned`].
    pub fn load_u64(&self, offset: usize) -> Result<u64, MappingError> {
        self.atomic(offset, HostAccess::Read, |number| number.load(Ordering::Acquire))
    }

    /// Writes the number of 64 bits at `offset`, in the byte order of the host, in one access (`Ordering::Release`): a guest that sees it sees
    /// what was written before, too.
    ///
    /// # Errors
    ///
    /// As [`write`](Self::write); [`MappingError::Misaligned`].
    pub fn store_u64(&self, offset: usize, value: u64) -> Result<(), MappingError> {
        self.atomic(offset, HostAccess::ReadWrite, |number| {
            number.store(value, Ordering::Release);
        })
    }

    /// Calls `f` with the number of 64 bits at `offset`.
    fn atomic<R>(
        &self,
        offset: usize,
        access: HostAccess,
        f: impl FnOnce(&AtomicU64) -> R,
    ) -> Result<R, MappingError> {
        let align = align_of::<AtomicU64>();
        if !offset.is_multiple_of(align) {
            return Err(MappingError::Misaligned { offset, align });
        }
        let range = self.accessible(offset, size_of::<AtomicU64>(), access)?;
        let claims = self.claims.write().unwrap_or_else(PoisonError::into_inner);
        check_claims(&claims, &range)?;
        // SAFETY: the range is inside of the mapping.
        let number = unsafe { self.host.as_ptr().add(range.start) };
        // SAFETY: `accessible` checked that 8 bytes are mapped there with this access, and they stay mapped while `self` exists. The mapping
        // starts at a page, so they are aligned. Other accesses of this value wait; those of the guest are not of this program.
        Ok(f(unsafe { AtomicU64::from_ptr(number.cast()) }))
    }

    /// Drops the pages of `range`, byte offsets (`MADV_DONTNEED`): anonymous memory reads as zeros afterwards, private memory of a file as
    /// the file. The contents of shared memory stay.
    ///
    /// # Errors
    ///
    /// [`MappingError::Length`] if the range does not consist of whole pages; [`MappingError::NoAccess`] if some of it is read-only or has no
    /// memory; [`MappingError::Claimed`]; [`MappingError::DontNeed`].
    pub fn dont_need(&self, range: Range<usize>) -> Result<(), MappingError> {
        check_pages(&range)?;
        let range = self.covered(range.start, range.len(), HostAccess::permits_drop)?;
        let claims = self.claims.write().unwrap_or_else(PoisonError::into_inner);
        check_claims(&claims, &range)?;
        // SAFETY: the range is inside of the mapping.
        let start = unsafe { self.host.as_ptr().add(range.start) };
        // SAFETY: the pages belong to this value and stay mapped; their bytes may change at any time, and no Rust reference to them exists.
        let result = unsafe { libc::madvise(start.cast(), range.len(), libc::MADV_DONTNEED) };
        if result == 0 {
            Ok(())
        } else {
            let source = io::Error::last_os_error();
            Err(MappingError::DontNeed { range, source })
        }
    }

    /// Makes `range` inaccessible for the other methods, until [`release`](Self::release) of the same range.
    pub(crate) fn claim(&self, range: &Range<usize>) -> Result<(), MappingError> {
        self.accessible(range.start, range.len(), HostAccess::ReadWrite)?;
        let mut claims = self.claims.write().unwrap_or_else(PoisonError::into_inner);
        check_claims(&claims, range)?;
        claims.push(range.clone());
        Ok(())
    }

    /// Ends a [`claim`](Self::claim).
    pub(crate) fn release(&self, range: &Range<usize>) {
        let mut claims = self.claims.write().unwrap_or_else(PoisonError::into_inner);
        claims.retain(|claim| claim != range);
    }

    /// The range of `len` bytes from `offset` on, if parts with at least this access cover it.
    fn accessible(
        &self,
        offset: usize,
        len: usize,
        access: HostAccess,
    ) -> Result<Range<usize>, MappingError> {
        self.covered(offset, len, |part| part >= access)
    }

    /// The range of `len` bytes from `offset` on, if parts whose access is `permitted` cover it.
    fn covered(
        &self,
        offset: usize,
        len: usize,
        permitted: impl Fn(HostAccess) -> bool,
    ) -> Result<Range<usize>, MappingError> {
        let Some(end) = offset.checked_add(len) else {
            return Err(MappingError::NoAccess { offset });
        };
        let mut next = offset;
        while next < end {
            let part = self.parts.iter().find(|part| part.range.contains(&next));
            match part.filter(|part| permitted(part.access)) {
                Some(part) => next = part.range.end,
                None => return Err(MappingError::NoAccess { offset: next }),
            }
        }
        // An empty range has no byte to check.
        Ok(if len == 0 { 0..0 } else { offset..end })
    }
}

impl Drop for HostMapping {
    fn drop(&mut self) {
        // SAFETY: `reserve` mapped these addresses, all parts are in them, and nothing refers to them any more: users of `host_ptr` keep the
        // value.
        unsafe { libc::munmap(self.host.as_ptr().cast(), self.len) };
    }
}

/// Checks that no claim has a byte of `range`.
fn check_claims(claims: &[Range<usize>], range: &Range<usize>) -> Result<(), MappingError> {
    let overlaps = |claim: &&Range<usize>| claim.start < range.end && range.start < claim.end;
    match claims.iter().find(overlaps) {
        Some(claim) => Err(MappingError::Claimed {
            range: range.clone(),
            claim: claim.clone(),
        }),
        None => Ok(()),
    }
}

/// Checks that `range` consists of whole pages of an object of at most `isize::MAX` bytes.
fn check_pages(range: &Range<usize>) -> Result<(), MappingError> {
    let page_size = pages::size();
    let len = range.len();
    let whole = [range.start, range.end]
        .iter()
        .all(|end| end.is_multiple_of(page_size));
    if whole && isize::try_from(range.end).is_ok() {
        Ok(())
    } else {
        Err(MappingError::Length { len, page_size })
    }
}
