//! Errors of files of snapshots.

use std::io;
use std::path::PathBuf;

use boot_core::{Arch, ReadError};
use hv_core::StateError;

use crate::control::ControlError;
use crate::error::BackendError;
use crate::memory_error::MemoryFileError;
use crate::program::ProgramError;

/// Why a snapshot cannot be saved.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SaveSnapshotError {
    /// The file cannot be created.
    #[error("cannot create {}", path.display())]
    Create {
        /// Path of the file.
        path: PathBuf,
        /// The error of the host.
        source: io::Error,
    },
    /// The file cannot be written.
    #[error("cannot write the snapshot")]
    Write(#[from] io::Error),
    /// The guest's program cannot be read.
    #[error("cannot read the program of the guest again")]
    Program(#[from] ReadError),
    /// The guest's program cannot be planned again.
    #[error(transparent)]
    Plan(#[from] ProgramError),
    /// The file of the guest's program was changed since it was loaded.
    #[error("the file of the guest's program was changed since it was loaded")]
    ProgramChanged,
    /// The guest changed registers that a loaded guest cannot have.
    #[error(transparent)]
    Control(#[from] ControlError),
    /// The state of the CPU cannot be stored.
    #[error(transparent)]
    State(#[from] StateError),
    /// The hypervisor failed.
    #[error(transparent)]
    Backend(#[from] BackendError),
    /// The host has no memory for the program.
    #[error(transparent)]
    Memory(#[from] MemoryFileError),
}

/// Why a file is no snapshot that can be loaded here.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LoadSnapshotError {
    /// The file cannot be opened.
    #[error("cannot open the snapshot {}", path.display())]
    Open {
        /// Path of the file.
        path: PathBuf,
        /// The error of the host.
        source: io::Error,
    },
    /// The file cannot be read.
    #[error("cannot read the snapshot")]
    Read(#[from] ReadError),
    /// The file is malformed, damaged, or one of another version.
    #[error(transparent)]
    File(#[from] FileError),
    /// The snapshot is one of another architecture.
    #[error("the snapshot is one of {found}, the hypervisor has machines of {expected}")]
    Arch {
        /// The hypervisor's architecture.
        expected: Arch,
        /// The file's architecture.
        found: Arch,
    },
    /// The guest has more memory than [`LoadOptions`](crate::LoadOptions) allow.
    #[error(
        "the guest has {found} bytes of memory, {max} are allowed; `LoadOptions::with_max_memory` allows more"
    )]
    TooMuchMemory {
        /// Length of data, stacks and heap in bytes.
        found: u64,
        /// The limit in bytes.
        max: u64,
    },
    /// The guest has larger payloads than [`LoadOptions`](crate::LoadOptions) allow.
    #[error(
        "the guest has payloads of up to {found} bytes, {max} are allowed; `LoadOptions::with_max_payload` allows more"
    )]
    TooLargePayloads {
        /// Largest payload in bytes.
        found: u64,
        /// The limit in bytes.
        max: u64,
    },
    /// The guest's program cannot be loaded.
    #[error(transparent)]
    Program(#[from] ProgramError),
    /// The guest rings another doorbell than the hypervisor has on this host.
    #[error(
        "the guest rings doorbell {found:#x} of kind {found_kind}, here it is {expected:#x} of kind {expected_kind}"
    )]
    Doorbell {
        /// Kind of the doorbell here: [`DoorbellKind`](sandbox_abi::DoorbellKind).
        expected_kind: u32,
        /// Port, function, address or extension of the doorbell here.
        expected: u64,
        /// Kind of the file's doorbell.
        found_kind: u32,
        /// The file's doorbell.
        found: u64,
    },
    /// The state of the CPU cannot be that of a guest here.
    #[error(transparent)]
    State(#[from] StateError),
    /// A control register is not that of the plan.
    #[error(transparent)]
    Control(#[from] ControlError),
    /// The hypervisor lacks something that sandboxes need.
    #[error("the hypervisor has no {what}")]
    Unsupported {
        /// What it lacks.
        what: &'static str,
    },
    /// The hypervisor failed.
    #[error(transparent)]
    Backend(#[from] BackendError),
    /// The memory of the guest cannot be made.
    #[error(transparent)]
    Memory(#[from] MemoryFileError),
}

/// What is wrong with a file.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum FileError {
    /// The file does not start as a snapshot.
    #[error("the file is no snapshot")]
    NotASnapshot,
    /// The file has another version of the format.
    #[error(
        "the snapshot has version {found} of the format, this program reads version {expected}: save it again"
    )]
    Version {
        /// The version that can be read.
        expected: u32,
        /// The file's version.
        found: u32,
    },
    /// The file has an architecture without sandboxes.
    #[error("the snapshot is one of the unknown architecture {found}, as `e_machine` of ELF files")]
    UnknownArch {
        /// Number of the architecture.
        found: u32,
    },
    /// The parts do not make up the file.
    #[error("the snapshot has {found} bytes, but its header describes {expected}")]
    Length {
        /// Length in bytes by the header; `u64::MAX` if it is larger than any file.
        expected: u64,
        /// Length of the file in bytes.
        found: u64,
    },
    /// A field has a value that no snapshot has.
    #[error("the snapshot has {found:#x} in the field `{field}`")]
    Field {
        /// Name of the field.
        field: &'static str,
        /// Its value.
        found: u64,
    },
    /// The registers do not make up their part of the file.
    #[error(
        "register {number} of the snapshot ends behind the registers, or bytes are left after the last one"
    )]
    Registers {
        /// Number of the register, from 0; the number of registers for bytes after the last one.
        number: u32,
    },
    /// The program gives the memory another place than the file has.
    #[error(
        "the guest's memory is at {found:#x} with {found_len} bytes, its program gives {expected:#x} with \
         {expected_len}: it was changed, or saved by a program that plans guests otherwise"
    )]
    Layout {
        /// First address by the program.
        expected: u64,
        /// Length in bytes by the program.
        expected_len: u64,
        /// First address in the file.
        found: u64,
        /// Length in bytes in the file.
        found_len: u64,
    },
    /// A page is outside of the memory, or not after the page before it.
    #[error(
        "page {number} of the snapshot is not after the page before it, or outside of the {pages} pages of the memory"
    )]
    Page {
        /// Number of the page in data, stacks and heap.
        number: u64,
        /// Number of pages.
        pages: u64,
    },
    /// The file is damaged.
    #[error("the snapshot is damaged: its checksum is {found:#018x}, computed is {expected:#018x}")]
    Checksum {
        /// Checksum of the bytes.
        expected: u64,
        /// Checksum in the file.
        found: u64,
    },
}
