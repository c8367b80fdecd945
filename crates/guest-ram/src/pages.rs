//! The system calls and raw accesses on mapped guest memory.
//!
//! Everything here works on a [`HostSlice`], which proves that its bytes are mapped for as long as it lives and
//! that no Rust reference to them exists. The calls only change these bytes.
//!
//! # Other writers
//!
//! The guest's vCPUs, devices of other processes and the kernel may write to the same bytes during a call. That is no data race
//! of Rust's memory model, which covers the accesses of this program only: the result is a mixture of both writes, byte by
//! byte, and every value of a byte is valid. No code here reads a byte of guest memory and relies on a second read of the same
//! value: bytes are only copied out. Threads of this process must not access the bytes of a running call except through
//! system calls; [`HostRam::new`](crate::HostRam::new) requires it. A `GuestRam` cannot: vm-memory's safe methods may access the same
//! bytes on another thread. Its own copies are volatile and not atomic, so such accesses are a mixture of bytes there, too.
#![expect(unsafe_code, reason = "system calls on guest memory take its address")]

#[cfg(all(feature = "vm-memory", target_os = "linux"))]
pub(crate) mod map;
#[cfg(target_os = "linux")]
pub(crate) mod missing;
#[cfg(not(target_os = "linux"))]
#[path = "pages/no_missing.rs"]
pub(crate) mod missing;
#[cfg(target_os = "linux")]
mod regular_file;

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};
use std::sync::OnceLock;

use crate::HugePages;
use crate::slice::{HostSlice, OutOfSlice};

/// Number of bytes to check and populate at once: large, so that the time of the system calls is negligible, but small, so
/// that the cleared pages are in the cache when they are written.
pub(crate) const CHUNK: usize = 0x20_0000;

/// The largest number of pages in a chunk: pages have at least 4 KiB.
const MAX_PAGES: usize = CHUNK / 0x1000;

/// Below this length, writing is cheaper than system calls about pages.
const MIN_CALL: usize = 0x1_0000;

/// The size of the host's pages in bytes: a power of two.
pub(crate) fn size() -> usize {
    static SIZE: OnceLock<usize> = OnceLock::new();
    *SIZE.get_or_init(|| {
        // SAFETY: `sysconf` has no preconditions.
        let size = unsafe { libc::sysconf(libc::_SC_PAGESIZE) };
        usize::try_from(size)
            .ok()
            .filter(|size| size.is_power_of_two())
            .unwrap_or(0x1000)
    })
}

/// The number of the host's CPUs that are online. `None` if the host does not tell.
#[cfg(target_os = "linux")]
pub(crate) fn online_cpus() -> Option<usize> {
    // It is read from a file and seldom changes.
    static CPUS: OnceLock<Option<usize>> = OnceLock::new();
    *CPUS.get_or_init(|| {
        // SAFETY: `sysconf` has no preconditions.
        let cpus = unsafe { libc::sysconf(libc::_SC_NPROCESSORS_ONLN) };
        usize::try_from(cpus).ok().filter(|cpus| *cpus > 0)
    })
}

/// The parts of a slice before, in and after its whole pages.
struct Parts<S> {
    head: S,
    pages: S,
    tail: S,
}

/// Splits `slice` at its first and last page boundary.
fn parts<S: HostSlice>(slice: &S) -> Result<Parts<S>, OutOfSlice> {
    let start = slice.with_ptr(<*mut u8>::addr);
    let to_page = start.wrapping_neg() & (size() - 1);
    let (head, rest) = slice.split_at(to_page.min(slice.len()))?;
    let (pages, tail) = rest.split_at(rest.len() & !(size() - 1))?;
    Ok(Parts { head, pages, tail })
}

/// Whether `slice` consists of whole pages.
#[cfg(all(feature = "vm-memory", target_os = "linux"))]
pub(crate) fn is_whole<S: HostSlice>(slice: &S) -> bool {
    slice.with_ptr(|start| start.addr().is_multiple_of(size())) && slice.len().is_multiple_of(size())
}

/// Advises the host about huge pages. A host without them is not an error.
pub(crate) fn advise_huge<S: HostSlice>(slice: &S, huge_pages: HugePages) {
    #[cfg(target_os = "linux")]
    {
        let advice = match huge_pages {
            HugePages::Advise => libc::MADV_HUGEPAGE,
            HugePages::Avoid => libc::MADV_NOHUGEPAGE,
            HugePages::HostDefault => return,
        };
        // SAFETY: the bytes of the slice are mapped, and this advice changes none of them.
        let _only_advice = unsafe { madvise(slice, advice) };
    }
    #[cfg(not(target_os = "linux"))]
    let _ = (slice, huge_pages);
}

