//! Errors.

use boot_paging::TranslateError;

/// Reason why guest memory cannot be accessed by a virtual address.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum AccessError {
    /// The page tables do not translate the address.
    #[error(transparent)]
    Page(#[from] TranslateError),
    /// The guest translates addresses in a way that is not supported.
    #[error("the guest uses page tables of a format that is not supported")]
    Translation,
    /// The address is mapped to a physical address without memory.
    #[error("the virtual address {address:#x} is mapped to {physical:#x}, where the guest has no memory")]
    NoMemory {
        /// The virtual address.
        address: u64,
        /// The physical address.
        physical: u64,
    },
}
