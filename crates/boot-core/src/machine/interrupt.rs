//! Interrupt lines, interrupt controllers, and the interrupts of the arm64 timer.

use alloc::vec::Vec;
use core::fmt;

use crate::GuestRange;

/// Trigger type of an interrupt line.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize), serde(rename_all = "kebab-case"))]
#[non_exhaustive]
pub enum Trigger {
    /// Asserted by a transition from low to high.
    EdgeRising,
    /// Asserted while the line is high.
    LevelHigh,
}

impl Trigger {
    /// The value of `IRQ_TYPE_…` in the device tree bindings (Linux `include/dt-bindings/interrupt-controller/irq.h`).
    #[must_use]
    pub const fn irq_type(self) -> u32 {
        match self {
            Self::EdgeRising => 1,
            Self::LevelHigh => 4,
        }
    }
}

/// An interrupt line, by its number in the device tree bindings.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize), serde(rename_all = "kebab-case"))]
#[non_exhaustive]
pub enum Line {
    /// A shared peripheral interrupt of a GIC, 0 to 987. Its INTID is 32 higher.
    Spi(u32),
    /// A private peripheral interrupt of a GIC, 0 to 15. Its INTID is 16 higher.
    Ppi(u32),
    /// A source of a riscv64 PLIC or APLIC, 1 to 1023.
    Source(u32),
    /// A global system interrupt of a PC (ACPI 6.5, section 5.2.13); 0 to 15 are the interrupts of an ISA bus. Device trees have no
    /// such interrupts.
    Gsi(u32),
}

impl Line {
    /// The INTID of a GIC line (Arm GIC architecture, "INTIDs"), or the number of a PLIC or APLIC source. `None` where the
    /// number is out of range.
    #[must_use]
    pub const fn intid(self) -> Option<u32> {
        match self {
            Self::Spi(n @ 0..=987) => n.checked_add(32),
            Self::Ppi(n @ 0..=15) => n.checked_add(16),
            Self::Source(n @ 1..=1023) => Some(n),
            Self::Spi(_) | Self::Ppi(_) | Self::Source(_) | Self::Gsi(_) => None,
        }
    }
}

impl fmt::Display for Line {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Spi(n) => write!(f, "SPI {n}"),
            Self::Ppi(n) => write!(f, "PPI {n}"),
            Self::Source(n) => write!(f, "interrupt source {n}"),
            Self::Gsi(n) => write!(f, "global system interrupt {n}"),
        }
    }
}

/// An interrupt: a line and how it is triggered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub struct Interrupt {
    /// The line.
    pub line: Line,
    /// How it is triggered.
    pub trigger: Trigger,
}

impl Interrupt {
    /// An interrupt of this line and trigger type.
    #[must_use]
    pub const fn new(line: Line, trigger: Trigger) -> Self {
        Self { line, trigger }
    }

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
#[cfg_attr(feature = "serde", derive(serde::Serialize), serde(rename_all = "kebab-case"))]
#[non_exhaustive]
pub enum InterruptController {
    /// None, or not specified here.
    #[default]
    Unspecified,
    /// arm64: a GIC, version 2.
    GicV2(GicV2),
    /// arm64: a GIC, version 3.
    GicV3(GicV3),
    /// riscv64: a PLIC.
    Plic(Plic),
    /// riscv64: the advanced interrupt architecture, an APLIC with or without IMSICs.
    Aplic(Aplic),
}

/// A GIC, version 2 (Linux binding `interrupt-controller/arm,gic.yaml`).
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub struct GicV2 {
    /// The distributor, 4 KiB.
    pub distributor: GuestRange,
    /// The CPU interface, 8 KiB.
    pub cpu_interface: GuestRange,
    /// The frame that turns MSIs into SPIs, if any.
    pub v2m: Option<GicV2m>,
}

impl GicV2 {
    /// A GIC without a GICv2m frame.
    #[must_use]
    pub const fn new(distributor: GuestRange, cpu_interface: GuestRange) -> Self {
        Self {
            distributor,
            cpu_interface,
            v2m: None,
        }
    }

    /// The same with a GICv2m frame.
    #[must_use]
    pub fn with_v2m(self, v2m: impl Into<Option<GicV2m>>) -> Self {
        Self {
            v2m: v2m.into(),
            ..self
        }
    }
}

/// A GICv2m frame: message-signalled interrupts for a GICv2 (Linux binding
/// `interrupt-controller/arm,gic.yaml`, `v2m`).
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub struct GicV2m {
    /// The frame, 4 KiB.
    pub frame: GuestRange,
    /// The first SPI for MSIs, as a [`Line::Spi`] number.
    pub first_spi: u32,
    /// Number of SPIs for MSIs, which no device may use as its interrupt line.
    pub spis: u32,
}

impl GicV2m {
    /// A frame for `spis` SPIs from `first_spi` on.
    #[must_use]
    pub const fn new(frame: GuestRange, first_spi: u32, spis: u32) -> Self {
        Self {
            frame,
            first_spi,
            spis,
        }
    }
}

/// A GIC, version 3 (Linux binding `interrupt-controller/arm,gic-v3.yaml`).
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub struct GicV3 {
    /// The distributor, 64 KiB.
    pub distributor: GuestRange,
    /// The redistributor regions, 128 KiB for each CPU, in the order of the CPUs. Not empty.
    pub redistributors: Vec<GuestRange>,
    /// The interrupt translation service, 128 KiB, if any: it turns MSIs into LPIs.
    pub its: Option<GuestRange>,
}

impl GicV3 {
    /// A GIC without an ITS.
    #[must_use]
    pub const fn new(distributor: GuestRange, redistributors: Vec<GuestRange>) -> Self {
        Self {
            distributor,
            redistributors,
            its: None,
        }
    }