/// Populates all whole pages of `slice` for writing. Their bytes do not change.
#[cfg(target_os = "linux")]
pub(crate) fn populate<S: HostSlice>(slice: &S) -> io::Result<()> {
    // SAFETY: the bytes of the slice are mapped, and this advice changes none of them.
    unsafe { madvise(slice, libc::MADV_POPULATE_WRITE) }
}

/// Not implemented for hosts other than Linux.
#[cfg(not(target_os = "linux"))]
pub(crate) fn populate<S: HostSlice>(_: &S) -> io::Result<()> {
    Err(io::ErrorKind::Unsupported.into())
}

/// Whether `slice` is large and its first whole page is not resident. False if the host cannot tell.
///
/// One page is enough: memory for a kernel is usually either unused or resident as a whole.
pub(crate) fn begins_fresh<S: HostSlice>(slice: &S) -> Result<bool, OutOfSlice> {
    let pages = parts(slice)?.pages;
    if pages.len() < MIN_CALL {
        return Ok(false);
    }
    let mut residency = [1];
    let first = pages.subslice(0, size())?;
    Ok(resident(&first, &mut residency).is_ok_and(|pages| pages == [0]))
}

/// Populates the whole pages of a chunk before it is written.
///
/// This is about a quarter faster than one page fault for each page. Failure is ignored: the write populates the pages, too.
pub(crate) fn prefault<S: HostSlice>(chunk: &S) -> Result<(), OutOfSlice> {
    let pages = parts(chunk)?.pages;
    if pages.len() >= MIN_CALL {
        let _only_faster = populate(&pages);
    }
    Ok(())
}

/// Fills `slice` with zeros.
///
/// With `discard`, whole pages that are not resident are dropped instead of written. They may be swapped out.
///
/// `discard` must only be set for memory in an anonymous private mapping: a dropped page of another does not read as zeros.
pub(crate) fn zero<S: HostSlice>(slice: &S, discard: bool) -> Result<(), OutOfSlice> {
    let Parts { head, pages, tail } = parts(slice)?;
    if discard && pages.len() >= MIN_CALL {
        fill(&head);
        let mut done = 0;
        while done < pages.len() {
            let chunk = pages.subslice(done, CHUNK.min(pages.len() - done))?;
            zero_pages(&chunk)?;
            done += chunk.len();
        }
        fill(&tail);
    } else {
        fill(slice);
    }
    slice.mark_dirty(0, slice.len());
    Ok(())
}

/// Zeroes whole pages, at most a chunk of them: writes resident pages and drops the others.
///
/// A page that a device or another process has pinned is resident, so it is not replaced.
fn zero_pages<S: HostSlice>(chunk: &S) -> Result<(), OutOfSlice> {
    let mut residency = [0; MAX_PAGES];
    let Ok(residency) = resident(chunk, &mut residency) else {
        fill(chunk);
        return Ok(());
    };
    let mut done = 0;
    for run in residency.chunk_by(|a, b| a == b) {
        let pages = chunk.subslice(done, run.len() * size())?;
        let dropped = run.first() == Some(&0) && drop_pages(&pages).is_ok();
        if !dropped {
            fill(&pages);
        }
        done += pages.len();
    }
    Ok(())
}

/// Drops the pages of a slice of an anonymous private mapping: they read as zeros from now on.
///
/// If another writer writes to the pages meanwhile, its bytes may be lost, as if it had written before the zeros.
#[cfg(target_os = "linux")]
fn drop_pages<S: HostSlice>(pages: &S) -> io::Result<()> {
    // SAFETY: the bytes of the slice are mapped and stay mapped. They may change at any time, and this advice makes
    // them zero: `zero` is told to discard for mappings that `RamOptions::map` made, which are anonymous and private, and for
    // those that the caller declared to be so; madvise(2) promises "zero-fill-on-demand pages" for those. If the declaration
    // is wrong, the bytes have other values, which are valid, too. The advice affects no memory outside of the slice.
    unsafe { madvise(pages, libc::MADV_DONTNEED) }
}

/// Only Linux specifies zeros.
#[cfg(not(target_os = "linux"))]
fn drop_pages<S: HostSlice>(_: &S) -> io::Result<()> {
    Err(io::ErrorKind::Unsupported.into())
}

/// Calls `madvise` for the whole of a slice.
///
/// # Safety
///
/// `advice` must leave the addresses mapped, and change at most the bytes in the slice.
#[cfg(target_os = "linux")]
unsafe fn madvise<S: HostSlice>(slice: &S, advice: libc::c_int) -> io::Result<()> {
    let result = slice.with_ptr(|start| {
        // SAFETY: the range is mapped because the slice exists, and the caller vouches for the advice.
        unsafe { libc::madvise(start.cast(), slice.len(), advice) }
    });
    if result == 0 {
        Ok(())
    } else {
        Err(io::Error::last_os_error())
    }
}

