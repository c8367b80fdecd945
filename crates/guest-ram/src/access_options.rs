//! How guest memory is accessed: threads, system calls, and what is known about the mappings.

use boot_core::{GuestRange, MemoryError};

use crate::parallel_copy::ParallelCopy;

/// The system calls that accesses to guest memory may make.
///
/// The README lists them: [table of system calls](crate#system-calls).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum SystemCalls {
    /// Those that make loading fast: reads, calls about pages (`mincore`, `madvise`), and those of threads.
    #[default]
    Fast,
    /// Only positioned reads of files (`pread64`).
    ///
    /// Copies use one thread, and [`zero`](boot_core::GuestMemory::zero) writes every byte.
    PreadOnly,
}

/// How guest memory is accessed.
///
/// ```
/// use guest_ram::{AccessOptions, SystemCalls};
///
/// // For a thread whose filter allows no system calls about memory and threads.
/// let options = AccessOptions::new().system_calls(SystemCalls::PreadOnly);
/// # let _ = options;
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct AccessOptions {
    pub(crate) copy: ParallelCopy,
    system_calls: SystemCalls,
    anonymous_private: bool,
    userfaultfd: bool,
}

impl Default for AccessOptions {
    fn default() -> Self {
        Self::new()
    }
}

impl AccessOptions {
    /// The defaults: a copy thread more for each idle CPU, as many as the process has CPUs, at most four; [`SystemCalls::Fast`]; mappings of any kind.
    #[must_use]
    pub const fn new() -> Self {
        Self {
            copy: ParallelCopy::AUTOMATIC,
            system_calls: SystemCalls::Fast,
            anonymous_private: false,
            userfaultfd: false,
        }
    }

    /// Sets the largest number of threads of a copy, the calling thread included.
    ///
    /// Only copies of several MiB from memory and from files use more than one thread. With 1 (or 0, which counts as 1) no
    /// thread is started and the number of CPUs is not read. A number of 2 or more is used whatever else the host does.
    #[must_use]
    pub const fn copy_threads(self, max: usize) -> Self {
        Self {
            copy: self.copy.with_threads(max),
            ..self
        }
    }

    /// Sets the system calls that accesses may make, for a process with a system call filter.
    #[must_use]
    pub const fn system_calls(self, system_calls: SystemCalls) -> Self {
        Self { system_calls, ..self }
    }

    /// Sets whether every region is an anonymous private mapping. Then [`zero`](boot_core::GuestMemory::zero) of a large range
    /// writes resident pages only and drops the others (`MADV_DONTNEED`), which read as zeros afterwards.
    ///
    /// Mappings of this crate are always treated so. It must not be set
    ///
    /// - for mappings of files, shared mappings and memory that is registered with `userfaultfd`: a dropped page does not read
    ///   as zeros there, so guest memory would have other bytes than the plan;
    /// - for memory of another [`GuestRam`](crate::GuestRam) into which [files were mapped](crate::GuestRam::map_files), for the same reason;
    /// - for memory that is being assigned to a device (VFIO): a page that is pinned during the call could be dropped.
    #[must_use]
    pub const fn anonymous_private(self, anonymous_private: bool) -> Self {
        Self {
            anonymous_private,
            ..self
        }
    }

    /// Sets whether large copies to memory that is not there yet use `userfaultfd(2)`: the host then makes pages with their bytes, in place of
    /// zeros that the copy replaces. With small pages, on Linux 5.14 or later, this takes about a quarter less time. Copies to huge pages are as
    /// without it; whether the host gives them is tried with a page of the copy.
    ///
    /// During such a copy nobody else may access the memory, as before the guest starts: an access of a vCPU or of a system call to a
    /// page that is not there yet fails, and one of a thread waits for the end of the copy.
    #[must_use]
    pub const fn userfaultfd(self, userfaultfd: bool) -> Self {
        Self { userfaultfd, ..self }
    }

    /// Whether userfaultfd may be used.
    pub(crate) const fn uses_userfaultfd(self) -> bool {
        self.userfaultfd && self.calls_about_pages()
    }

    /// The same, also with anonymous private mappings if `other` has them.
    #[cfg(feature = "vm-memory")]
    pub(crate) const fn anonymous_private_or(self, other: Self) -> Self {
        self.anonymous_private(self.anonymous_private || other.anonymous_private)
    }

    /// Whether calls about pages are allowed.
    pub(crate) const fn calls_about_pages(self) -> bool {
        matches!(self.system_calls, SystemCalls::Fast)
    }

    /// Whether pages that are not resident are dropped instead of zeroed.
    pub(crate) const fn discards(self) -> bool {
        self.anonymous_private && self.calls_about_pages()
    }

    /// Whether files may be mapped over the memory.
    #[cfg(all(feature = "vm-memory", target_os = "linux"))]
    pub(crate) const fn maps_files(self) -> bool {
        self.anonymous_private && self.calls_about_pages()
    }

    /// Calls `work` with the chunks of `range`, on several threads where that is faster and allowed.
    pub(crate) fn run<F>(self, range: GuestRange, work: F) -> Result<(), MemoryError>
    where
        F: Fn(GuestRange) -> Result<(), MemoryError> + Sync,
    {
        match self.system_calls {
            SystemCalls::Fast => self.copy.run(range, work),
            SystemCalls::PreadOnly => work(range),
        }
    }
}
