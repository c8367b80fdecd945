//! Entry state of a riscv64 hart (Linux `Documentation/arch/riscv/boot.rst`, "Register state").

/// The registers of a riscv64 hart that boot protocols specify.
///
/// The mode is S-mode. All other registers have their reset values: interrupts are disabled (`sstatus.SIE` is zero).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[non_exhaustive]
pub struct State {
    /// General-purpose registers `x0` to `x31`; `x[0]` stays zero, `x[10]` is `a0`, `x[11]` is `a1`.
    pub x: [u64; 32],
    /// Program counter: a guest physical address, because `satp` is zero.
    pub pc: u64,
    /// Supervisor address translation and protection; zero, as Linux requires, means no translation.
    pub satp: u64,
}

impl State {
    /// A hart at `pc` with every other register zero.
    #[must_use]
    pub fn new(pc: u64) -> Self {
        Self {
            x: [0; 32],
            pc,
            satp: 0,
        }
    }
}