/// Residency of the pages of a slice of whole pages: 1 for resident pages, 0 for others.
#[cfg(target_os = "linux")]
fn resident<'a, S: HostSlice>(slice: &S, residency: &'a mut [u8]) -> io::Result<&'a [u8]> {
    let pages = slice.len().div_ceil(size());
    let residency = residency.get_mut(..pages).ok_or(io::ErrorKind::InvalidInput)?;
    let result = slice.with_ptr(|start| {
        // SAFETY: the range is mapped because the slice exists; nothing in it changes. The kernel writes one byte for
        // each of the range's pages, and `residency` is as many bytes long.
        unsafe { libc::mincore(start.cast(), slice.len(), residency.as_mut_ptr()) }
    });
    if result != 0 {
        return Err(io::Error::last_os_error());
    }
    // mincore(2): the other seven bits are undefined.
    for page in &mut *residency {
        *page &= 1;
    }
    Ok(residency)
}

/// Not implemented for hosts other than Linux.
#[cfg(not(target_os = "linux"))]
fn resident<'a, S: HostSlice>(_: &S, _: &'a mut [u8]) -> io::Result<&'a [u8]> {
    Err(io::ErrorKind::Unsupported.into())
}

/// Writes zeros, without marking them in the bitmap.
fn fill<S: HostSlice>(slice: &S) {
    slice.with_ptr(|start| {
        // SAFETY: the slice proves that this many bytes are mapped and writable from there on, and that no Rust reference
        // to them exists. Bytes have no alignment and no invalid values.
        unsafe { start.write_bytes(0, slice.len()) }
    });
}

/// Writes `bytes` to the start of a slice that is at least as long; bytes past its end are not written.
pub(crate) fn write<S: HostSlice>(slice: &S, bytes: &[u8]) {
    let len = bytes.len().min(slice.len());
    slice.with_ptr(|start| {
        // SAFETY: `len` bytes are readable in `bytes`, and mapped and writable in the slice. The two do not overlap, because
        // no Rust reference to the slice's bytes exists. Bytes have no alignment and no invalid values.
        unsafe { start.copy_from_nonoverlapping(bytes.as_ptr(), len) }
    });
    slice.mark_dirty(0, len);
}

/// Copies the first bytes of a slice to `bytes`, as many as both have; returns their number.
pub(crate) fn read<S: HostSlice>(slice: &S, bytes: &mut [u8]) -> usize {
    let len = bytes.len().min(slice.len());
    slice.with_ptr(|start| {
        // SAFETY: `len` bytes are mapped in the slice, and writable in `bytes`. The two do not overlap, because no Rust
        // reference to the slice's bytes exists. Bytes have no alignment, and every value of them is valid.
        unsafe { start.copy_to_nonoverlapping(bytes.as_mut_ptr(), len) }
    });
    len
}

/// A file could not be read into guest memory.
pub(crate) enum ReadAtError {
    /// The file ended early.
    Eof,
    /// The kernel could not write to the guest memory.
    Memory(io::Error),
    /// The kernel could not read the file.
    File(io::Error),
}

/// Fills `slice` with the bytes of `file` from `offset` on, straight from the page cache, without moving the file's
/// cursor. A file that is truncated meanwhile is an error and never a signal.
pub(crate) fn read_at<S: HostSlice>(
    file: BorrowedFd<'_>,
    offset: libc::off_t,
    slice: &S,
) -> Result<(), ReadAtError> {
    let mut offset = offset;
    let mut done = 0;
    while done < slice.len() {
        let read = slice.with_ptr(|start| {
            // SAFETY: `done` is less than the length of the slice, so the address lies in it.
            let target = unsafe { start.add(done) };
            // SAFETY: the slice proves that the bytes from `target` to its end are mapped, that no Rust reference to
            // them exists, and that any value is valid for them; the kernel writes no others. `file` is open.
            unsafe { libc::pread(file.as_raw_fd(), target.cast(), slice.len() - done, offset) }
        });
        match usize::try_from(read) {
            Ok(0) => {
                slice.mark_dirty(0, done);
                return Err(ReadAtError::Eof);
            }
            Ok(read) => {
                done += read;
                // A file's last offset fits, so this one does.
                offset = offset.saturating_add(libc::off_t::try_from(read).unwrap_or(libc::off_t::MAX));
            }
            Err(_) => {
                let error = io::Error::last_os_error();
                if error.kind() == io::ErrorKind::Interrupted {
                    continue;
                }
                // How much was written before the failure is not known.
                slice.mark_dirty(0, slice.len());
                return Err(match error.raw_os_error() {
                    Some(libc::EFAULT) => ReadAtError::Memory(error),
                    _ => ReadAtError::File(error),
                });
            }
        }
    }
    slice.mark_dirty(0, slice.len());
    Ok(())
}

