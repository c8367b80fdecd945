//! What can go wrong between this harness and KVM.

use hv_kvm::HarnessError;

use crate::{Msr, RegisterError, TopologyError};

/// An operation on a KVM virtual machine failed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum KvmError {
    /// What goes wrong alike on every architecture.
    #[error(transparent)]
    Harness(#[from] HarnessError),
    /// KVM refused to write a model-specific register.
    #[error("KVM refused to set {msr} to {value:#x}")]
    SetMsr {
        /// The register.
        msr: Msr,
        /// The value.
        value: u64,
    },
    /// KVM refused to read a model-specific register.
    #[error("KVM does not let one read {msr}")]
    GetMsr {
        /// The register.
        msr: Msr,
    },
    /// A request names more model-specific registers than KVM takes at once.
    #[error("{count} model-specific registers are too many for one request")]
    TooManyMsrs {
        /// How many there are.
        count: usize,
    },
    /// An XSAVE area of this size cannot be made.
    #[error("an XSAVE area cannot have {words} words beyond its first 4096 bytes")]
    XsaveSize {
        /// Words beyond the first 4096 bytes.
        words: usize,
    },
    /// The CPUID table has more entries than KVM takes.
    #[error("the CPUID table has {len} entries, KVM takes at most {max}")]
    CpuidTooLong {
        /// How many there are.
        len: usize,
        /// How many are possible.
        max: usize,
    },
    /// A register does not exist or cannot hold the value.
    #[error(transparent)]
    Register(#[from] RegisterError),
    /// The vCPUs cannot be arranged like this.
    #[error(transparent)]
    Topology(#[from] TopologyError),
    /// The guest was stopped in the middle of an instruction that does not come to its end.
    #[error(
        "the instruction at which the vCPU stopped could not be completed, so its state cannot be replaced"
    )]
    Incomplete,
    /// The vCPUs of a machine can be made into another state only from one with the same registers.
    #[error("the state has register {msr}, which this vCPU does not have")]
    ForeignState {
        /// The register.
        msr: Msr,
    },
}
