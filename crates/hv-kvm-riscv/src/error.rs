//! Errors of this harness.

use std::io;

use hv_core::IrqError;
use hv_kvm::HarnessError;

use crate::{LayoutError, Register, RegisterValue};

/// Failure of an operation on a KVM virtual machine.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum KvmError {
    /// An error that does not depend on the architecture.
    #[error(transparent)]
    Harness(#[from] HarnessError),
    /// A read of a register failed.
    #[error("KVM cannot read {register}")]
    GetRegister {
        /// The register.
        register: Register,
        /// Error of the kernel.
        #[source]
        source: io::Error,
    },
    /// A write of a register failed.
    #[error("KVM does not accept {value:?} for {register}")]
    SetRegister {
        /// The register.
        register: Register,
        /// The value.
        value: RegisterValue,
        /// Error of the kernel.
        #[source]
        source: io::Error,
    },
    /// A value has another size than its register.
    #[error("the value for {register} has {found} bytes, but the register has {expected}")]
    ValueSize {
        /// The register.
        register: Register,
        /// The size of the value in bytes.
        found: usize,
        /// The size of the register in bytes.
        expected: usize,
    },
    /// The machine describes an ISA extension that KVM of this host does not support.
    #[error("KVM of this host does not support the ISA extension {name}")]
    MissingIsaExtension {
        /// Name of the extension in device trees.
        name: String,
    },
    /// The machine describes a number that this host does not support.
    #[error("the machine has {what} {found}, but this host supports {expected}")]
    HostMismatch {
        /// Name of the number.
        what: &'static str,
        /// Number in the description.
        found: u64,
        /// Number that the host supports: the only one, or the largest one.
        expected: u64,
    },
    /// KVM reports a number that does not fit into its device tree property, which has 32 bits.
    #[error("{register} is {value:#x}, which does not fit into a device tree property of 32 bits")]
    NumberTooLarge {
        /// The register.
        register: Register,
        /// Value of the register.
        value: u64,
    },
    /// This harness cannot build the machine, on any host.
    #[error(transparent)]
    Layout(#[from] LayoutError),
    /// A saved state contains a register that the vCPU does not have.
    #[error("the saved state contains {register}, which this vCPU does not have")]
    MissingRegister {
        /// The register.
        register: Register,
    },
    /// A saved state contains an interrupt file, but the machine has no AIA.
    #[error("the saved state contains an IMSIC interrupt file, which this vCPU does not have")]
    NoImsic,
    /// The doorbell of a bare machine is an SBI extension that KVM does not forward.
    #[error(
        "KVM does not forward SBI extension {extension:#x}; a doorbell is a vendor extension, 0x9000000 to 0x9ffffff, or an \
         experimental one, 0x8000000 to 0x8ffffff"
    )]
    Doorbell {
        /// The extension id.
        extension: u64,
    },
    /// The rewind code of a bare machine did not end as expected.
    #[error("the guest's memory does not contain the rewind code at {address:#x}")]
    NoRewindCode {
        /// Guest physical address in the configuration.
        address: u64,
        /// Error of `KVM_RUN`, if it failed.
        #[source]
        source: Option<io::Error>,
    },
    /// The register image of a bare machine is not in its memory.
    #[error("the guest has no memory for the register image at {address:#x}")]
    NoRegisterImage {
        /// Guest physical address in the configuration.
        address: u64,
    },
    /// KVM of riscv64 does not have a kind of debug exception.
    #[error("KVM of riscv64 does not support {what}")]
    UnsupportedDebug {
        /// Name of the debug exceptions.
        what: &'static str,
    },
    /// An interrupt line could not be set.
    #[error(transparent)]
    Irq(#[from] IrqError),
    /// SBI console output could not be written.
    #[error("console output of the guest could not be written")]
    Console(#[source] io::Error),
}
