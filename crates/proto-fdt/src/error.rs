//! What a device tree cannot say about a machine.

use alloc::borrow::Cow;

use boot_core::machine::Line;
use boot_core::{Arch, GuestRange};

/// Why no device tree can be written for a machine.
#[derive(Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum TreeError {
    /// The platform has no CPUs: a device tree has to name them.
    NoCpus,
    /// The platform's list of CPUs is not as long as the machine has CPUs.
    CpuCount {
        /// How many CPUs the platform describes.
        described: usize,
        /// How many CPUs the machine has.
        vcpus: u32,
    },
    /// Two CPUs have one id.
    CpuIdTwice {
        /// The hart id, or the affinity of an arm64 CPU.
        id: u64,
    },
    /// Several arm64 CPUs without PSCI: nothing could start the others.
    NoPsci,
    /// Something that machines of this architecture do not have.
    OtherArch {
        /// What it is.
        what: &'static str,
        /// The machine's architecture.
        arch: Arch,
    },
    /// An interrupt line that the machine's interrupt controller has not.
    Line {
        /// The device that the line belongs to.
        device: &'static str,
        /// The line.
        line: Line,
    },
    /// An interrupt that every CPU has one of, on a line that all CPUs share.
    NotPrivate {
        /// The device that the line belongs to.
        device: &'static str,
        /// The line.
        line: Line,
    },
    /// A device wired to a line that messages raise.
    MessageLine {
        /// The device.
        device: &'static str,
        /// The line.
        line: Line,
    },
    /// A hart with an extension that works on blocks, but without their size.
    NoBlockSize {
        /// The hart.
        hart_id: u64,
        /// The extension.
        extension: &'static str,
    },
    /// A value outside of what its binding allows.
    Value {
        /// The device.
        device: &'static str,
        /// The value's name.
        field: &'static str,
        /// The value.
        found: u64,
        /// What it may be.
        expected: &'static str,
    },
    /// Registers that begin at no multiple of what they have to.
    Unaligned {
        /// The device.
        device: &'static str,
        /// Where its registers begin.
        start: u64,
        /// What that must be a multiple of.
        alignment: u64,
    },
    /// Two devices, or a device and RAM, share addresses.
    Overlap {
        /// One of them.
        first: &'static str,
        /// Its addresses.
        first_range: GuestRange,
        /// The other.
        second: &'static str,
        /// Its addresses.
        second_range: GuestRange,
    },
    /// A PCI host whose messages nothing receives.
    NoMsiController,
    /// Reserved memory outside of RAM.
    ReservedNotRam {
        /// Its name.
        name: Cow<'static, str>,
        /// Where it is.
        range: GuestRange,
    },
    /// A name of reserved memory that already has an address; the node's name is made of both.
    ReservedName {
        /// The name.
        name: Cow<'static, str>,
    },
    /// A name or a string that the format cannot hold.
    Writer(vm_fdt::Error),
}

impl core::fmt::Display for TreeError {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        match self {
            Self::NoCpus => write!(
                f,
                "the machine's platform describes no CPUs; describe them, or pass a device tree of your own"
            ),
            Self::CpuCount { described, vcpus } => {
                write!(
                    f,
                    "the machine has {vcpus} CPUs, but its platform describes {described}"
                )
            }
            Self::CpuIdTwice { id } => write!(f, "two CPUs of the machine have the id {id:#x}"),
            Self::NoPsci => write!(
                f,
                "the machine has several CPUs but no PSCI, so the guest could not start the others"
            ),
            Self::OtherArch { what, arch } => write!(f, "an {arch} machine has no {what}"),
            Self::Line { device, line } => write!(
                f,
                "the {device} is wired to {line:?}, which the machine's interrupt controller does not have"
            ),
            Self::NotPrivate { device, line } => write!(
                f,
                "every CPU has a {device} of its own, but its interrupt is {line:?}, which is not a PPI"
            ),
            Self::MessageLine { device, line } => write!(
                f,
                "the {device} is wired to {line:?}, which the GICv2m frame raises for messages"
            ),
            Self::NoBlockSize { hart_id, extension } => write!(
                f,
                "hart {hart_id:#x} has the extension {extension}, but no size of the blocks that it works on"
            ),
            Self::Value {
                device,
                field,
                found,
                expected,
            } => write!(
                f,
                "the {field} of the {device} is {found:#x}, but must be {expected}"
            ),
            Self::Unaligned {
                device,
                start,
                alignment,
            } => write!(
                f,
                "the {device} begins at {start:#x}, but must begin at a multiple of {alignment:#x}"
            ),
            Self::Overlap {
                first,
                first_range,
                second,
                second_range,
            } => write!(
                f,
                "the {first} at {first_range} and the {second} at {second_range} overlap"
            ),
            Self::NoMsiController => write!(
                f,
                "the PCI host sends messages, but the interrupt controller has nothing that receives them"
            ),
            Self::ReservedNotRam { name, range } => {
                write!(f, "the reserved memory `{name}` at {range} is not inside RAM")
            }
            Self::ReservedName { name } => {
                write!(f, "the name `{name}` of reserved memory may not contain `@`")
            }
            Self::Writer(error) => write!(f, "the device tree cannot be written: {error}"),
        }
    }
}

impl core::error::Error for TreeError {}

impl From<vm_fdt::Error> for TreeError {
    fn from(error: vm_fdt::Error) -> Self {
        Self::Writer(error)
    }
}
