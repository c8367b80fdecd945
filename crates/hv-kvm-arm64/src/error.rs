//! What can go wrong between this harness and KVM.

use std::io;

use hv_kvm::HarnessError;

use crate::{LayoutError, RegId, StateError};

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
        register: RegId,
        /// Its answer.
        #[source]
        source: io::Error,
    },
    /// KVM refused to write a register.
    #[error("KVM does not let one set {register} to that value")]
    SetRegister {
        /// The register.
        register: RegId,
        /// Its answer.
        #[source]
        source: io::Error,
    },
    /// KVM reports a register of another size than its id says.
    #[error("{register} does not have the size it is used with")]
    RegisterSize {
        /// The register.
        register: RegId,
    },
    /// KVM refused to read or write a part of the interrupt controller.
    #[error("KVM refused access to attribute {attribute:#x} of group {group} of the interrupt controller")]
    GicAttribute {
        /// The group, `KVM_DEV_ARM_VGIC_GRP_*`.
        group: u32,
        /// The attribute.
        attribute: u64,
        /// Its answer.
        #[source]
        source: io::Error,
    },
    /// A value does not belong to the register, or the vCPU does not have the register.
    #[error(transparent)]
    State(#[from] StateError),
    /// The machine cannot be built.
    #[error(transparent)]
    Layout(#[from] LayoutError),
    /// The interrupt controller can be made only when all vCPUs are there.
    #[error(
        "only {created} of the machine's {count} vCPUs were created, so it has no interrupt controller yet"
    )]
    Unfinished {
        /// How many there are.
        created: u32,
        /// How many there will be.
        count: u32,
    },
    /// The interrupt controller has no such line.
    #[error("there is no shared peripheral interrupt {line}; the last one is {}", crate::gic::SPIS - 1)]
    NoSuchLine {
        /// The line that was asked for, counted from 0.
        line: u32,
    },
    /// The state comes from a vCPU with other registers.
    #[error("the state has {register}, which this vCPU does not have")]
    ForeignState {
        /// The register.
        register: RegId,
    },
}
