//! Devices that a guest is told about.

use alloc::borrow::Cow;
use alloc::vec::Vec;

use super::Interrupt;
use crate::GuestRange;

/// What a serial port's registers look like.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum SerialKind {
    /// An NS16550A (Linux binding `serial/8250.yaml`).
    Ns16550a {
        /// The distance of two registers is two to this power, in bytes. Zero: they are byte neighbours.
        reg_shift: u32,
        /// How many bytes an access to a register has: 1, 2 or 4.
        reg_io_width: u32,
    },
    /// An Arm PL011 (Linux binding `serial/pl011.yaml`).
    Pl011,
}

impl SerialKind {
    /// An NS16550A with byte-wide registers, one byte apart.
    pub const NS16550A: Self = Self::Ns16550a {
        reg_shift: 0,
        reg_io_width: 1,
    };
}

/// A serial port.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Serial {
    /// What its registers look like.
    pub kind: SerialKind,
    /// Where they are.
    pub range: GuestRange,
    /// Its interrupt. Without one the guest has to poll.
    pub interrupt: Option<Interrupt>,
    /// The frequency in Hz that the baud rate is derived from.
    pub clock_hz: u32,
}

/// A virtio-mmio slot (Linux binding `virtio/mmio.yaml`; Virtio 1.2, "Virtio Over MMIO").
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct VirtioMmio {
    /// Its registers, at least 512 bytes.
    pub range: GuestRange,
    /// Its interrupt.
    pub interrupt: Interrupt,
}

/// An address space of PCI.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum PciSpace {
    /// I/O ports.
    Io,
    /// Memory with 32-bit addresses.
    Memory32,
    /// Memory with 64-bit addresses, prefetchable.
    Memory64,
}

/// A window through which the CPUs reach PCI addresses.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct PciWindow {
    /// The space it leads to.
    pub space: PciSpace,
    /// The guest physical addresses of the window.
    pub range: GuestRange,
    /// The PCI address that the first address of the window leads to.
    pub pci_addr: u64,
}

/// A generic PCI host with an ECAM configuration space (Linux binding `pci/host-generic-pci.yaml`).
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct PciHost {
    /// The configuration space: 1 MiB for each bus, from bus 0.
    pub ecam: GuestRange,
    /// The windows.
    pub windows: Vec<PciWindow>,
    /// The interrupts that `INTA` to `INTD` of the device in slot 0 lead to. Slot by slot they rotate by one (PCI-to-PCI
    /// Bridge specification, "Interrupt routing"). `None` for a host whose devices use messages only.
    pub intx: Option<[Interrupt; 4]>,
    /// Whether messages of PCI devices go to the interrupt controller's ITS, GICv2m frame or IMSICs.
    pub msi: bool,
}

/// Which instruction calls PSCI.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum PsciMethod {
    /// `hvc`: the hypervisor answers.
    Hvc,
    /// `smc`: firmware, or a hypervisor in its place, answers.
    Smc,
}

impl PsciMethod {
    /// The name that the device tree uses.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Hvc => "hvc",
            Self::Smc => "smc",
        }
    }
}

/// Which PSCI is there at least.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum PsciVersion {
    /// Version 0.2: the first with fixed function numbers.
    V0_2,
    /// Version 1.0 or later; the guest asks `PSCI_VERSION` for more.
    V1_0,
}

/// The power state coordination interface (Linux binding `arm/psci.yaml`; Arm DEN0022).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Psci {
    /// Which instruction calls it.
    pub method: PsciMethod,
    /// Its version.
    pub version: PsciVersion,
}

/// A write of 32 bits to a register of a [`Syscon`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct RegisterWrite {
    /// Where, in bytes from the start of the range.
    pub offset: u32,
    /// What.
    pub value: u32,
}

/// A register that turns the machine off or resets it (Linux bindings `power/reset/syscon-poweroff.yaml` and
/// `syscon-reboot.yaml`).
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Syscon {
    /// The registers.
    pub range: GuestRange,
    /// What turns the machine off.
    pub poweroff: Option<RegisterWrite>,
    /// What resets the machine.
    pub reset: Option<RegisterWrite>,
}

/// RAM that the guest is told about and must leave alone (Devicetree Specification, "/reserved-memory").
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct ReservedMemory {
    /// What it is for, as the name of its node: letters, digits and `,._+-`, at most 31 characters.
    pub name: Cow<'static, str>,
    /// Where. Inside the machine's RAM; nothing is loaded there.
    pub range: GuestRange,
    /// Whether the guest must not even map it.
    pub no_map: bool,
}
