//! Why the memory of a sandbox cannot be copied.

use boot_paging::TranslateError;

use crate::memory_error::MemoryFileError;

/// Page tables of a guest from which its memory cannot be told. The guest changed them itself: its exception handlers do not.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PageTableError {
    /// An entry is reserved or not in page tables, or there are more tables than pages for them.
    #[error("the guest's page tables cannot be followed")]
    Walk(#[from] TranslateError),
    /// A page of the memory is elsewhere.
    #[error(
        "the guest's page tables map {virt:#x} to {phys:#x}, which is neither its own memory nor a page for copies"
    )]
    Elsewhere {
        /// Virtual address of the page.
        virt: u64,
        /// Physical address of the page.
        phys: u64,
    },
    /// Two pages of the memory have one copy.
    #[error("the guest's page tables map both {first:#x} and {second:#x} to the copy at {phys:#x}")]
    Twice {
        /// Virtual address of the first page.
        first: u64,
        /// Virtual address of the second page.
        second: u64,
        /// Physical address of the copy.
        phys: u64,
    },
}

/// Why the contents of a memory cannot be taken.
#[derive(Debug, thiserror::Error)]
pub(crate) enum TakeError {
    #[error(transparent)]
    Memory(#[from] MemoryFileError),
    #[error(transparent)]
    PageTables(#[from] PageTableError),
}
