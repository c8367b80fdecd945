//! Clocks.

use boot_core::GuestRange;

use super::bus::visit;
use super::error::ReadFdtError;
use super::property::{cell, is_compatible};
use crate::device_tree::DeviceTree;

/// Model of a real-time clock.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ClockKind {
    /// Arm PrimeCell RTC (PL031): seconds in 32 bits.
    Pl031,
    /// Goldfish RTC: nanoseconds in 64 bits.
    Goldfish,
}

/// A real-time clock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct RealTimeClock {
    /// Model.
    pub kind: ClockKind,
    /// Its registers, at a multiple of 4 bytes and at least 16 bytes.
    pub range: GuestRange,
}

/// Bytes of the registers of a clock, at least.
const MIN_LEN: u64 = 16;

/// The first real-time clock of a known kind that the CPU reaches (Linux bindings `rtc/arm,pl031.yaml`, `rtc/google,goldfish-rtc.yaml`).
///
/// # Errors
///
/// [`ReadFdtError::Invalid`] if its `reg`, or the `ranges` of a bus above it are malformed.
pub fn real_time_clock(tree: &DeviceTree<'_>) -> Result<Option<RealTimeClock>, ReadFdtError> {
    let mut first = None;
    visit(&tree.root, &mut |node, bus| {
        let kind = if is_compatible(node, "arm,pl031") {
            ClockKind::Pl031
        } else if is_compatible(node, "google,goldfish-rtc") {
            ClockKind::Goldfish
        } else {
            return Ok(());
        };
        let Some(range) = bus.range(node)?.filter(|_| first.is_none()) else {
            return Ok(());
        };
        if range.start() % 4 != 0 || range.len() < MIN_LEN {
            return Err(ReadFdtError::invalid(node, "reg"));
        }
        first = Some(RealTimeClock { kind, range });
        Ok(())
    })?;
    Ok(first)
}

/// Ticks per second of the `time` CSR of riscv64: `timebase-frequency` of `/cpus` (Linux binding `riscv/cpus.yaml`). `None` without it.
///
/// # Errors
///
/// [`ReadFdtError::Invalid`] if it is not one cell, or 0.
pub fn timebase_frequency(tree: &DeviceTree<'_>) -> Result<Option<u32>, ReadFdtError> {
    const PROPERTY: &str = "timebase-frequency";
    let Some(node) = tree.root.child("cpus") else {
        return Ok(None);
    };
    match cell(node, PROPERTY)? {
        Some(0) => Err(ReadFdtError::invalid(node, PROPERTY)),
        frequency => Ok(frequency),
    }
}
