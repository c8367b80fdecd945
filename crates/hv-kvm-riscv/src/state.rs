//! Saved state of a vCPU as plain data.

use std::collections::{BTreeMap, BTreeSet};

use boot_core::cpu::riscv64::State;
use hv_kvm_regs::riscv64;

use crate::{Register, RegisterValue};

/// Run state of a vCPU: a `KVM_MP_STATE_*` number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct MpState(pub u32);

impl MpState {
    /// Executes instructions.
    pub const RUNNABLE: Self = Self(0);
    /// Waits to be started with SBI HSM: the state of a secondary vCPU after creation.
    pub const STOPPED: Self = Self(5);
}

/// Register of an IMSIC interrupt file, by its selector (RISC-V AIA 1.0, section 3.8).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ImsicRegister(pub u32);

impl ImsicRegister {
    /// Delivery of interrupts: 1 if enabled.
    pub const EIDELIVERY: Self = Self(0x70);
    /// Threshold: this identity and higher ones are not delivered; 0 for no threshold.
    pub const EITHRESHOLD: Self = Self(0x72);

    /// Pending bits of the 64 identities from `number` * 64 on; `number` is taken modulo 32. On RV64, the selector of these
    /// registers is even.
    #[must_use]
    pub const fn pending(number: u8) -> Self {
        Self::of_identities(0x80, number)
    }

    /// Enable bits of the 64 identities from `number` * 64 on, as for [`pending`](Self::pending).
    #[must_use]
    pub const fn enabled(number: u8) -> Self {
        Self::of_identities(0xc0, number)
    }

    /// A file has at most 2048 identities: 32 registers.
    const fn of_identities(first: u32, number: u8) -> Self {
        #[expect(clippy::as_conversions, reason = "widening, and From is not const")]
        let number = (number % 32) as u32;
        Self(first + number * 2)
    }

    /// All registers of an interrupt file with highest identity `ids`.
    pub fn all(ids: u32) -> impl Iterator<Item = Self> {
        let last = u8::try_from(ids / 64).unwrap_or(u8::MAX).min(31);
        let identities = move |register: fn(u8) -> Self| (0..=last).map(register);
        [Self::EIDELIVERY, Self::EITHRESHOLD]
            .into_iter()
            .chain(identities(Self::pending))
            .chain(identities(Self::enabled))
    }
}

/// Saved state of a riscv64 vCPU.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct VcpuState {
    /// Run state.
    pub mp_state: MpState,
    /// All registers of the vCPU.
    pub registers: BTreeMap<Register, RegisterValue>,
    /// IMSIC interrupt file; empty for a machine without an AIA, or before all vCPUs exist.
    pub imsic: BTreeMap<ImsicRegister, u64>,
}

impl VcpuState {
    /// A state without registers.
    #[must_use]
    pub const fn empty() -> Self {
        Self {
            mp_state: MpState::RUNNABLE,
            registers: BTreeMap::new(),
            imsic: BTreeMap::new(),
        }
    }

    /// Registers whose values differ, with the values in this state and in `other`. Time counters
    /// ([`Register::is_time_counter`]) are left out. For the interrupt file, see [`imsic_diff`](Self::imsic_diff).
    pub fn diff<'a>(
        &'a self,
        other: &'a Self,
    ) -> impl Iterator<Item = (Register, Option<&'a RegisterValue>, Option<&'a RegisterValue>)> {
        let only_there = other
            .registers
            .keys()
            .filter(|register| !self.registers.contains_key(register));
        self.registers
            .keys()
            .chain(only_there)
            .map(|register| {
                (
                    *register,
                    self.registers.get(register),
                    other.registers.get(register),
                )
            })
            .filter(|(register, here, there)| here != there && !register.is_time_counter())
    }

    /// Registers of the interrupt file whose values differ, with the values in this state and in `other`.
    pub fn imsic_diff(
        &self,
        other: &Self,
    ) -> impl Iterator<Item = (ImsicRegister, Option<u64>, Option<u64>)> {
        let registers: BTreeSet<_> = self.imsic.keys().chain(other.imsic.keys()).copied().collect();
        registers
            .into_iter()
            .map(|register| {
                (
                    register,
                    self.imsic.get(&register).copied(),
                    other.imsic.get(&register).copied(),
                )
            })
            .filter(|(_, here, there)| here != there)
    }
}

