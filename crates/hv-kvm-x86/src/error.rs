//! Errors of this harness.

use boot_core::{MemoryError, MemoryMapError};
use guest_ram::RamError;
use hv_kvm::HarnessError;

use crate::{LayoutError, Msr, RegisterError};

/// Failure of an operation on a KVM virtual machine.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum KvmError {
    /// The state is one of a machine whose guest has other access to MSRs.
    #[error("the state is one of a machine whose guest has other access to MSRs")]
    OtherState,
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
    /// A request to KVM would contain more model-specific registers than one ioctl can transfer.
    #[error("{count} model-specific registers exceed the limit of one ioctl")]
    TooManyMsrs {
        /// Number of registers.
        count: usize,
    },
    /// KVM reported an impossible size of the XSAVE area.
    #[error("an XSAVE area cannot have {words} words of 32 bits after its first 4096 bytes")]
    XsaveSize {
        /// Number of 32-bit words after the first 4096 bytes.
        words: usize,
    },
    /// The CPUID table has more entries than KVM allows.
    #[error("the CPUID table has {len} entries, KVM allows at most {max}")]
    CpuidTooLong {
        /// Number of entries.
        len: usize,
        /// Largest possible number of entries.
        max: usize,
    },
    /// A register does not exist or cannot hold the value.
    #[error(transparent)]
    Register(#[from] RegisterError),
    /// This harness cannot build the machine.
    #[error(transparent)]
    Layout(#[from] LayoutError),
    /// The host cannot provide memory for the ROM area.
    #[error("no memory for the addresses of option ROMs and BIOS")]
    RomMemory(#[source] RamError),
    /// The ROM area cannot be described.
    #[error("the addresses of option ROMs and BIOS cannot be mapped")]
    RomRange(#[source] MemoryMapError),
    /// The ROM area cannot be filled.
    #[error("the memory at the addresses of option ROMs and BIOS cannot be filled")]
    RomContents(#[source] MemoryError),
    /// The instruction of the last exit has more I/O accesses than the harness completes before it replaces the state.
    #[error("the pending I/O of the vCPU could not be completed, so its state cannot be replaced")]
    IoIncomplete,
    /// More hardware breakpoints than the CPU has.
    #[error("{count} hardware breakpoints, the CPU has {max}")]
    TooManyBreakpoints {
        /// Number of breakpoints.
        count: usize,
        /// Number of breakpoint registers.
        max: usize,
    },
    /// A hardware breakpoint that the CPU does not have.
    #[error(
        "no hardware breakpoint covers {len} bytes at {address:#x}: 1, 2, 4 or 8 bytes at a multiple of the length, 1 for execution"
    )]
    Breakpoint {
        /// Guest virtual address.
        address: u64,
        /// Length in bytes.
        len: u8,
    },
    /// A saved state contains a model-specific register that the vCPU does not have.
    #[error("the saved state contains {msr}, which this vCPU does not have")]
    MissingRegister {
        /// The register.
        msr: Msr,
    },
}
