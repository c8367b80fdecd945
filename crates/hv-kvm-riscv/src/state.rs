//! The whole state of a vCPU as plain data.

use std::collections::BTreeMap;

use boot_core::cpu::riscv64::State;

use crate::{Register, Value};

/// What a vCPU is doing: a `KVM_MP_STATE_*` number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Activity(pub u32);

impl Activity {
    /// Executes instructions.
    pub const RUNNABLE: Self = Self(0);
    /// Waits to be started through SBI's hart state management: what a secondary vCPU does after creation.
    pub const STOPPED: Self = Self(5);
}

/// Everything that KVM lets one read of a riscv64 vCPU.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VcpuState {
    /// Whether the vCPU runs or waits to be started.
    pub activity: Activity,
    /// Every register that the vCPU has.
    pub registers: BTreeMap<Register, Value>,
}

impl VcpuState {
    /// A state without registers.
    #[must_use]
    pub const fn blank() -> Self {
        Self {
            activity: Activity::RUNNABLE,
            registers: BTreeMap::new(),
        }
    }

    /// The registers in which this state differs from `other`, with both values. Registers that only tell the time
    /// ([`Register::is_clock`]) do not count.
    pub fn differences<'a>(
        &'a self,
        other: &'a Self,
    ) -> impl Iterator<Item = (Register, Option<&'a Value>, Option<&'a Value>)> {
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
            .filter(|(register, here, there)| here != there && !register.is_clock())
    }
}

/// The registers that a boot protocol speaks of, with their values in `state`: what an entry state comes down to.
///
/// The vCPU starts in supervisor mode; what else the entry state does not mention keeps its value.
pub fn entry_registers(state: &State) -> impl Iterator<Item = (Register, u64)> {
    let integers = (0..)
        .zip(state.x)
        .filter_map(|(number, value)| Some((Register::x(number)?, value)));
    [
        (Register::PC, state.pc),
        (Register::SATP, state.satp),
        (Register::MODE, Register::MODE_S),
    ]
    .into_iter()
    .chain(integers)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_entry_state_is_its_registers() {
        let mut state = State::new(0x8020_0000);
        state.x[10] = 3;
        state.x[11] = 0x8800_0000;
        let found: BTreeMap<_, _> = entry_registers(&state).collect();
        // x0 has no register of its own.
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
            activity: Activity::RUNNABLE,
            registers: registers
                .iter()
                .map(|&(register, value)| (register, Value::from(value)))
                .collect(),
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
        let mut found: Vec<_> = here.differences(&there).map(|(register, ..)| register).collect();
        found.sort_unstable();
        let mut expected = [Register::SATP, Register::SIE, Register::STVEC];
        expected.sort_unstable();
        assert_eq!(found, expected);
        assert_eq!(here.differences(&here).count(), 0);
    }
}
