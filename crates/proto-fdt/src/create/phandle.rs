//! Phandles: the numbers by which nodes refer to each other.

pub(super) const INTERRUPT_CONTROLLER: u32 = 1;
pub(super) const MSI_CONTROLLER: u32 = 2;
pub(super) const SYSCON: u32 = 3;
/// The fixed clock of the first serial port; those of the other ports follow.
pub(super) const CLOCKS: u32 = 0x1000_0000;
/// The interrupt controller of the first hart; those of the other harts follow.
pub(super) const HARTS: u32 = 0x2000_0000;
