//! Errors of this harness.

use hv_kvm::HarnessError;

use crate::{LayoutError, Msr, RegisterError};

/// Failure of an operation on a KVM virtual machine.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum KvmError {
    /// An error that does not depend on the architecture.
    #[error(transparent)]
    Harness(#[from] HarnessError),
    /// A write of a model-specific register failed.
    #[error("KVM does not accept {value:#x} for {msr}")]
    SetMsr {
        /// The register.
        msr: Msr,
        /// The value.
        value: u64,
    },
    /// A read of a model-specific register failed.
    #[error("KVM cannot read {msr}")]
    GetMsr {
        /// The register.
        msr: Msr,
    },
    /// An ioctl has more model-specific registers than KVM allows.
    #[error("{count} model-specific registers exceed the limit of one ioctl")]
    TooManyMsrs {
        /// Their number.
        count: usize,
    },
    /// The size of an XSAVE area is not possible.
    #[error("an XSAVE area cannot have {words} words beyond its first 4096 bytes")]
    XsaveSize {
        /// Words beyond the first 4096 bytes.
        words: usize,
    },
    /// The CPUID table has more entries than KVM allows.
    #[error("the CPUID table has {len} entries, KVM allows at most {max}")]
    CpuidTooLong {
        /// Their number.
        len: usize,
        /// Largest possible number.
        max: usize,
    },
    /// A register does not exist or cannot hold the value.
    #[error(transparent)]
    Register(#[from] RegisterError),
    /// This harness cannot build the machine.
    #[error(transparent)]
    Layout(#[from] LayoutError),
    /// The I/O of the instruction at which the vCPU stopped could not be completed.
    #[error("the pending I/O of the vCPU could not be completed, so its state cannot be replaced")]
    IoIncomplete,
    /// A saved state contains a register that the vCPU does not have.
    #[error("the saved state contains {msr}, which this vCPU does not have")]
    MissingRegister {
        /// The register.
        msr: Msr,
    },
}