/// Registers that an entry state sets, with their values: the program counter, supervisor mode, `satp` and `x1` to `x31`.
pub fn entry_registers(state: &State) -> impl Iterator<Item = (Register, u64)> {
    riscv64::registers(state).map(|(id, value)| (Register(id), value))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_entry_state_sets_its_registers() {
        let mut state = State::new(0x8020_0000);
        state.x[10] = 3;
        state.x[11] = 0x8800_0000;
        let found: BTreeMap<_, _> = entry_registers(&state).collect();
        // x0 has no id.
        assert_eq!(found.len(), 31 + 3);
        let mut expected = BTreeMap::from([
            (Register::PC, 0x8020_0000),
            (Register::SATP, 0),
            (Register::MODE, 1),
        ]);
        expected.extend((1..32).map(|n| (Register::x(n).unwrap(), state.x[usize::from(n)])));
        assert_eq!(found, expected);
    }

    #[test]
    fn differences_are_found_on_both_sides() {
        let state = |registers: &[(Register, u64)]| VcpuState {
            mp_state: MpState::RUNNABLE,
            registers: registers
                .iter()
                .map(|&(register, value)| (register, RegisterValue::from(value)))
                .collect(),
            imsic: BTreeMap::new(),
        };
        let here = state(&[
            (Register::PC, 1),
            (Register::SATP, 2),
            (Register::SIE, 3),
            (Register::TIMER_TIME, 4),
        ]);
        let there = state(&[
            (Register::PC, 1),
            (Register::SATP, 9),
            (Register::STVEC, 5),
            (Register::TIMER_TIME, 40),
        ]);
        let mut found: Vec<_> = here.diff(&there).map(|(register, ..)| register).collect();
        found.sort_unstable();
        let mut expected = [Register::SATP, Register::SIE, Register::STVEC];
        expected.sort_unstable();
        assert_eq!(found, expected);
        assert_eq!(here.diff(&here).count(), 0);
    }

    #[test]
    fn an_interrupt_file_has_the_registers_of_its_identities() {
        let check = |ids, expected: &[u32]| {
            let found: Vec<_> = ImsicRegister::all(ids).map(|register| register.0).collect();
            assert_eq!(found, expected, "{ids}");
        };
        check(63, &[0x70, 0x72, 0x80, 0xc0]);
        check(255, &[0x70, 0x72, 0x80, 0x82, 0x84, 0x86, 0xc0, 0xc2, 0xc4, 0xc6]);
        assert_eq!(ImsicRegister::all(2047).count(), 2 + 32 + 32);
        assert_eq!(ImsicRegister::all(u32::MAX).max(), Some(ImsicRegister(0xfe)));
    }

    #[test]
    fn differences_of_interrupt_files_are_found_on_both_sides() {
        let state = |registers: &[(ImsicRegister, u64)]| VcpuState {
            imsic: registers.iter().copied().collect(),
            ..VcpuState::empty()
        };
        let (eip, eie) = (ImsicRegister::pending(0), ImsicRegister::enabled(0));
        let here = state(&[(ImsicRegister::EIDELIVERY, 1), (eip, 2)]);
        let there = state(&[(ImsicRegister::EIDELIVERY, 1), (eip, 3), (eie, 4)]);
        let found: Vec<_> = here.imsic_diff(&there).collect();
        assert_eq!(found, [(eip, Some(2), Some(3)), (eie, None, Some(4))]);
    }
}
