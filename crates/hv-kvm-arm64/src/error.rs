//! Errors of this harness.

use std::io;

use hv_kvm::HarnessError;

use crate::{LayoutError, Register, StateError};

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
    #[error("KVM does not accept the value for {register}")]
    SetRegister {
        /// The register.
        register: Register,
        /// Error of the kernel.
        #[source]
        source: io::Error,
    },
    /// A register does not have the size or the value of a 64-bit number.
    #[error("{register} has {} bytes; a number of at most 8 bytes was expected", .register.size())]
    RegisterSize {
        /// The register.
        register: Register,
    },
    /// Access to an attribute of the interrupt controller failed.
    #[error("access to attribute {attribute:#x} in group {group} of the interrupt controller failed")]
    GicAttribute {
        /// The group, `KVM_DEV_ARM_VGIC_GRP_*`.
        group: u32,
        /// The attribute.
        attribute: u64,
        /// Error of the kernel.
        #[source]
        source: io::Error,
    },
    /// A value has the wrong size for its register, or the register does not exist.
    #[error(transparent)]
    State(#[from] StateError),
    /// This harness cannot build the machine.
    #[error(transparent)]
    Layout(#[from] LayoutError),
    /// The interrupt controller does not exist yet: it is created after the last vCPU.
    #[error(
        "the interrupt controller does not exist before all vCPUs are created: {created} of {count} exist"
    )]
    VcpusNotCreated {
        /// Number of created vCPUs.
        created: u32,
        /// Number of vCPUs of the machine.
        count: u32,
    },
    /// The interrupt line does not exist.
    #[error("shared peripheral interrupt {line} does not exist; the last one is {}", crate::gic::SPIS - 1)]
    NoSuchInterruptLine {
        /// Number of the line, counted from 0.
        line: u32,
    },
    /// A saved state contains a register that the vCPU does not have.
    #[error("the saved state contains {register}, which this vCPU does not have")]
    MissingRegister {
        /// The register.
        register: Register,
    },
    /// More hardware breakpoints or watchpoints than the CPU has.
    #[error("{count} hardware {kind}s, the CPU has {max}")]
    TooManyBreakpoints {
        /// `breakpoint` or `watchpoint`.
        kind: &'static str,
        /// Number of breakpoints of this kind.
        count: usize,
        /// Number of breakpoint registers of this kind.
        max: usize,
    },
    /// A hardware breakpoint that the CPU does not have.
    #[error(
        "no hardware breakpoint covers {len} bytes at {address:#x}: 1, 2, 4 or 8 bytes at a multiple of the length, 1 at a multiple of 4 for execution"
    )]
    Breakpoint {
        /// Guest virtual address.
        address: u64,
        /// Length in bytes.
        len: u8,
    },
    /// The memory of a bare machine does not have the rewind code where the configuration has it.
    #[error("no slot has the rewind code at {address:#x}")]
    RewindCodeMissing {
        /// Guest physical address, [`BareConfig::rewind_code`](crate::BareConfig::rewind_code).
        address: u64,
    },
    /// The memory of a bare machine has no place for the register image where the configuration has it.
    #[error("no slot has memory for the register image at {address:#x}")]
    RewindImageMissing {
        /// Guest physical address, [`BareConfig::rewind_image`](crate::BareConfig::rewind_image).
        address: u64,
    },
    /// The rewind code ended with another exit than the doorbell.
    #[error("the rewind code did not ring the doorbell: {exit}")]
    RewindFailed {
        /// The exit.
        exit: String,
    },
}
