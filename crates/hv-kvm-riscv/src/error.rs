//! What can go wrong between this harness and KVM.

use std::io;

use hv_core::IrqError;
use hv_kvm::HarnessError;

use crate::{LayoutError, Register, Value};

/// An operation on a KVM virtual machine failed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum KvmError {
    /// What goes wrong alike on every architecture.
    #[error(transparent)]
    Harness(#[from] HarnessError),
    /// KVM refused to read a register.
    #[error("KVM does not let one read {register}")]
    GetRegister {
        /// The register.
        register: Register,
        /// Its answer.
        #[source]
        source: io::Error,
    },
    /// KVM refused to write a register.
    #[error("KVM refused to set {register} to {value:?}")]
    SetRegister {
        /// The register.
        register: Register,
        /// The value.
        value: Value,
        /// Its answer.
        #[source]
        source: io::Error,
    },
    /// A value has not the size of the register.
    #[error("{register} has {expected} bytes, not {found}")]
    ValueSize {
        /// The register.
        register: Register,
        /// The size of the value in bytes.
        found: usize,
        /// The size of the register in bytes.
        expected: usize,
    },
    /// The machine describes an extension of the instruction set that this host does not have.
    #[error("this host's KVM cannot give a vCPU the ISA extension {name}")]
    MissingExtension {
        /// The extension, as the device tree spells it.
        name: String,
    },
    /// This host cannot have the machine as it is described.
    #[error("this host cannot give a machine {what}: {found} is asked for, {expected} is possible")]
    Machine {
        /// What is asked for.
        what: &'static str,
        /// What the machine says.
        found: u64,
        /// What would do.
        expected: u64,
    },
    /// The machine cannot be built by this harness, on no host.
    #[error(transparent)]
    Layout(#[from] LayoutError),
    /// A state has a register that the vCPU does not have.
    #[error("the state has {register}, which this vCPU does not have")]
    ForeignState {
        /// The register.
        register: Register,
    },
    /// A state has an interrupt file, and the vCPU has none.
    #[error("the state has the interrupt file of an IMSIC, which this vCPU does not have")]
    NoImsic,
    /// An interrupt line could not be set.
    #[error(transparent)]
    Irq(#[from] IrqError),
    /// The guest's output through SBI could not be written.
    #[error("the guest's console output could not be written")]
    Console(#[source] io::Error),
}
