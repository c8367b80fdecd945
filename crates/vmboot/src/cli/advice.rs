//! Advice on a boot that has no place in the machine's memory. Each piece of advice is tried before it is given.

use std::fmt;

use boot_core::PlanError;

use super::machine::MachineArgs;

/// Sizes of RAM to try, as powers of two: 64 MiB to 64 GiB.
const SIZES: std::ops::RangeInclusive<u32> = 26..=36;

/// Change of the machine options with which the boot can be planned.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Advice {
    /// More RAM, in bytes.
    Memory(u64),
    /// No `--reserve`.
    WithoutReserve,
}

impl fmt::Display for Advice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Memory(size) if size % (1 << 30) == 0 => {
                write!(f, "use --memory {}G, with which it fits", size >> 30)
            }
            Self::Memory(size) => write!(f, "use --memory {}M, with which it fits", size >> 20),
            Self::WithoutReserve => f.write_str("omit --reserve, without which it fits"),
        }
    }
}

/// The smallest change with which `fits` is true, if `error` is that something has no place.
pub(crate) fn placement_advice(
    error: &PlanError,
    options: &MachineArgs,
    fits: impl Fn(&MachineArgs) -> bool,
) -> Option<Advice> {
    if !matches!(error, PlanError::Placement(_)) {
        return None;
    }
    if options.has_reserved() && fits(&options.without_reserved()) {
        return Some(Advice::WithoutReserve);
    }
    SIZES
        .map(|power| 1 << power)
        .filter(|size| *size > options.memory.bytes)
        .find(|size| fits(&options.with_memory(*size)))
        .map(Advice::Memory)
}
