//! Devices that are described to the guest.

use alloc::borrow::Cow;
use alloc::vec::Vec;

use super::Interrupt;
use crate::GuestRange;

/// Register layout of a serial port.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize), serde(rename_all = "kebab-case"))]
#[non_exhaustive]
pub enum SerialKind {
    /// An NS16550A (Linux binding `serial/8250.yaml`).
    Ns16550a {
        /// Adjacent registers are `1 << reg_shift` bytes apart.
        reg_shift: u32,
        /// Width of a register access in bytes: 1, 2 or 4.
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
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub struct Serial {
    /// Register layout.
    pub kind: SerialKind,
    /// Its registers.
    pub range: GuestRange,
    /// Its interrupt; `None` where the guest must poll.
    pub interrupt: Option<Interrupt>,
    /// Frequency of its input clock in Hz, from which the guest derives the baud rate divisor.
    pub clock_hz: u32,
}

impl Serial {
    /// A serial port without an interrupt, with an input clock of `clock_hz`.
    #[must_use]
    pub const fn new(kind: SerialKind, range: GuestRange, clock_hz: u32) -> Self {
        Self {
            kind,
            range,
            interrupt: None,
            clock_hz,
        }
    }

    /// The same with an interrupt.
    #[must_use]
    pub fn with_interrupt(self, interrupt: impl Into<Option<Interrupt>>) -> Self {
        Self {
            interrupt: interrupt.into(),
            ..self
        }
    }
}

/// A virtio-mmio slot (Linux binding `virtio/mmio.yaml`; Virtio 1.2, "Virtio Over MMIO").
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub struct VirtioMmio {
    /// Its registers, at least 512 bytes.
    pub range: GuestRange,
    /// Its interrupt.
    pub interrupt: Interrupt,
}

impl VirtioMmio {
    /// A slot with these registers and this interrupt.
    #[must_use]
    pub const fn new(range: GuestRange, interrupt: Interrupt) -> Self {
        Self { range, interrupt }
    }
}

/// An address space of PCI.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize), serde(rename_all = "kebab-case"))]
#[non_exhaustive]
pub enum PciSpace {
    /// I/O ports.
    Io,
    /// Memory with 32-bit addresses.
    Memory32,
    /// Memory with 64-bit addresses, prefetchable.
    Memory64,
}

impl PciSpace {
    /// The bits of `phys.hi` that name the space and whether it is prefetchable (PCI Bus Binding to IEEE 1275,
    /// "Physical Address Formats").
    #[must_use]
    pub const fn phys_hi(self) -> u32 {
        match self {
            Self::Io => 0x0100_0000,
            Self::Memory32 => 0x0200_0000,
            Self::Memory64 => 0x4300_0000,
        }
    }

    /// The end of the space: exclusive. That of [`Memory64`](Self::Memory64) is `u64::MAX`.
    #[must_use]
    pub const fn end(self) -> u64 {
        match self {
            Self::Io | Self::Memory32 => 1 << 32,
            Self::Memory64 => u64::MAX,
        }
    }
}

/// A window through which the CPUs reach PCI addresses.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub struct PciWindow {
    /// PCI address space.
    pub space: PciSpace,
    /// The guest physical addresses of the window.
    pub range: GuestRange,
    /// PCI address of the start of the window.
    pub pci_addr: u64,
}

impl PciWindow {
    /// A window at `range` that leads to `pci_addr` and the addresses after it.
    #[must_use]
    pub const fn new(space: PciSpace, range: GuestRange, pci_addr: u64) -> Self {
        Self {
            space,
            range,
            pci_addr,
        }
    }
}

/// A generic PCI host with an ECAM configuration space (Linux binding `pci/host-generic-pci.yaml`).
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub struct PciHost {
    /// Configuration space: 1 MiB for each bus, from bus 0.
    pub ecam: GuestRange,
    /// The windows.
    pub windows: Vec<PciWindow>,
    /// Interrupts of `INTA` to `INTD` of the device in slot 0. From slot to slot they rotate by one ("swizzle", as behind a
    /// PCI-to-PCI bridge). `None` where devices use MSIs only.
    pub intx: Option<[Interrupt; 4]>,
    /// Whether devices can use MSIs, through the ITS, GICv2m frame or IMSICs of the interrupt controller.
    pub msi: bool,
}

impl PciHost {
    /// A host whose devices have neither `INTA` to `INTD` nor MSIs.
    #[must_use]
    pub const fn new(ecam: GuestRange, windows: Vec<PciWindow>) -> Self {
        Self {
            ecam,
            windows,
            intx: None,
            msi: false,
        }
    }

    /// The same with interrupts for `INTA` to `INTD` of slot 0.
    #[must_use]
    pub fn with_intx(self, intx: impl Into<Option<[Interrupt; 4]>>) -> Self {
        Self {
            intx: intx.into(),
            ..self
        }
    }

    /// The same with or without MSIs.
    #[must_use]
    pub fn with_msi(self, msi: bool) -> Self {
        Self { msi, ..self }
    }
}

/// The instruction that calls PSCI.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize), serde(rename_all = "kebab-case"))]
#[non_exhaustive]
pub enum PsciMethod {
    /// `hvc`, a call to the hypervisor.
    Hvc,
    /// `smc`, a call to the secure monitor, or to a hypervisor that traps it.
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

/// The lowest PSCI version that is implemented.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize), serde(rename_all = "kebab-case"))]
#[non_exhaustive]
pub enum PsciVersion {
    /// Version 0.2, the first with standard function ids.
    V0_2,
    /// Version 1.0 or later; `PSCI_VERSION` returns the exact one.
    V1_0,
}

/// The power state coordination interface (Linux binding `arm/psci.yaml`; Arm DEN0022).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub struct Psci {
    /// The instruction that calls it.
    pub method: PsciMethod,
    /// Its lowest version.
    pub version: PsciVersion,
}

impl Psci {
    /// PSCI of at least this version.
    #[must_use]
    pub const fn new(method: PsciMethod, version: PsciVersion) -> Self {
        Self { method, version }
    }
}

/// A write of 32 bits to a register of a [`Syscon`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub struct RegisterWrite {
    /// Offset in bytes from the start of the range.
    pub offset: u32,
    /// Value to write.
    pub value: u32,
}

