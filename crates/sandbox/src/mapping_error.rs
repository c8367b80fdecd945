//! Errors of mapped files and regions.

use std::io;

use boot_paging::{TablesError, TranslateError};
use guest_ram::MappingError;

use crate::error::BackendError;
use crate::status::Status;

/// Why a file or region is not mapped. The sandbox is as before, unless the variant has another status.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum MapError {
    /// The sandbox is not ready.
    #[error("nothing is mapped: the sandbox is {0}")]
    NotReady(Status),
    /// The file cannot be used.
    #[error("the file cannot be mapped")]
    File(#[source] io::Error),
    /// The file is a directory, a device or a pipe.
    #[error("only regular files can be mapped")]
    NotRegular,
    /// The mapping would be empty.
    #[error("there are no bytes to map from offset {offset:#x} of the file on")]
    Empty {
        /// Offset in the file in bytes.
        offset: u64,
    },
    /// The offset is inside of a page.
    #[error("the offset {offset:#x} is not a multiple of 0x1000")]
    Offset {
        /// Offset in the file in bytes.
        offset: u64,
    },
    /// The file is shorter.
    #[error("{len:#x} bytes from offset {offset:#x} on are not in the file of {file_len:#x} bytes")]
    PastEnd {
        /// Offset in the file in bytes.
        offset: u64,
        /// Length in bytes.
        len: u64,
        /// Length of the file in bytes.
        file_len: u64,
    },
    /// The sandbox has as many mappings as it can.
    #[error("the sandbox has {max} mappings, and cannot have more; unmap one first")]
    TooMany {
        /// The limit: [`Sandbox::MAX_MAPPINGS`](crate::Sandbox::MAX_MAPPINGS).
        max: usize,
    },
    /// No sufficient range of guest addresses is free.
    #[error("the guest has no {len:#x} bytes of free addresses for mappings")]
    NoSpace {
        /// Length in bytes.
        len: u64,
    },
    /// The host cannot map the memory, or cannot write that of the guest. In the second case, the sandbox is
    /// [poisoned](Status::Poisoned).
    #[error("the host cannot map the memory")]
    Memory(#[from] MappingError),
    /// The page tables cannot be made.
    #[error("the page tables of mappings cannot be made")]
    Tables(#[from] TablesError),
    /// The page tables cannot be made.
    #[error("the page tables of mappings cannot be made")]
    Table(#[from] boot_paging::MapError),
    /// The page tables of the guest have no place for those of mappings.
    #[error("the page tables of the guest have no place for mappings")]
    NoTable(#[from] TranslateError),
    /// The hypervisor failed. If it failed at [`Operation::Capture`](hv_core::Operation::Capture) or
    /// [`Rewind`](hv_core::Operation::Rewind), the sandbox is [poisoned](Status::Poisoned).
    #[error(transparent)]
    Backend(#[from] BackendError),
}

/// Why a file or region stays mapped.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum UnmapError {
    /// The sandbox can only be dropped.
    #[error("nothing is unmapped: the sandbox is {0}")]
    NotPossible(Status),
    /// The sandbox has no such mapping: it was unmapped, or is one of another sandbox.
    #[error("the sandbox has no such mapping at {address:#x}")]
    NotMapped {
        /// Guest address of the mapping.
        address: u64,
    },
    /// The host cannot write the memory of the guest. The sandbox is [poisoned](Status::Poisoned).
    #[error("the memory of the guest cannot be written")]
    Memory(#[source] MappingError),
    /// The hypervisor failed. If it failed at another operation than [`UnmapRam`](hv_core::Operation::UnmapRam), the sandbox is
    /// [poisoned](Status::Poisoned).
    #[error(transparent)]
    Backend(#[from] BackendError),
}
