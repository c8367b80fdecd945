//! Errors of the creation of tables.

use boot_core::machine::{Line, NumaError, TopologyError};
use boot_core::{Arch, GuestRange};

/// A machine that the tables cannot describe, or an address where they cannot be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum AcpiError {
    /// The interrupt of a device is of the wrong kind, or the interrupt controller does not have it.
    #[error("the {device} at {range} has {line}, expected {expected}")]
    Interrupt {
        /// The device: `serial port` or `virtio-mmio slot`.
        device: &'static str,
        /// Its registers.
        range: GuestRange,
        /// Its interrupt line.
        line: Line,
        /// What its line can be.
        expected: &'static str,
    },
    /// The interrupt of a timer is not a private peripheral interrupt.
    #[error("the {of} timer has {line}, expected a private peripheral interrupt, 0 to 15")]
    TimerInterrupt {
        /// The timer: `secure physical`, `physical`, `virtual` or `hypervisor`.
        of: &'static str,
        /// Its interrupt line.
        line: Line,
    },
    /// The configuration space of the PCI host is not that of whole buses.
    #[error("the PCI configuration space at {range} must have 1 MiB for each of 1 to 256 buses")]
    Ecam {
        /// The configuration space.
        range: GuestRange,
    },
    /// A window of the PCI host is empty, or ends beyond its PCI address space.
    #[error(
        "the PCI window at {range}, which leads to {pci_addr:#x}, is empty or ends beyond its PCI address space"
    )]
    PciWindow {
        /// The window.
        range: GuestRange,
        /// The PCI address of its start.
        pci_addr: u64,
    },
    /// A device has no registers.
    #[error("the {device} at {range} has no registers")]
    NoRegisters {
        /// The device.
        device: &'static str,
        /// Its registers.
        range: GuestRange,
    },
    /// The layout of a serial port has no identifier in ACPI.
    #[error(
        "the serial port at {range} is of a kind that ACPI has no identifier for; use an NS16550A or PL011"
    )]
    SerialKind {
        /// Its registers.
        range: GuestRange,
    },
    /// The platform does not describe CPUs of the machine's architecture.
    #[error("the platform of the machine does not describe its {0} CPUs")]
    NoCpus(Arch),
    /// The platform describes another number of CPUs than the machine has.
    #[error("the platform of the machine describes {described} CPUs, but the machine has {vcpus} vCPUs")]
    CpuCount {
        /// Number of CPUs that are described.
        described: usize,
        /// Number of vCPUs.
        vcpus: u32,
    },
    /// Two CPUs have the same identifier.
    #[error("two CPUs of the machine have the identifier {id:#x}")]
    DuplicateCpu {
        /// The affinity of an arm64 CPU, or a hart id.
        id: u64,
    },
    /// The platform has no interrupt controller of the machine's architecture.
    #[error("the machine has no interrupt controller that its MADT can describe, expected {expected}")]
    NoController {
        /// The kinds of interrupt controllers.
        expected: &'static str,
    },
    /// An arm64 machine with more than one CPU has no PSCI.
    #[error("the machine has more than one CPU, but no PSCI to start them by")]
    NoPsci,
    /// An arm64 machine has no timer.
    #[error("the arm64 machine has no timer, which its guests cannot do without")]
    NoTimer,
    /// A value is too large for its field in a table.
    #[error("the {what} is {found:#x}, but its field in the ACPI tables ends at {max:#x}")]
    Field {
        /// The value.
        what: &'static str,
        /// What it is.
        found: u64,
        /// The largest value of the field.
        max: u64,
    },
    /// The IMSICs have no interrupt files for a hart.
    #[error(
        "the IMSICs at {range} have no interrupt files for hart {hart}: each hart has 4 KiB for each of its files"
    )]
    ImsicRange {
        /// The interrupt files.
        range: GuestRange,
        /// The index of the hart.
        hart: u32,
    },
    /// There are more virtio-mmio slots than names for them.
    #[error("the machine has {found} virtio-mmio slots, but the DSDT has names for {max}")]
    TooManySlots {
        /// Number of slots.
        found: usize,
        /// Largest number of slots.
        max: usize,
    },
    /// There are more CPUs than the tables can have.
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
    /// The CPU topology does not fit the machine.
    #[error("the CPU topology of the machine cannot be described")]
    Topology(#[from] TopologyError),
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
    /// MP tables are those of a PC.
    #[error("MP tables describe a PC, not a machine of the architecture {0}")]
    NotAPc(Arch),
    /// There is no RAM at the addresses where MP tables are.
    #[error("the machine has no RAM at {range}, the end of base memory, where guests look for MP tables")]
    NoBaseMemory {
        /// The addresses of the tables.
        range: GuestRange,
    },
    /// No RAM has room for the tables; that of a PC must be below 4 GiB.
    #[error("no RAM{} has room for {len} bytes of ACPI tables", if *.is_pc { " below 4 GiB" } else { "" })]
    NoRoom {
        /// Length of the tables in bytes.
        len: usize,
        /// Whether they are those of a PC.
        is_pc: bool,
    },
}

/// A value as the content of a field with fewer bits.
pub(crate) fn field<T: TryFrom<u64> + Bounded>(what: &'static str, found: u64) -> Result<T, AcpiError> {
    let max = T::MAX;
    T::try_from(found).or(Err(AcpiError::Field { what, found, max }))
}

/// An unsigned integer type with its largest value.
pub(crate) trait Bounded {
    const MAX: u64;
}

impl Bounded for u8 {
    const MAX: u64 = 0xff;
}

impl Bounded for u16 {
    const MAX: u64 = 0xffff;
}

impl Bounded for u32 {
    const MAX: u64 = 0xffff_ffff;
}