impl RegisterWrite {
    /// A write of `value` at `offset`.
    #[must_use]
    pub const fn new(offset: u32, value: u32) -> Self {
        Self { offset, value }
    }
}

/// Registers that turn the machine off or reset it (Linux bindings `power/reset/syscon-poweroff.yaml` and
/// `syscon-reboot.yaml`).
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub struct Syscon {
    /// The registers.
    pub range: GuestRange,
    /// The write that turns the machine off.
    pub poweroff: Option<RegisterWrite>,
    /// The write that resets the machine.
    pub reset: Option<RegisterWrite>,
}

impl Syscon {
    /// Registers without a write that turns the machine off or resets it.
    #[must_use]
    pub const fn new(range: GuestRange) -> Self {
        Self {
            range,
            poweroff: None,
            reset: None,
        }
    }

    /// The same with a write that turns the machine off.
    #[must_use]
    pub fn with_poweroff(self, write: impl Into<Option<RegisterWrite>>) -> Self {
        Self {
            poweroff: write.into(),
            ..self
        }
    }

    /// The same with a write that resets the machine.
    #[must_use]
    pub fn with_reset(self, write: impl Into<Option<RegisterWrite>>) -> Self {
        Self {
            reset: write.into(),
            ..self
        }
    }
}

/// RAM that is described to the guest as reserved (Devicetree Specification, "/reserved-memory").
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub struct ReservedMemory {
    /// Its purpose, as the name of its node: letters, digits and `,._+-`, at most 31 characters.
    pub name: Cow<'static, str>,
    /// Its addresses, inside the machine's RAM. Nothing is loaded there.
    pub range: GuestRange,
    /// Whether the guest must not map it.
    pub no_map: bool,
}

impl ReservedMemory {
    /// Reserved memory that the guest may map.
    #[must_use]
    pub fn new(name: impl Into<Cow<'static, str>>, range: GuestRange) -> Self {
        Self {
            name: name.into(),
            range,
            no_map: false,
        }
    }

    /// The same with [`no_map`](Self::no_map).
    #[must_use]
    pub fn with_no_map(self, no_map: bool) -> Self {
        Self { no_map, ..self }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::machine::Line;

    const RANGE: GuestRange = match GuestRange::new(0x1000, 0x200) {
        Some(range) => range,
        None => GuestRange::EMPTY,
    };

    #[test]
    fn setters_change_one_field() {
        let line = Interrupt::edge(Line::Spi(1));
        let serial = Serial::new(SerialKind::Pl011, RANGE, 24_000_000);
        assert_eq!((serial.kind, serial.range), (SerialKind::Pl011, RANGE));
        assert_eq!((serial.interrupt, serial.clock_hz), (None, 24_000_000));
        let expected = Serial {
            interrupt: Some(line),
            ..serial.clone()
        };
        assert_eq!(serial.with_interrupt(line), expected);

        let slot = VirtioMmio::new(RANGE, line);
        assert_eq!((slot.range, slot.interrupt), (RANGE, line));

        let window = PciWindow::new(PciSpace::Memory32, RANGE, 7);
        assert_eq!(
            (window.space, window.range, window.pci_addr),
            (PciSpace::Memory32, RANGE, 7)
        );
        let host = PciHost::new(RANGE, [window].to_vec());
        assert_eq!((host.ecam, &host.windows[..]), (RANGE, &[window][..]));
        assert_eq!((host.intx, host.msi), (None, false));
        let host = host.with_intx([line; 4]).with_msi(true);
        assert_eq!((host.intx, host.msi), (Some([line; 4]), true));

        let write = RegisterWrite::new(4, 5);
        assert_eq!((write.offset, write.value), (4, 5));
        let syscon = Syscon::new(RANGE);
        assert_eq!((syscon.range, syscon.poweroff, syscon.reset), (RANGE, None, None));
        let off = syscon.clone().with_poweroff(write);
        assert_eq!((off.poweroff, off.reset), (Some(write), None));
        let reset = syscon.with_reset(write);
        assert_eq!((reset.poweroff, reset.reset), (None, Some(write)));

        let memory = ReservedMemory::new("firmware", RANGE);
        assert_eq!(
            (&*memory.name, memory.range, memory.no_map),
            ("firmware", RANGE, false)
        );
        assert!(memory.with_no_map(true).no_map);
    }

    #[test]
    fn values_are_those_of_the_bindings() {
        assert_eq!(
            [PciSpace::Io, PciSpace::Memory32, PciSpace::Memory64].map(PciSpace::phys_hi),
            [0x0100_0000, 0x0200_0000, 0x4300_0000]
        );
        assert_eq!(
            [PciSpace::Io, PciSpace::Memory32, PciSpace::Memory64].map(PciSpace::end),
            [0x1_0000_0000, 0x1_0000_0000, u64::MAX]
        );
        assert_eq!(
            [PsciMethod::Hvc, PsciMethod::Smc].map(PsciMethod::name),
            ["hvc", "smc"]
        );
        let psci = Psci::new(PsciMethod::Smc, PsciVersion::V0_2);
        assert_eq!((psci.method, psci.version), (PsciMethod::Smc, PsciVersion::V0_2));
    }
}
