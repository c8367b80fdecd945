//! Registers of arm64.

use boot_core::{Endian, cpu::aarch64::State};

/// Registers of an arm64 vCPU at EL1 or EL0.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[expect(missing_docs, reason = "registers, named as in the Arm ARM")]
#[non_exhaustive]
pub struct AarchRegisters {
    /// General-purpose registers `X0` to `X30`.
    pub x: [u64; 31],
    pub sp_el0: u64,
    pub sp_el1: u64,
    pub pc: u64,
    /// Process state in the layout of `SPSR_EL1`.
    pub pstate: u64,
    /// SIMD and floating-point registers `V0` to `V31`.
    pub v: [u128; 32],
    pub fpsr: u32,
    pub fpcr: u32,
    pub sctlr_el1: u64,
    pub tcr_el1: u64,
    pub ttbr0_el1: u64,
    pub ttbr1_el1: u64,
    pub tpidr_el0: u64,
}

/// `SCTLR_EL1.EE`: big-endian data accesses at EL1.
const SCTLR_EE: u64 = 1 << 25;

/// `SPSR_EL1.M[3:0]` of EL0, and the bit in it that selects the stack pointer of EL1.
const MODE: u64 = 0xf;
const SP_SELECT: u64 = 1;

impl AarchRegisters {
    /// The registers of a CPU in this state; all others are zero.
    #[must_use]
    pub fn new(state: &State) -> Self {
        let mut registers = Self::default();
        registers.set_state(state);
        registers
    }

    /// Replaces the registers that are part of a boot state.
    pub fn set_state(&mut self, state: &State) {
        self.x = state.x;
        self.sp_el1 = state.sp_el1;
        self.pc = state.pc;
        self.pstate = state.pstate;
        self.sctlr_el1 &= !SCTLR_EE;
        if state.data_endian == Endian::Big {
            self.sctlr_el1 |= SCTLR_EE;
        }
    }

    /// The registers that are part of a boot state.
    #[must_use]
    pub fn state(&self) -> State {
        let mut state = State::new(self.pc);
        state.x = self.x;
        state.sp_el1 = self.sp_el1;
        state.pstate = self.pstate;
        if self.sctlr_el1 & SCTLR_EE != 0 {
            state.data_endian = Endian::Big;
        }
        state
    }

    /// The stack pointer that `PSTATE` selects.
    #[must_use]
    pub fn sp(&self) -> u64 {
        if self.selects_el1() {
            self.sp_el1
        } else {
            self.sp_el0
        }
    }

    /// Writes the stack pointer that `PSTATE` selects.
    pub fn set_sp(&mut self, value: u64) {
        if self.selects_el1() {
            self.sp_el1 = value;
        } else {
            self.sp_el0 = value;
        }
    }

    fn selects_el1(&self) -> bool {
        self.pstate & MODE & SP_SELECT != 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pstate_selects_the_stack_pointer() {
        let mut registers = AarchRegisters::new(&State::new(0));
        registers.set_sp(1);
        // EL1t, then EL0t.
        for pstate in [4, 0] {
            registers.pstate = pstate;
            registers.set_sp(2);
            assert_eq!(registers.sp(), 2);
        }
        assert_eq!((registers.sp_el0, registers.sp_el1), (2, 1));
    }

    #[test]
    fn byte_order_is_part_of_the_boot_state() {
        let mut state = State::new(8);
        state.data_endian = Endian::Big;
        let registers = AarchRegisters::new(&state);
        assert_eq!((registers.sctlr_el1, registers.state()), (SCTLR_EE, state));
    }
}
