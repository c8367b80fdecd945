//! Entry state of an arm64 CPU (Linux `Documentation/arch/arm64/booting.rst`, "Call the kernel image").

use crate::Endian;

/// `PSTATE` with D, A, I and F masked and EL1 with its own stack pointer (EL1h) selected.
///
/// Arm ARM, `SPSR_EL1`: `D` is bit 9, `A` bit 8, `I` bit 7, `F` bit 6 and `M[4:0]` = `0b00101` is EL1h.
pub const PSTATE_EL1H_DAIF: u64 = 0x3c5;

/// The registers of an arm64 CPU that boot protocols specify.
///
/// All other registers have their reset values: MMU and data cache are off (`SCTLR_EL1`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[non_exhaustive]
pub struct State {
    /// General-purpose registers `X0` to `X30`.
    pub x: [u64; 31],
    /// Stack pointer of EL1.
    pub sp_el1: u64,
    /// Program counter: a guest physical address, because the MMU is off.
    pub pc: u64,
    /// Process state in the layout of `SPSR_EL1`.
    pub pstate: u64,
    /// Byte order of data accesses at EL1 (`SCTLR_EL1.EE`).
    pub data_endian: Endian,
}

impl State {
    /// A little-endian CPU at `pc` in EL1h with D, A, I and F masked and every other register zero.
    #[must_use]
    pub fn new(pc: u64) -> Self {
        Self {
            x: [0; 31],
            sp_el1: 0,
            pc,
            pstate: PSTATE_EL1H_DAIF,
            data_endian: Endian::Little,
        }
    }
}
