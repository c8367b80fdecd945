//! What can go wrong between this harness and KVM.

use std::io;

use boot_core::{Arch, GuestRange};
use hv_core::IrqError;

use crate::{LayoutError, Register, Value};

/// An operation on a KVM virtual machine failed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum KvmError {
    /// This program was built for another host.
    #[error("riscv64 guests run on Linux on riscv64 only, and this program was built for another host")]
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
    #[error("RAM at {range} overlaps the interrupt controller at {reserved}; leave a hole there")]
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
    #[error("a state for {found} cannot be given to a riscv64 vCPU")]
    WrongArch {
        /// The state's architecture.
        found: Arch,
    },
    /// A state has a register that the vCPU does not have.
    #[error("the state has {register}, which this vCPU does not have")]
    ForeignState {
        /// The register.
        register: Register,
    },
    /// An interrupt line could not be set.
    #[error(transparent)]
    Irq(#[from] IrqError),
    /// The guest's output through SBI could not be written.
    #[error("the guest's console output could not be written")]
    Console(#[source] io::Error),
}
