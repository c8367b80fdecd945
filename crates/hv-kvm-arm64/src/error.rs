//! What can go wrong between this harness and KVM.

use std::io;

use boot_core::{Arch, GuestRange};

use crate::{LayoutError, RegId, StateError};

/// An operation on a KVM virtual machine failed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum KvmError {
    /// This program was built for another host.
    #[error("arm64 guests run on Linux on arm64 only, and this program was built for another host")]
    WrongHost,
    /// KVM's device file cannot be opened.
    #[error(
        "/dev/kvm cannot be opened: does this machine give its kernel EL2, and may this user read and write the file (group kvm)?"
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
    /// KVM lacks something this harness cannot do without, or that was asked for.
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
    /// The machine has no such vCPU.
    #[error("the machine was made for {count} vCPUs, so there is no vCPU {index}")]
    NoSuchVcpu {
        /// The vCPU that was asked for, counted from 0.
        index: u32,
        /// How many there are.
        count: u32,
    },
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
    #[error("RAM at {range} does not consist of whole pages of {page:#x} bytes")]
    RamUnaligned {
        /// Its addresses.
        range: GuestRange,
        /// The host's page size.
        page: u64,
    },
    /// RAM may not lie where the interrupt controller is.
    #[error("RAM at {range} overlaps the interrupt controller at {reserved}")]
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
    /// RAM must be addressable.
    #[error("RAM at {range} reaches past the {bits} bits of guest physical addresses that this host has")]
    RamBeyondAddresses {
        /// Its addresses.
        range: GuestRange,
        /// How many bits addresses have.
        bits: u32,
    },
    /// A state of another architecture was given to a vCPU.
    #[error("a state for {found} cannot be given to an arm64 vCPU")]
    WrongArch {
        /// The state's architecture.
        found: Arch,
    },
    /// The state comes from a vCPU with other registers.
    #[error("the state has {register}, which this vCPU does not have")]
    ForeignState {
        /// The register.
        register: RegId,
    },
}
