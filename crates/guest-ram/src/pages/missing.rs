//! Pages that the host makes with their bytes, by `userfaultfd(2)`.
//!
//! At the first write to a page of new memory, the host clears it, and then the bytes replace the zeros. `UFFDIO_COPY` makes the page with its
//! bytes, also without a page fault for it.
#![expect(unsafe_code, reason = "system calls on guest memory take its address")]

mod raw;
mod source;

use std::io;
use std::ops::Range;
use std::os::fd::{AsRawFd as _, FromRawFd as _, OwnedFd};

use boot_core::GuestRange;
use boot_core::arith::to_u64;

use self::source::MappedSource;
pub(crate) use self::source::Source;
use super::{CHUNK, MAX_PAGES, begins_fresh, parts, populate, resident, size};
use crate::huge_pages::HUGE_PAGE;
use crate::slice::{HostSlice, OutOfSlice};

/// Shorter copies are not worth the calls of the set-up.
const MIN_LEN: usize = 0x10_0000;

/// A copy to memory whose pages are not there yet, until this is dropped.
///
/// Meanwhile a system call or a vCPU that accesses one of the pages before it is made fails (`EFAULT`), and a thread waits.
pub(crate) struct NewPages<'a> {
    /// Guest physical address of the first byte.
    start: u64,
    source: MappedSource<'a>,
    descriptor: OwnedFd,
    /// The addresses that are registered with it.
    registered: raw::UffdioRange,
}

impl Drop for NewPages<'_> {
    fn drop(&mut self) {
        // A child process that was started meanwhile has the descriptor too, until it calls `exec`: to close it here is not enough.
        let result = self.unregister();
        // It fails only for memory that was unmapped meanwhile, which the owner of the slice prevents.
        let _ = result;
    }
}

