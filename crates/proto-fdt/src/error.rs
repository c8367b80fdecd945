//! Errors of [`create_fdt`](crate::create_fdt).

use alloc::borrow::Cow;
use core::fmt;

use boot_core::machine::Line;
use boot_core::{Arch, GuestRange};

/// A machine cannot be described by a device tree.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum CreateFdtError {
    /// The platform describes no CPUs.
    #[error("the machine's platform describes no CPUs; describe them, or pass a device tree of your own")]
    NoCpus,
    /// The platform describes more or fewer CPUs than the machine has.
    #[error("the machine has {vcpus} CPUs, but its platform describes {described}")]
    CpuCountMismatch {
        /// Number of CPUs in the platform.
        described: usize,
        /// Number of CPUs of the machine.
        vcpus: u32,
    },
    /// Two CPUs have the same id.
    #[error("two CPUs of the machine have the id {id:#x}")]
    DuplicateCpuId {
        /// The hart id, or the affinity of an arm64 CPU.
        id: u64,
    },
    /// Several arm64 CPUs without PSCI, which starts the secondary CPUs.
    #[error("the machine has several CPUs but no PSCI to start the secondary CPUs")]
    NoPsci,
    /// A part that machines of this architecture do not have.
    #[error("an {arch} machine has no {what}")]
    WrongArch {
        /// The part.
        what: &'static str,
        /// Architecture of the machine.
        arch: Arch,
    },
    /// An interrupt line that the interrupt controller does not have.
    #[error("the {device} is wired to {line:?}, which the machine's interrupt controller does not have")]
    NoSuchLine {
        /// The device with this interrupt.
        device: &'static str,
        /// The line.
        line: Line,
    },
    /// A per-CPU interrupt on a line that is not a PPI.
    #[error("the {device} interrupt of each CPU must be a PPI, but is {line:?}")]
    NotPpi {
        /// The device with this interrupt.
        device: &'static str,
        /// The line.
        line: Line,
    },
    /// A device on an SPI that the GICv2m frame uses for MSIs.
    #[error("the {device} is wired to {line:?}, which the GICv2m frame uses for MSIs")]
    MsiLine {
        /// The device.
        device: &'static str,
        /// The line.
        line: Line,
    },
    /// A hart with a cache block extension (Zicbom, Zicboz, Zicbop) but no block size.
    #[error("hart {hart_id:#x} has the extension {extension}, but no block size for it")]
    NoBlockSize {
        /// The hart.
        hart_id: u64,
        /// The extension.
        extension: &'static str,
    },
    /// A value that the binding does not allow.
    #[error("the {field} of the {device} is {found:#x}, but must be {expected}")]
    InvalidValue {
        /// The device.
        device: &'static str,
        /// Name of the value.
        field: &'static str,
        /// The value.
        found: u64,
        /// The values allowed.
        expected: &'static str,
    },
    /// Registers at an unaligned address.
    #[error("the {device} is at {start:#x}, but must be at a multiple of {alignment:#x}")]
    Misaligned {
        /// The device.
        device: &'static str,
        /// Address of its registers.
        start: u64,
        /// Required alignment in bytes.
        alignment: u64,
    },
    /// Two devices, or a device and RAM, overlap.
    #[error("the {first} at {first_range} and the {second} at {second_range} overlap")]
    Overlap {
        /// One device, or RAM.
        first: &'static str,
        /// Its addresses.
        first_range: GuestRange,
        /// The other one.
        second: &'static str,
        /// Its addresses.
        second_range: GuestRange,
    },
    /// A PCI host with MSIs on a machine without an MSI controller.
    #[error("the PCI host has MSIs, but the machine's interrupt controller has no MSI controller")]
    NoMsiController,
    /// Reserved memory outside of RAM.
    #[error("the reserved memory `{name}` at {range} is not inside RAM")]
    ReservedMemoryNotRam {
        /// Its name.
        name: Cow<'static, str>,
        /// Its addresses.
        range: GuestRange,
    },
    /// A name of reserved memory with a unit address. The node name gets one from the address.
    #[error("the name `{name}` of reserved memory must not contain `@`")]
    InvalidReservedMemoryName {
        /// The name.
        name: Cow<'static, str>,
    },
    /// The FDT writer refused a name, a string or the size of the tree.
    #[error("the device tree cannot be written")]
    Writer(#[from] FdtWriterError),
}

/// Error of the FDT writer. The type of the underlying library is private.
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
