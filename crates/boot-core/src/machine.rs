//! The machine a kernel is to run on, as far as its boot depends on it.

use core::num::NonZeroU32;

use crate::{Arch, MemoryMap};

/// A machine: architecture, memory, CPUs and the tables that describe it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub struct Machine {
    /// The architecture of its CPUs.
    pub arch: Arch,
    /// Its physical memory, and what the guest is to be told about it.
    pub memory: MemoryMap,
    /// How many virtual CPUs it has.
    pub vcpus: NonZeroU32,
    /// The guest physical address of the ACPI RSDP, where there is one.
    pub acpi_rsdp: Option<u64>,
}

impl Machine {
    /// A machine with this memory and one CPU.
    #[must_use]
    pub const fn new(arch: Arch, memory: MemoryMap) -> Self {
        Self {
            arch,
            memory,
            vcpus: NonZeroU32::MIN,
            acpi_rsdp: None,
        }
    }
}
