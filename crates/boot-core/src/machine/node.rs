//! Device tree nodes of the caller's own.

use alloc::borrow::Cow;
use alloc::vec::Vec;

use super::Interrupt;
use crate::GuestRange;

/// A device tree node that the caller describes itself, with its properties and children (Devicetree Specification v0.4, section 2.2).
///
/// `proto-fdt` writes the nodes of [`Platform::nodes`](super::Platform::nodes) below the root node and checks them: names, depth, size, phandles and
/// interrupt lines. ACPI tables do not describe them.
///
/// ```
/// use boot_core::GuestRange;
/// use boot_core::machine::{DtNode, Interrupt, Line};
///
/// let range = GuestRange::new(0x900_3000, 0x1000).ok_or("too large")?;
/// let watchdog = DtNode::new("watchdog@9003000")
///     .with_strings("compatible", ["arm,sbsa-gwdt"])
///     .with_reg(&[range])
///     .with_property("interrupts", [Interrupt::level(Line::Spi(9)).into()])
///     .with_property("timeout-sec", [30_u32.into()]);
/// assert_eq!(watchdog.properties.len(), 4);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub struct DtNode {
    /// Name, with the unit address if it has one: `watchdog@9003000`.
    pub name: Cow<'static, str>,
    /// Properties, in the order of the tree.
    pub properties: Vec<DtProperty>,
    /// Child nodes, in the order of the tree.
    pub children: Vec<DtNode>,
}

/// A property of a [`DtNode`].
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub struct DtProperty {
    /// Name.
    pub name: Cow<'static, str>,
    /// The parts of the value, one behind the other. Without a part the value is empty.
    pub value: Vec<DtValue>,
}

/// A part of the value of a property (Devicetree Specification v0.4, section 2.2.4).
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize), serde(rename_all = "kebab-case"))]
#[non_exhaustive]
pub enum DtValue {
    /// These bytes.
    Bytes(Cow<'static, [u8]>),
    /// A string, which is written with a NUL behind it. It has no NUL itself.
    String(Cow<'static, str>),
    /// A number of one cell.
    U32(u32),
    /// A number of two cells.
    U64(u64),
    /// The interrupt specifier of an interrupt of the machine's interrupt controller, which is the interrupt parent.
    Interrupt(Interrupt),
    /// The phandle of a node that is made from other parts of the platform.
    Phandle(DtReference),
}

/// A node that is made from other parts of the platform, and that a property refers to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize), serde(rename_all = "kebab-case"))]
#[non_exhaustive]
pub enum DtReference {
    /// The GIC, PLIC or APLIC.
    InterruptController,
    /// The GICv3 ITS, the GICv2m frame or the IMSICs.
    MsiController,
}

impl From<Interrupt> for DtValue {
    fn from(interrupt: Interrupt) -> Self {
        Self::Interrupt(interrupt)
    }
}

impl From<DtReference> for DtValue {
    fn from(reference: DtReference) -> Self {
        Self::Phandle(reference)
    }
}

impl From<u32> for DtValue {
    fn from(number: u32) -> Self {
        Self::U32(number)
    }
}

impl From<u64> for DtValue {
    fn from(number: u64) -> Self {
        Self::U64(number)
    }
}

impl DtNode {
    /// A node without properties and children.
    #[must_use]
    pub fn new(name: impl Into<Cow<'static, str>>) -> Self {
        Self {
            name: name.into(),
            ..Self::default()
        }
    }

    /// The same with another property, behind the others.
    #[must_use]
    pub fn with_property(
        mut self,
        name: impl Into<Cow<'static, str>>,
        value: impl IntoIterator<Item = DtValue>,
    ) -> Self {
        self.properties.push(DtProperty {
            name: name.into(),
            value: value.into_iter().collect(),
        });
        self
    }

    /// The same with a property that is a list of strings.
    #[must_use]
    pub fn with_strings(
        self,
        name: impl Into<Cow<'static, str>>,
        strings: impl IntoIterator<Item = &'static str>,
    ) -> Self {
        let strings = strings.into_iter();
        self.with_property(name, strings.map(|string| DtValue::String(string.into())))
    }

    /// The same with the property `reg`: these ranges, with two cells for each address and size, as below the root node.
    #[must_use]
    pub fn with_reg(self, ranges: &[GuestRange]) -> Self {
        let numbers = ranges.iter().flat_map(|range| [range.start(), range.len()]);
        self.with_property("reg", numbers.map(DtValue::U64))
    }

    /// The same with another child, behind the others.
    #[must_use]
    pub fn with_child(mut self, child: Self) -> Self {
        self.children.push(child);
        self
    }

    /// A VM generation ID (Linux binding `rng/microsoft,vmgenid.yaml`): its 16 bytes are at the start of `range`. The interrupt tells the guest that they
    /// have changed; the binding has it edge-triggered.
    #[must_use]
    pub fn vmgenid(range: GuestRange, interrupt: Interrupt) -> Self {
        Self::new(alloc::format!("rng@{:x}", range.start()))
            .with_strings("compatible", ["microsoft,vmgenid"])
            .with_reg(&[range])
            .with_property("interrupts", [DtValue::Interrupt(interrupt)])
    }

    /// A virtual clock (Linux binding `ptp/amazon,vmclock.yaml`): its page of the vmclock ABI is `range`. The interrupt tells the guest that the page has
    /// changed; the binding has it edge-triggered.
    #[must_use]
    pub fn vmclock(range: GuestRange, interrupt: Interrupt) -> Self {
        Self::new(alloc::format!("ptp@{:x}", range.start()))
            .with_strings("compatible", ["amazon,vmclock"])
            .with_reg(&[range])
            .with_property("interrupts", [DtValue::Interrupt(interrupt)])
    }

    /// A clock of a fixed frequency in Hz (Linux binding `clock/fixed-clock.yaml`), for devices that refer to it by this phandle.
    #[must_use]
    pub fn fixed_clock(name: impl Into<Cow<'static, str>>, hz: u32, phandle: u32) -> Self {
        Self::new(name)
            .with_strings("compatible", ["fixed-clock"])
            .with_property("#clock-cells", [DtValue::U32(0)])
            .with_property("clock-frequency", [DtValue::U32(hz)])
            .with_property("phandle", [DtValue::U32(phandle)])
    }

    /// An Arm `PrimeCell` real time clock, PL031 (Linux binding `rtc/arm,pl031.yaml`), with the phandle of its bus clock: the node of
    /// [`fixed_clock`](Self::fixed_clock) is listed, too.
    #[must_use]
    pub fn pl031(range: GuestRange, interrupt: Interrupt, clock: u32) -> Self {
        Self::new(alloc::format!("rtc@{:x}", range.start()))
            .with_strings("compatible", ["arm,pl031", "arm,primecell"])
            .with_reg(&[range])
            .with_property("interrupts", [DtValue::Interrupt(interrupt)])
            .with_property("clocks", [DtValue::U32(clock)])
            .with_strings("clock-names", ["apb_pclk"])
    }
}
