//! Regular files whose pages have the size of those of anonymous memory.
#![expect(unsafe_code, reason = "system calls that write structures")]

use std::mem::MaybeUninit;
use std::os::fd::{AsRawFd as _, BorrowedFd};

use super::size;

/// Length of such a file. `None` for one that is not regular, has huge pages (hugetlbfs), or cannot be examined.
pub(crate) fn len(file: BorrowedFd<'_>) -> Option<u64> {
    let mut status = MaybeUninit::<libc::stat>::uninit();
    // SAFETY: the descriptor is open, and the kernel writes one `stat`.
    if unsafe { libc::fstat(file.as_raw_fd(), status.as_mut_ptr()) } != 0 {
        return None;
    }
    // SAFETY: the call succeeded, so the value is initialised.
    let status = unsafe { status.assume_init() };
    let is_regular = status.st_mode & libc::S_IFMT == libc::S_IFREG;
    let len = u64::try_from(status.st_size).ok()?;
    // The blocks of hugetlbfs are its pages. Those of some network file systems are as large.
    let has_large_blocks = usize::try_from(status.st_blksize).is_ok_and(|len| len > size());
    let has_small_pages = || !has_large_blocks || !is_huge(file);
    (is_regular && has_small_pages()).then_some(len)
}

/// Whether the file is one of hugetlbfs, or that cannot be found out.
fn is_huge(file: BorrowedFd<'_>) -> bool {
    let mut system = MaybeUninit::<libc::statfs>::uninit();
    // SAFETY: the descriptor is open, and the kernel writes one `statfs`.
    if unsafe { libc::fstatfs(file.as_raw_fd(), system.as_mut_ptr()) } != 0 {
        return true;
    }
    // SAFETY: the call succeeded, so the value is initialised.
    unsafe { system.assume_init() }.f_type == libc::HUGETLBFS_MAGIC
}
