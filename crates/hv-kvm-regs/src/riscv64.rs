//! Registers of riscv64 vCPUs, for `KVM_SET_ONE_REG` (the kernel's Documentation/virt/kvm/api.rst, section 4.68).

use boot_core::cpu::riscv64::State;

/// The group of `struct kvm_riscv_core`: the program counter, and with the numbers 1 to 31 the integer registers.
const CORE: u64 = 0x8030_0000_0200_0000;
/// Id of the privilege mode.
const MODE: u64 = CORE | 32;
/// A value of [`MODE`]: virtual supervisor mode.
const MODE_S: u64 = 1;
/// Id of `satp`, in the group of the supervisor CSRs.
const SATP: u64 = 0x8030_0000_0300_0008;

/// The registers that a state sets, as (id, value): the program counter, supervisor mode, `satp` and `x1` to `x31`. All have
/// 64 bits; `x0` has no id.
pub fn registers(state: &State) -> impl Iterator<Item = (u64, u64)> + use<> {
    let integers = (0..)
        .zip(state.x)
        .skip(1)
        .map(|(number, value)| (CORE | number, value));
    [(CORE, state.pc), (SATP, state.satp), (MODE, MODE_S)]
        .into_iter()
        .chain(integers)
}

#[cfg(test)]
mod tests {
    extern crate std;

    use std::collections::BTreeMap;

    use super::*;

    #[test]
    fn every_register_of_a_state_has_its_id() {
        let mut state = State::new(0x8020_0000);
        state.x = core::array::from_fn(|n| 100 + u64::try_from(n).unwrap());
        state.satp = 9;
        let found: BTreeMap<_, _> = registers(&state).collect();
        assert_eq!(found.len(), 1 + 31 + 2);
        // `struct kvm_riscv_core` has `pc`, `ra` to `t6` and `mode`.
        let core = |index: u64| found.get(&(0x8030_0000_0200_0000 + index)).copied();
        assert_eq!(core(0), Some(0x8020_0000));
        for n in 1..32 {
            assert_eq!(core(n), Some(100 + n), "x{n}");
        }
        assert_eq!(core(32), Some(1));
        assert_eq!(found.get(&0x8030_0000_0300_0008), Some(&9));
    }
}
