//! Registers of riscv64.

use boot_core::cpu::riscv64::State;

/// Registers of a riscv64 vCPU in VS-mode or VU-mode.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[expect(missing_docs, reason = "registers, named as in the RISC-V specifications")]
#[non_exhaustive]
pub struct RiscvRegisters {
    /// General-purpose registers; `x[0]` is zero.
    pub x: [u64; 32],
    pub pc: u64,
    /// Floating-point registers of extension D; zero on a hart without it.
    pub f: [u64; 32],
    /// Floating-point control and status: the flags in bits 0 to 4, the rounding mode in bits 5 to 7.
    pub fcsr: u32,
    pub satp: u64,
    pub sstatus: u64,
}

impl RiscvRegisters {
    /// The registers of a hart in this state; all others are zero.
    #[must_use]
    pub fn new(state: &State) -> Self {
        let mut registers = Self::default();
        registers.set_state(state);
        registers
    }

    /// Replaces the registers that are part of a boot state.
    pub fn set_state(&mut self, state: &State) {
        self.x = state.x;
        self.pc = state.pc;
        self.satp = state.satp;
    }

    /// The registers that are part of a boot state.
    #[must_use]
    pub fn state(&self) -> State {
        let mut state = State::new(self.pc);
        state.x = self.x;
        state.satp = self.satp;
        state
    }
}