    /// The same with an ITS.
    #[must_use]
    pub fn with_its(self, its: impl Into<Option<GuestRange>>) -> Self {
        Self {
            its: its.into(),
            ..self
        }
    }
}

/// Interrupts of the arm64 generic timer (Linux binding `timer/arm,arch_timer.yaml`). Every CPU has its own timer, so each
/// is a [`Line::Ppi`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub struct Arm64Timer {
    /// Interrupt of the secure physical timer; a guest does not use it.
    pub secure_physical: Interrupt,
    /// Interrupt of the physical timer.
    pub physical: Interrupt,
    /// Interrupt of the virtual timer.
    pub virtual_timer: Interrupt,
    /// Interrupt of the hypervisor timer.
    pub hypervisor: Interrupt,
}

impl Arm64Timer {
    /// A timer with these interrupts, in the order of the binding.
    #[must_use]
    pub const fn new(
        secure_physical: Interrupt,
        physical: Interrupt,
        virtual_timer: Interrupt,
        hypervisor: Interrupt,
    ) -> Self {
        Self {
            secure_physical,
            physical,
            virtual_timer,
            hypervisor,
        }
    }

    /// The PPIs that the Arm Base System Architecture recommends and KVM uses: INTIDs 29, 30, 27 and 26, level-triggered.
    pub const STANDARD: Self = Self {
        secure_physical: Interrupt::level(Line::Ppi(13)),
        physical: Interrupt::level(Line::Ppi(14)),
        virtual_timer: Interrupt::level(Line::Ppi(11)),
        hypervisor: Interrupt::level(Line::Ppi(10)),
    };
}

/// A platform-level interrupt controller with one supervisor context for each hart, in the order of the harts (Linux
/// binding `interrupt-controller/sifive,plic-1.0.0.yaml`; RISC-V PLIC specification).
///
/// The binding has no trigger types, so [`Interrupt::trigger`] is not described to the guest.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub struct Plic {
    /// The registers, up to 64 MiB.
    pub range: GuestRange,
    /// The number of the highest source, 1 to 1023; source 0 does not exist.
    pub sources: u32,
}

impl Plic {
    /// A PLIC with the sources 1 to `sources`.
    #[must_use]
    pub const fn new(range: GuestRange, sources: u32) -> Self {
        Self { range, sources }
    }
}

/// An advanced platform-level interrupt controller's supervisor domain (Linux binding
/// `interrupt-controller/riscv,aplic.yaml`; RISC-V AIA, chapter 4).
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub struct Aplic {
    /// The domain's registers: at least 16 KiB, and without IMSICs another 32 bytes for each hart.
    pub range: GuestRange,
    /// The number of the highest source, 1 to 1023; source 0 does not exist.
    pub sources: u32,
    /// The IMSICs, to which the APLIC forwards wired interrupts as MSIs. Without them it interrupts the harts directly.
    pub imsic: Option<Imsic>,
}

impl Aplic {
    /// An APLIC with the sources 1 to `sources`, without IMSICs.
    #[must_use]
    pub const fn new(range: GuestRange, sources: u32) -> Self {
        Self {
            range,
            sources,
            imsic: None,
        }
    }

    /// The same with IMSICs.
    #[must_use]
    pub fn with_imsic(self, imsic: impl Into<Option<Imsic>>) -> Self {
        Self {
            imsic: imsic.into(),
            ..self
        }
    }
}

/// The supervisor-level interrupt files of all harts (Linux binding `interrupt-controller/riscv,imsics.yaml`;
/// RISC-V AIA, chapter 3).
///
/// All harts are in one group. The files of each hart are contiguous: its supervisor file, then its guest files.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub struct Imsic {
    /// The files: `0x1000 << guest_index_bits` bytes for each hart. The start is a multiple of
    /// `0x1000 << (guest_index_bits + hart_index_bits)`: a guest masks these bits out of an address to find the first file.
    pub range: GuestRange,
    /// The number of the highest interrupt identity, 63 to 2047 and one less than a multiple of 64.
    pub ids: u32,
    /// Number of address bits that select a guest file: 0 to 7.
    pub guest_index_bits: u32,
    /// Number of address bits that select a hart: 0 to 15. `None` for the default: the fewest bits that
    /// can number all harts.
    pub hart_index_bits: Option<u32>,
}

