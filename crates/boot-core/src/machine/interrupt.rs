//! Interrupt lines, the controllers they lead to, and the arm64 timer, which is little else.

use alloc::vec::Vec;

use crate::GuestRange;

/// When a line asks for attention.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Trigger {
    /// At the moment it goes from low to high.
    EdgeRising,
    /// As long as it is high.
    LevelHigh,
}

/// A line of an interrupt controller, by the number that the device tree bindings use.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Line {
    /// A shared peripheral interrupt of a GIC, 0 to 987. Its INTID is 32 higher.
    Spi(u32),
    /// A private peripheral interrupt of a GIC, 0 to 15. Its INTID is 16 higher.
    Ppi(u32),
    /// A source of a riscv64 PLIC or APLIC, from 1 up.
    Source(u32),
}

impl Line {
    /// The GIC's own number of the line (Arm GIC architecture, "INTIDs"), or the number of the PLIC's or APLIC's
    /// source. `None` where the number does not exist.
    #[must_use]
    pub const fn intid(self) -> Option<u32> {
        match self {
            Self::Spi(n @ 0..=987) => n.checked_add(32),
            Self::Ppi(n @ 0..=15) => n.checked_add(16),
            Self::Source(n @ 1..=1023) => Some(n),
            Self::Spi(_) | Self::Ppi(_) | Self::Source(_) => None,
        }
    }
}

/// An interrupt: a line and how it is triggered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Interrupt {
    /// The line.
    pub line: Line,
    /// How it is triggered.
    pub trigger: Trigger,
}

impl Interrupt {
    /// An edge-triggered interrupt.
    #[must_use]
    pub const fn edge(line: Line) -> Self {
        Self {
            line,
            trigger: Trigger::EdgeRising,
        }
    }

    /// A level-triggered interrupt.
    #[must_use]
    pub const fn level(line: Line) -> Self {
        Self {
            line,
            trigger: Trigger::LevelHigh,
        }
    }
}

/// The machine's interrupt controller for devices.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum InterruptController {
    /// None, or one that is described elsewhere.
    #[default]
    Undescribed,
    /// arm64: a GIC, version 2.
    GicV2(GicV2),
    /// arm64: a GIC, version 3.
    GicV3(GicV3),
    /// riscv64: a PLIC.
    Plic(Plic),
    /// riscv64: the advanced interrupt architecture, an APLIC with or without IMSICs.
    Aplic(Aplic),
}

/// A GIC, version 2 (Linux binding `arm,gic.yaml`).
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct GicV2 {
    /// The distributor, 4 KiB.
    pub distributor: GuestRange,
    /// The CPU interface, 8 KiB.
    pub cpu_interface: GuestRange,
    /// The frame that turns messages into SPIs, where there is one.
    pub v2m: Option<GicV2m>,
}

/// A GICv2m frame: message-signalled interrupts for a GICv2 (Linux binding `arm,gic.yaml`, `v2m`).
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct GicV2m {
    /// The frame, 4 KiB.
    pub frame: GuestRange,
    /// The first SPI that messages raise, as a [`Line::Spi`] number.
    pub first_spi: u32,
    /// How many SPIs messages may raise. No device is wired to one of them.
    pub spis: u32,
}

/// A GIC, version 3 (Linux binding `arm,gic-v3.yaml`).
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct GicV3 {
    /// The distributor, 64 KiB.
    pub distributor: GuestRange,
    /// The redistributor regions, 128 KiB for each CPU, in the order of the CPUs. Not empty.
    pub redistributors: Vec<GuestRange>,
    /// The interrupt translation service, 128 KiB, where there is one: it turns messages into LPIs.
    pub its: Option<GuestRange>,
}

/// The arm64 generic timer's interrupts (Linux binding `arm,arch_timer.yaml`). Every CPU has its own timer,
/// so each is a [`Line::Ppi`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Arm64Timer {
    /// The secure physical timer's interrupt, which a guest does not use.
    pub secure_physical: Interrupt,
    /// The physical timer's interrupt.
    pub physical: Interrupt,
    /// The virtual timer's interrupt.
    pub virtual_timer: Interrupt,
    /// The hypervisor timer's interrupt.
    pub hypervisor: Interrupt,
}

impl Arm64Timer {
    /// The PPIs that the Arm Base System Architecture recommends and KVM uses: INTIDs 29, 30, 27 and 26, by level.
    pub const STANDARD: Self = Self {
        secure_physical: Interrupt::level(Line::Ppi(13)),
        physical: Interrupt::level(Line::Ppi(14)),
        virtual_timer: Interrupt::level(Line::Ppi(11)),
        hypervisor: Interrupt::level(Line::Ppi(10)),
    };
}

/// A platform-level interrupt controller with one supervisor context for each hart, in the order of the harts (Linux
/// binding `sifive,plic-1.0.0.yaml`; RISC-V PLIC specification).
///
/// Its lines have no trigger type of their own.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Plic {
    /// The registers, up to 64 MiB.
    pub range: GuestRange,
    /// The number of the highest source, 1 to 1023; source 0 does not exist.
    pub sources: u32,
}

/// An advanced platform-level interrupt controller's supervisor domain (Linux binding `riscv,aplic.yaml`; RISC-V AIA,
/// "Advanced PLIC").
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Aplic {
    /// The domain's registers, at least 16 KiB. Where there are no IMSICs, another 32 bytes for each hart
    /// follow.
    pub range: GuestRange,
    /// The number of the highest source, 1 to 1023; source 0 does not exist.
    pub sources: u32,
    /// The IMSICs that wired interrupts are forwarded to as messages. Without them the APLIC interrupts the harts
    /// itself.
    pub imsic: Option<Imsic>,
}

/// The supervisor-level interrupt files of all harts (Linux binding `riscv,imsics.yaml`; RISC-V AIA, "IMSIC").
///
/// All files lie in one group: file after file from the start of the range, with the guest files of a hart behind its
/// supervisor file.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Imsic {
    /// The files: 4 KiB for each hart, times two to the power of `guest_index_bits`. They begin at a multiple
    /// of 4 KiB times two to the power of the sum of `guest_index_bits` and `hart_index_bits`, because a
    /// guest finds the first file by masking these bits out of an address.
    pub range: GuestRange,
    /// The number of the highest interrupt identity, 63 to 2047 and one less than a multiple of 64.
    pub ids: u32,
    /// How many bits of a message's address choose a guest file: 0 to 7.
    pub guest_index_bits: u32,
    /// How many bits of a message's address choose the hart: 0 to 15. `None` leaves it to the guest, which takes
    /// the fewest bits that tell the harts apart.
    pub hart_index_bits: Option<u32>,
}
