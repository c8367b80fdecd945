//! Phandles: the numbers by which nodes refer to each other.

use core::ops::RangeInclusive;

/// The GIC, PLIC or APLIC.
pub(super) const INTERRUPT_CONTROLLER: u32 = 1;
/// The ITS, GICv2m frame or IMSICs.
pub(super) const MSI_CONTROLLER: u32 = 2;
/// The syscon for poweroff and reset.
pub(super) const SYSCON: u32 = 3;
/// The fixed clock of the first serial port. The numbers after it are those of the other ports.
pub(super) const CLOCKS: u32 = 0x1000_0000;
/// The interrupt controller of the first hart. The numbers after it are those of the other harts.
pub(super) const HARTS: u32 = 0x2000_0000;
/// The first CPU of a machine with a topology. The numbers after it are those of the other CPUs.
pub(super) const CPUS: u32 = 0x3000_0000;
/// The first cache of level 2. The numbers after it are those of the others.
pub(super) const L2_CACHES: u32 = 0x4000_0000;
/// The first cache of level 3. The numbers after it are those of the others.
pub(super) const L3_CACHES: u32 = 0x5000_0000;
/// Phandles of the caller's own nodes. All others are for nodes that are made from the other parts of a platform.
pub(super) const OWN: RangeInclusive<u32> = 0x100..=0x0fff_ffff;