impl Imsic {
    /// Interrupt files with the identities 1 to `ids`, without guest files.
    #[must_use]
    pub const fn new(range: GuestRange, ids: u32) -> Self {
        Self {
            range,
            ids,
            guest_index_bits: 0,
            hart_index_bits: None,
        }
    }

    /// The same with this number of address bits that select a guest file.
    #[must_use]
    pub const fn with_guest_index_bits(self, bits: u32) -> Self {
        Self {
            guest_index_bits: bits,
            ..self
        }
    }

    /// The same with this number of address bits that select a hart.
    #[must_use]
    pub fn with_hart_index_bits(self, bits: impl Into<Option<u32>>) -> Self {
        Self {
            hart_index_bits: bits.into(),
            ..self
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn range(start: u64) -> GuestRange {
        GuestRange::new(start, 0x1000).unwrap()
    }

    #[test]
    fn lines_print_their_kind_and_number() {
        let lines = [Line::Spi(64), Line::Ppi(9), Line::Source(10)];
        let text = lines.map(|line| std::format!("{line}"));
        assert_eq!(text, ["SPI 64", "PPI 9", "interrupt source 10"]);
    }

    #[test]
    fn lines_have_the_numbers_of_their_controller() {
        let check = |line: Line, expected| assert_eq!(line.intid(), expected, "{line:?}");
        check(Line::Spi(0), Some(32));
        check(Line::Spi(987), Some(1019));
        check(Line::Spi(988), None);
        check(Line::Ppi(0), Some(16));
        check(Line::Ppi(15), Some(31));
        check(Line::Ppi(16), None);
        check(Line::Source(0), None);
        check(Line::Source(1), Some(1));
        check(Line::Source(1023), Some(1023));
        check(Line::Source(1024), None);
    }

    #[test]
    fn triggers_have_the_values_of_the_bindings() {
        assert_eq!(Trigger::EdgeRising.irq_type(), 1);
        assert_eq!(Trigger::LevelHigh.irq_type(), 4);
        let (edge, level) = (Interrupt::edge(Line::Ppi(1)), Interrupt::level(Line::Ppi(1)));
        assert_eq!(edge, Interrupt::new(Line::Ppi(1), Trigger::EdgeRising));
        assert_eq!(level, Interrupt::new(Line::Ppi(1), Trigger::LevelHigh));
        assert_eq!((level.line, level.trigger), (Line::Ppi(1), Trigger::LevelHigh));
    }

    #[test]
    fn setters_change_one_field() {
        let gic = GicV2::new(range(0x1000), range(0x2000));
        assert_eq!(
            (gic.distributor, gic.cpu_interface),
            (range(0x1000), range(0x2000))
        );
        assert_eq!(gic.v2m, None);
        let frame = GicV2m::new(range(0x3000), 64, 32);
        assert_eq!(
            (frame.frame, frame.first_spi, frame.spis),
            (range(0x3000), 64, 32)
        );
        let with_frame = gic.clone().with_v2m(frame.clone());
        assert_eq!(
            (with_frame.distributor, with_frame.v2m),
            (gic.distributor, Some(frame))
        );

        let gic = GicV3::new(range(0x1000), [range(0x2000)].to_vec());
        assert_eq!(
            (gic.distributor, &gic.redistributors[..]),
            (range(0x1000), &[range(0x2000)][..])
        );
        assert_eq!(gic.its, None);
        let with_its = gic.clone().with_its(range(0x3000));
        assert_eq!(
            (with_its.distributor, with_its.its),
            (gic.distributor, Some(range(0x3000)))
        );

        let plic = Plic::new(range(0x1000), 95);
        assert_eq!((plic.range, plic.sources), (range(0x1000), 95));
        let imsic = Imsic::new(range(0x2000), 255);
        assert_eq!((imsic.range, imsic.ids), (range(0x2000), 255));
        assert_eq!((imsic.guest_index_bits, imsic.hart_index_bits), (0, None));
        let imsic = imsic.with_guest_index_bits(2).with_hart_index_bits(3);
        assert_eq!((imsic.guest_index_bits, imsic.hart_index_bits), (2, Some(3)));
        let aplic = Aplic::new(range(0x1000), 95);
        assert_eq!(
            (aplic.range, aplic.sources, &aplic.imsic),
            (range(0x1000), 95, &None)
        );
        assert_eq!(aplic.with_imsic(imsic.clone()).imsic, Some(imsic));
    }

    #[test]
    fn the_standard_timer_has_the_intids_of_the_bsa() {
        let timer = Arm64Timer::STANDARD;
        let intids = [
            timer.secure_physical,
            timer.physical,
            timer.virtual_timer,
            timer.hypervisor,
        ]
        .map(|interrupt| interrupt.line.intid());
        assert_eq!(intids, [29, 30, 27, 26].map(Some));
        let [a, b, c, d] = [1, 2, 3, 4].map(|n| Interrupt::level(Line::Ppi(n)));
        let timer = Arm64Timer::new(a, b, c, d);
        assert_eq!((timer.secure_physical, timer.physical), (a, b));
        assert_eq!((timer.virtual_timer, timer.hypervisor), (c, d));
    }
}
