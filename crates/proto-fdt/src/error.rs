//! Errors of [`create_fdt`](crate::create_fdt).

mod node;

use alloc::borrow::Cow;
use alloc::string::String;
use core::fmt;

pub use node::NodeError;

use boot_core::machine::{Line, NumaError, TopologyError};
use boot_core::{Arch, GuestRange};

/// The device tree of a machine cannot be created.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum CreateFdtError {
    /// The platform has no CPUs of arm64 or riscv64.
    #[error(
        "the platform of the machine has no CPUs: set `Platform::cpus`, or add a device tree to the request"
    )]
    NoCpus,
    /// The numbers of CPUs in the platform and in the machine differ.
    #[error("the machine has {vcpus} CPUs, but its platform describes {described} CPUs")]
    CpuCountMismatch {
        /// Number of CPUs in the platform.
        described: usize,
        /// Number of CPUs of the machine.
        vcpus: u32,
    },
    /// Two CPUs have the same id.
    #[error("two CPUs of the machine have the id {id:#x}")]
    DuplicateCpuId {
        /// Affinity of an arm64 CPU, or hart id.
        id: u64,
    },
    /// The platform has several arm64 CPUs but no PSCI, which starts the secondary CPUs.
    #[error("the platform has several CPUs but no PSCI, which is necessary to start the secondary CPUs")]
    NoPsci,
    /// The platform has a part that machines of this architecture cannot have.
    #[error("the platform has {what}, which {arch} machines cannot have")]
    WrongArch {
        /// The part, with its article.
        what: &'static str,
        /// Architecture of the machine.
        arch: Arch,
    },
    /// The interrupt line of a device does not exist.
    #[error("the {device} is wired to {line}, which the interrupt controller does not have")]
    NoSuchLine {
        /// The device with this interrupt.
        device: &'static str,
        /// The interrupt line.
        line: Line,
    },
    /// A per-CPU interrupt is not on a PPI.
    #[error("the {device} interrupt of each CPU must be a PPI, but is {line}")]
    NotPpi {
        /// The device with this interrupt.
        device: &'static str,
        /// The interrupt line.
        line: Line,
    },
    /// The GICv2m frame uses the interrupt line of a device for MSIs.
    #[error("the {device} is wired to {line}, which the GICv2m frame uses for MSIs")]
    MsiLine {
        /// The device.
        device: &'static str,
        /// The interrupt line.
        line: Line,
    },
    /// A hart has a cache block extension (Zicbom, Zicboz or Zicbop), but its block size is unspecified.
    #[error("hart {hart_id:#x} has the extension {extension}, but its block size is unspecified")]
    NoBlockSize {
        /// Id of the hart.
        hart_id: u64,
        /// Name of the extension.
        extension: &'static str,
    },
    /// The Linux binding of a device does not allow a value.
    #[error("the {field} of the {device} is {found} ({found:#x}), but must be {expected}")]
    InvalidValue {
        /// The device.
        device: &'static str,
        /// Name of the value.
        field: &'static str,
        /// The value.
        found: u64,
        /// Description of the allowed values.
        expected: &'static str,
    },
    /// The registers of a device are not aligned.
    #[error("the {device} is at {start:#x}, but must be at a multiple of {alignment:#x}")]
    Misaligned {
        /// The device.
        device: &'static str,
        /// Address of its registers.
        start: u64,
        /// Required alignment in bytes.
        alignment: u64,
    },
    /// Two devices, a device and RAM, or two ranges of reserved memory overlap.
    #[error("the {first} at {first_range} and the {second} at {second_range} overlap")]
    Overlap {
        /// The part at the lower address.
        first: &'static str,
        /// Addresses of the first part.
        first_range: GuestRange,
        /// The other part.
        second: &'static str,
        /// Addresses of the second part.
        second_range: GuestRange,
    },
    /// The PCI host has MSIs, but the machine has no MSI controller.
    #[error("the PCI host has MSIs, but the machine's interrupt controller has no MSI controller")]
    NoMsiController,
    /// The NUMA nodes do not fit each other or the machine.
    #[error("the NUMA nodes of the machine cannot be described")]
    Numa(#[from] NumaError),
    /// The CPU topology does not fit the machine.
    #[error("the CPU topology of the machine cannot be described")]
    Topology(#[from] TopologyError),
    /// Two nodes with the same parent have the same name (Devicetree Specification v0.4, section 2.2.1).
    #[error("the device tree has two nodes `{name}` with the same parent")]
    DuplicateNode {
        /// The name, with the unit address if it has one.
        name: String,
    },
    /// A node of [`Platform::nodes`](boot_core::machine::Platform::nodes) cannot be written.
    #[error("the node `{path}` of the platform cannot be written")]
    Node {
        /// Its path in the tree.
        path: String,
        /// The reason.
        #[source]
        error: NodeError,
    },
    /// Reserved memory is empty or not inside RAM.
    #[error("the reserved memory `{name}` at {range} is empty or not inside RAM")]
    ReservedMemoryNotRam {
        /// Its name.
        name: Cow<'static, str>,
        /// Its addresses.
        range: GuestRange,
    },
    /// The name of reserved memory contains `@`. `create_fdt` appends the unit address itself.
    #[error("the name `{name}` of reserved memory must not contain `@`: the unit address is appended to it")]
    InvalidReservedMemoryName {
        /// The name.
        name: Cow<'static, str>,
    },
    /// The FDT writer rejected a string of the platform, a node name made from one, or the size of the tree.
    #[error("the device tree cannot be written")]
    Writer(#[from] FdtWriterError),
}

/// Error of the FDT writer, for display only: the library that writes the tree is not part of the API.
#[derive(Debug, PartialEq, Eq)]
pub struct FdtWriterError(vm_fdt::Error);

impl FdtWriterError {
    pub(crate) const fn new(error: vm_fdt::Error) -> Self {
        Self(error)
    }
}

impl fmt::Display for FdtWriterError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl core::error::Error for FdtWriterError {}
