//! Errors of the creation of tables.

use boot_core::machine::{Line, NumaError};
use boot_core::{Arch, GuestRange};

/// A machine that the tables cannot describe, or an address where they cannot be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum AcpiError {
    /// The machine is not a PC.
    #[error("the ACPI tables are those of a PC, but the machine is {0}")]
    Arch(Arch),
    /// The interrupt of a virtio-mmio slot is not a global system interrupt.
    #[error("the virtio-mmio slot at {slot} has {line}, expected a global system interrupt")]
    Interrupt {
        /// Registers of the slot.
        slot: GuestRange,
        /// Its interrupt line.
        line: Line,
    },
    /// The registers of a virtio-mmio slot end above 4 GiB.
    #[error("the virtio-mmio slot at {slot} ends above 4 GiB, which its description in the DSDT cannot")]
    SlotAddress {
        /// Registers of the slot.
        slot: GuestRange,
    },
    /// There are more virtio-mmio slots than names for them.
    #[error("the machine has {found} virtio-mmio slots, but the DSDT has names for {max}")]
    TooManySlots {
        /// Number of slots.
        found: usize,
        /// Largest number of slots.
        max: usize,
    },
    /// There are more CPUs than [`PcTables::MAX_VCPUS`](crate::PcTables::MAX_VCPUS).
    #[error("the machine has {found} CPUs, but its tables can have {max}")]
    TooManyCpus {
        /// Number of CPUs.
        found: u32,
        /// Largest number of CPUs.
        max: u32,
    },
    /// The NUMA nodes do not fit each other or the machine.
    #[error("the NUMA nodes of the machine cannot be described")]
    Numa(#[from] NumaError),
    /// A register is at I/O port 0, which means that there is none.
    #[error(
        "the {register} register is at I/O port 0, which ACPI reads as no register: choose another port, or leave it out"
    )]
    Port0 {
        /// The register: `reset` or `sleep control`.
        register: &'static str,
    },
    /// I/O ports end above 0xffff.
    #[error("{len} I/O ports from {port:#x} on end above 0xffff")]
    PortRange {
        /// The first port.
        port: u16,
        /// Number of ports.
        len: u16,
    },
    /// The address of the tables is not a multiple of 16, or the tables end beyond the address space.
    #[error("ACPI tables of {len} bytes cannot be at {addr:#x}: the address must be a multiple of 16")]
    Address {
        /// The address.
        addr: u64,
        /// Length of the tables in bytes.
        len: usize,
    },
    /// No RAM below 4 GiB has room for the tables.
    #[error("no RAM below 4 GiB has room for {len} bytes of ACPI tables")]
    NoRoom {
        /// Length of the tables in bytes.
        len: usize,
    },
}