/// Why pages were not made, nor left for an ordinary copy.
#[derive(Debug, thiserror::Error)]
pub(crate) enum FillError {
    #[error(transparent)]
    Slice(#[from] OutOfSlice),
    /// A write to the pages would wait for ever.
    #[error("the memory cannot be released from userfaultfd")]
    Unregister(#[source] io::Error),
}

impl<'a> NewPages<'a> {
    /// Prepares a copy of `source` to `piece`, all of the memory of `range`. `None` if an ordinary copy is as fast or all that the host can do: to
    /// memory that is there, is short, or has larger pages than the smallest; without userfaultfd; and of files that cannot be mapped.
    ///
    /// After an error of the source here, the ordinary copy has the same one.
    pub(crate) fn prepare<S: HostSlice>(
        piece: &S,
        range: GuestRange,
        source: Source<'a>,
    ) -> Result<Option<Self>, OutOfSlice> {
        let start = range.start();
        // Threads divide guest physical addresses: with other offsets in the host's pages, two would share one.
        let is_congruent = with_addresses(piece, |range| {
            range.start.wrapping_sub(start).is_multiple_of(to_u64(size()))
        });
        if piece.len() < MIN_LEN || !is_congruent || !begins_fresh(piece)? {
            return Ok(None);
        }
        let pages = parts(piece)?.pages;
        let Some((descriptor, source)) = open().ok().zip(MappedSource::of(source, piece.len())) else {
            return Ok(None);
        };
        if !has_small_pages(&pages)? {
            return Ok(None);
        }
        Ok(register(&descriptor, &pages).ok().map(|registered| Self {
            start,
            source,
            descriptor,
            registered,
        }))
    }

    /// Number of bytes of the source before those of `range`.
    pub(crate) fn offset(&self, range: GuestRange) -> usize {
        usize::try_from(range.start().saturating_sub(self.start)).unwrap_or(usize::MAX)
    }

    /// Makes the missing pages of `part`, which is as long as [`part_len`] or the last one, with the bytes from `at` on of the source. Returns the parts of `part`, by their
    /// offsets, that are left for an ordinary copy.
    pub(crate) fn fill<S: HostSlice>(&self, part: &S, at: usize) -> Result<Vec<Range<usize>>, FillError> {
        // Also after an error, some pages are made.
        part.mark_dirty(0, part.len());
        let whole = parts(part)?;
        let (head, pages) = (whole.head.len(), whole.pages);
        let end = head + pages.len();
        let mut left = Vec::new();
        let mut residency = [0; MAX_PAGES];
        let is_ready = self.source.populate(at + head, pages.len());
        if let Ok(residency) = resident(&pages, &mut residency)
            && is_ready
        {
            push(&mut left, 0..head);
            let mut done = 0;
            for run in residency.chunk_by(|a, b| a == b) {
                let range = done..done + run.len() * size();
                done = range.end;
                if run.first() == Some(&0) {
                    self.make(&pages, range, at + head, |rest| {
                        push(&mut left, head + rest.start..head + rest.end);
                    })?;
                } else {
                    push(&mut left, head + range.start..head + range.end);
                }
            }
            push(&mut left, end..part.len());
        } else {
            self.unregister()?;
            push(&mut left, 0..part.len());
        }
        // Pages past the end of a file that was shortened meanwhile were read as zeros.
        if !self.source.has(at + part.len()) {
            left.clear();
            push(&mut left, 0..part.len());
        }
        Ok(left)
    }

    /// Makes the pages in `range` of `pages`, and calls `leave` with each part of it that is left. The source of `pages` begins at `at`.
    fn make<S: HostSlice>(
        &self,
        pages: &S,
        range: Range<usize>,
        at: usize,
        mut leave: impl FnMut(Range<usize>),
    ) -> Result<(), FillError> {
        let mut done = range.start;
        while done < range.end {
            let rest = pages.subslice(done, range.end - done)?;
            match self.copy(&rest, at + done) {
                Ok(copied) => done += copied,
                // Another writer has made the page, or it is swapped out.
                Err(error) if error.raw_os_error() == Some(libc::EEXIST) => {
                    leave(done..done + size());
                    done += size();
                }
                // Such as a full control group: the ordinary copy has a fault or an error of its own.
                Err(_) => {
                    self.unregister()?;
                    leave(done..range.end);
                    break;
                }
            }
        }
        Ok(())
    }

    /// Makes the first of `pages`, and returns the number of their bytes, at least one page. The source begins at `at`.
    fn copy<S: HostSlice>(&self, pages: &S, at: usize) -> io::Result<usize> {
        let source = self.source.address(at, pages.len());
        let source = source.ok_or(io::ErrorKind::InvalidInput)?;
        let (result, copied) = with_addresses(pages, |range| {
            let mut copy = raw::UffdioCopy {
                dst: range.start,
                src: to_u64(source),
                len: range.len,
                ..raw::UffdioCopy::default()
            };
            // SAFETY: the kernel reads and writes one `UffdioCopy`. It makes pages in the slice, whose bytes may change at any time, and no others. It
            // reads as many bytes of the source, which `MappedSource::address` has checked; bytes of a file that are gone make it fail.
            let result = unsafe { ioctl(&self.descriptor, raw::COPY, &raw mut copy) };
            (result, copy.copy)
        });
        match (result, usize::try_from(copied)) {
            (Ok(()), _) => Ok(pages.len()),
            (Err(_), Ok(copied)) if copied > 0 => Ok(copied.min(pages.len())),
            (Err(error), _) => Err(error),
        }
    }

    /// Makes ordinary memory of all pages again. `UFFDIO_COPY` of another thread then fails with ENOENT, and that thread copies its part.
    ///
    /// To unregister a part alone, the kernel may need memory.
    fn unregister(&self) -> Result<(), FillError> {
        let mut range = self.registered;
        // SAFETY: the kernel reads one `UffdioRange`, and no byte of memory changes.
        unsafe { ioctl(&self.descriptor, raw::UNREGISTER, &raw mut range) }.map_err(FillError::Unregister)
    }
}

/// Length of the first part of `rest` for [`NewPages::fill`]: at most [`CHUNK`], up to a page boundary, since a page that two parts share would be made by
/// neither.
pub(crate) fn part_len<S: HostSlice>(rest: &S) -> usize {
    let in_page = rest.with_ptr(<*mut u8>::addr) & (size() - 1);
    rest.len().min(CHUNK - in_page)
}

/// Adds `range` to `left`, unless it is empty, as a part of the last one where it follows that.
fn push(left: &mut Vec<Range<usize>>, range: Range<usize>) {
    match left.last_mut() {
        _ if range.is_empty() => {}
        Some(last) if last.end == range.start => last.end = range.end,
        _ => left.push(range),
    }
}

/// Whether the host makes pages of the smallest size for `pages`, none of which is there. Makes one of them, not the first, by which the ordinary copy
/// recognises new memory. A host that lacks a huge page at this moment counts as one without them.
fn has_small_pages<S: HostSlice>(pages: &S) -> Result<bool, OutOfSlice> {
    let huge = usize::try_from(HUGE_PAGE).unwrap_or(CHUNK);
    // A huge page would be at a multiple of its size.
    let to_multiple = pages.with_ptr(<*mut u8>::addr).wrapping_neg() & (huge - 1);
    let first = if pages.len() >= to_multiple.saturating_add(huge) {
        to_multiple
    } else {
        0
    };
    let (_, block) = pages.split_at(first)?;
    let block = block.subslice(0, block.len().min(CHUNK))?;
    let mut residency = [0; MAX_PAGES];
    let is_small = populate(&block.subslice(size(), size())?).is_ok()
        && resident(&block, &mut residency)
            .is_ok_and(|pages| pages.iter().map(|page| usize::from(*page)).sum::<usize>() == 1);
    Ok(is_small)
}

/// A new userfaultfd.
fn open() -> io::Result<OwnedFd> {
    let flags = libc::O_CLOEXEC | raw::USER_MODE_ONLY;
    // SAFETY: the call takes flags and returns a new descriptor.
    let descriptor = unsafe { libc::syscall(libc::SYS_userfaultfd, flags) };
    let descriptor = libc::c_int::try_from(descriptor).map_err(io::Error::other)?;
    if descriptor < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the descriptor is new, and nothing else owns it.
    let descriptor = unsafe { OwnedFd::from_raw_fd(descriptor) };
    let mut api = raw::UffdioApi {
        api: raw::API_VERSION,
        ..raw::UffdioApi::default()
    };
    // SAFETY: the kernel reads and writes one `UffdioApi`.
    unsafe { ioctl(&descriptor, raw::API, &raw mut api) }?;
    Ok(descriptor)
}

/// Registers whole pages. Returns their addresses.
fn register<S: HostSlice>(descriptor: &OwnedFd, pages: &S) -> io::Result<raw::UffdioRange> {
    let (ioctls, range) = with_addresses(pages, |range| {
        let mut register = raw::UffdioRegister {
            range,
            mode: raw::MODE_MISSING,
            ..raw::UffdioRegister::default()
        };
        // SAFETY: the kernel reads and writes one `UffdioRegister`. The pages keep their bytes. Until they are unregistered, an access to one that is not
        // there waits or fails in the kernel: no value that another code relies on changes.
        unsafe { ioctl(descriptor, raw::REGISTER, &raw mut register) }?;
        Ok::<_, io::Error>((register.ioctls, range))
    })?;
    if ioctls & raw::HAS_COPY == 0 {
        return Err(io::ErrorKind::Unsupported.into());
    }
    Ok(range)
}

/// Calls `request` with the addresses of a slice, which are valid during the call.
fn with_addresses<S: HostSlice, R>(slice: &S, request: impl FnOnce(raw::UffdioRange) -> R) -> R {
    slice.with_ptr(|start| {
        request(raw::UffdioRange {
            start: to_u64(start.expose_provenance()),
            len: to_u64(slice.len()),
        })
    })
}

/// A request with a structure.
///
/// # Safety
///
/// `argument` is valid for the reads and writes of the request, which must be sound.
unsafe fn ioctl<T>(descriptor: &OwnedFd, request: u32, argument: *mut T) -> io::Result<()> {
    let request = libc::c_ulong::from(request);
    // The type of the request differs between the functions `ioctl` of C libraries.
    // SAFETY: the caller vouches for the request and its argument, and the descriptor is open.
    match unsafe { libc::syscall(libc::SYS_ioctl, descriptor.as_raw_fd(), request, argument) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}