// Miri supports neither mincore nor madvise nor file mappings: these and the tests of the whole crate need a real host.
#[cfg(all(test, feature = "vm-memory", target_os = "linux", not(miri)))]
mod tests {
    use boot_core::{GuestMemory, GuestRange, MemoryMap, RegionKind};
    use vm_memory::{GuestAddress, GuestMemoryBackend};

    use super::*;
    use crate::{GuestRam, RamOptions};

    const LEN: usize = 3 * CHUNK;

    /// Small pages, so that touching one provides no other.
    fn ram(options: RamOptions) -> GuestRam {
        let mut map = MemoryMap::new();
        let range = GuestRange::new(0, u64::try_from(LEN).unwrap()).unwrap();
        map.insert(range, RegionKind::Ram).unwrap();
        options.huge_pages(HugePages::Avoid).build(&map).unwrap()
    }

    fn residency(ram: &GuestRam) -> Vec<u8> {
        let mut residency = vec![0; LEN / size()];
        let slice = ram.memory().get_slice(GuestAddress(0), LEN).unwrap();
        resident(&slice, &mut residency).unwrap();
        residency
    }

    #[test]
    fn zeroing_touches_no_fresh_page_and_keeps_every_used_one() {
        let mut ram = ram(RamOptions::new());
        let all = GuestRange::new(0, u64::try_from(LEN).unwrap()).unwrap();
        ram.zero(all).unwrap();
        assert!(residency(&ram).iter().all(|&page| page == 0));

        let used = [0, 1, 2, 17, LEN / size() - 1];
        for page in used {
            ram.write(num(page * size()) + 5, &[1]).unwrap();
        }
        ram.zero(all).unwrap();
        let residency = residency(&ram);
        for (page, &resident) in residency.iter().enumerate() {
            assert_eq!(resident == 1, used.contains(&page), "page {page}");
        }
        let mut byte = [1];
        for page in used {
            ram.read(num(page * size()) + 5, &mut byte).unwrap();
            assert_eq!(byte, [0]);
        }
    }

    #[test]
    fn populated_memory_is_there() {
        let ram = ram(RamOptions::new().populate(true));
        assert!(residency(&ram).iter().all(|&page| page == 1));
    }

    #[test]
    fn a_large_write_provides_whole_pages_only() {
        let ram = ram(RamOptions::new());
        let (from, len) = (size() + 1, 32 * size());
        let slice = ram.memory().get_slice(GuestAddress(num(from)), len).unwrap();
        prefault(&slice).unwrap();
        let pages = residency(&ram);
        let there: Vec<_> = (0..pages.len()).filter(|&page| pages[page] == 1).collect();
        assert_eq!(there, (2..33).collect::<Vec<_>>());
    }

    #[test]
    fn only_large_slices_of_untouched_pages_begin_fresh() {
        let mut ram = ram(RamOptions::new());
        let check = |ram: &GuestRam, from: usize, len: usize, fresh: bool| {
            let slice = ram.memory().get_slice(GuestAddress(num(from)), len).unwrap();
            assert_eq!(begins_fresh(&slice).unwrap(), fresh, "{len} from {from}");
        };
        check(&ram, 0, LEN, true);
        check(&ram, 0, MIN_CALL, true);
        check(&ram, 0, MIN_CALL - 1, false);
        check(&ram, 1, MIN_CALL, false);
        ram.write(0, &[1]).unwrap();
        check(&ram, 0, LEN, false);
        // The page that was touched is not a whole one of this slice.
        check(&ram, 1, LEN - 1, true);
    }

    #[test]
    fn slices_are_cut_at_pages() {
        let ram = ram(RamOptions::new());
        let page = size();
        let check = |from: usize, len: usize, expected: [usize; 3]| {
            let slice = ram.memory().get_slice(GuestAddress(num(from)), len).unwrap();
            let Parts { head, pages, tail } = parts(&slice).unwrap();
            assert_eq!(
                [head.len(), pages.len(), tail.len()],
                expected,
                "{len} from {from}"
            );
        };
        check(0, page, [0, page, 0]);
        check(0, page - 1, [0, 0, page - 1]);
        check(1, page - 1, [page - 1, 0, 0]);
        check(1, 5, [5, 0, 0]);
        check(1, page, [page - 1, 0, 1]);
        check(page - 1, 2 * page + 2, [1, 2 * page, 1]);
        check(page, 3 * page, [0, 3 * page, 0]);
    }

    fn num(value: usize) -> u64 {
        boot_core::arith::to_u64(value)
    }
}
