//! What can go wrong between this harness and KVM.

use std::io;

use boot_core::{Arch, GuestRange};

use crate::{Msr, RegisterError, TopologyError};

/// An operation on a KVM virtual machine failed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum KvmError {
    /// This program was built for another host.
    #[error("x86_64 guests run on Linux on x86_64 only, and this program was built for another host")]
    WrongHost,
    /// KVM's device file cannot be opened.
    #[error(
        "/dev/kvm cannot be opened: is the KVM module loaded, and may this user read and write the file (group kvm)?"
    )]
    Open(#[source] io::Error),
    /// KVM speaks another version of its interface.
    #[error("KVM has interface version {found}, this harness needs {expected}")]
    ApiVersion {
        /// What KVM has.
        found: i32,
        /// What is needed.
        expected: i32,
    },
    /// KVM lacks something this harness cannot do without.
    #[error("this KVM does not have {name}")]
    MissingCapability {
        /// The capability, by its name in the kernel's interface.
        name: &'static str,
    },
    /// KVM refused a request.
    #[error("KVM refused {request}")]
    Request {
        /// The request, by its name in the kernel's interface.
        request: &'static str,
        /// Its answer.
        #[source]
        source: io::Error,
    },
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
    /// The machine has no such vCPU.
    #[error("the machine was made for {count} vCPUs, so there is no vCPU {index}")]
    NoSuchVcpu {
        /// The vCPU that was asked for, counted from 0.
        index: u32,
        /// How many there are.
        count: u32,
    },
    /// A RAM slot is in use.
    #[error("RAM slot {slot} is in use; unmap it first")]
    SlotInUse {
        /// The slot.
        slot: u32,
    },
    /// A RAM slot is not in use.
    #[error("RAM slot {slot} is not in use")]
    SlotUnused {
        /// The slot.
        slot: u32,
    },
    /// RAM must consist of whole pages.
    #[error("RAM at {range} does not consist of whole 4 KiB pages")]
    RamUnaligned {
        /// Its addresses.
        range: GuestRange,
    },
    /// RAM may not lie where the machine has its interrupt controllers.
    #[error("RAM at {range} overlaps {reserved}, which the machine uses for itself; leave a hole there")]
    RamReserved {
        /// Its addresses.
        range: GuestRange,
        /// What it overlaps.
        reserved: GuestRange,
    },
    /// RAM may not overlap RAM.
    #[error("RAM at {range} overlaps slot {other}")]
    RamOverlap {
        /// Its addresses.
        range: GuestRange,
        /// The slot it overlaps.
        other: u32,
    },
    /// A state of another architecture was given to a vCPU.
    #[error("a state for {found} cannot be given to an x86_64 vCPU")]
    WrongArch {
        /// The state's architecture.
        found: Arch,
    },
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
