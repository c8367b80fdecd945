//! Registers of arm64 vCPUs, for `KVM_SET_ONE_REG` (the kernel's Documentation/virt/kvm/api.rst, section 4.68).

use boot_core::Endian;
use boot_core::cpu::aarch64::State;

/// The first register of 64 bits in the group of `struct kvm_regs`: `X0`. The others follow by their offset in words of
/// 32 bits.
const CORE: u64 = 0x6030_0000_0010_0000;
/// Id of the program counter.
const PC: u64 = CORE | 0x40;
/// Id of the process state.
const PSTATE: u64 = CORE | 0x42;
/// Id of the stack pointer of EL1.
const SP_EL1: u64 = CORE | 0x44;

/// Id of `SCTLR_EL1`, for [`sctlr_el1`].
pub const SCTLR_EL1: u64 = 0x6030_0000_0013_c080;

/// `SCTLR_EL1.EE`: data accesses at EL1 are big-endian.
const SCTLR_EE: u64 = 1 << 25;

/// The registers that a state sets, as (id, value): `X0` to `X30`, `SP_EL1`, `PC` and `PSTATE`. All have 64 bits.
///
/// The byte order of the state is in another register, see [`sctlr_el1`].
pub fn registers(state: &State) -> impl Iterator<Item = (u64, u64)> + use<> {
    let general = (0..)
        .zip(state.x)
        .map(|(number, value)| (CORE + 2 * number, value));
    general.chain([(SP_EL1, state.sp_el1), (PC, state.pc), (PSTATE, state.pstate)])
}

/// The value of [`SCTLR_EL1`] for the byte order of a state. `current` is the vCPU's value, whose other bits stay.
#[must_use]
pub fn sctlr_el1(state: &State, current: u64) -> u64 {
    match state.data_endian {
        Endian::Little => current & !SCTLR_EE,
        Endian::Big => current | SCTLR_EE,
    }
}

#[cfg(test)]
mod tests {
    extern crate std;

    use std::collections::BTreeMap;

    use super::*;

    #[test]
    fn every_register_of_a_state_has_its_id() {
        let mut state = State::new(0x4020_0000);
        state.x = core::array::from_fn(|n| 100 + u64::try_from(n).unwrap());
        state.sp_el1 = 7;
        let found: BTreeMap<_, _> = registers(&state).collect();
        assert_eq!(found.len(), 31 + 3);
        // `struct kvm_regs` has `x0` to `x30`, `sp`, `pc` and `pstate` in this order, then `sp_el1`.
        let word = |offset: u64| found.get(&(0x6030_0000_0010_0000 + offset / 4)).copied();
        for n in 0..31 {
            assert_eq!(word(8 * n), Some(100 + n), "x{n}");
        }
        assert_eq!(word(8 * 31), None, "SP_EL0 is not part of a state");
        assert_eq!(word(8 * 32), Some(0x4020_0000));
        assert_eq!(word(8 * 33), Some(0x3c5));
        assert_eq!(word(8 * 34), Some(7));
    }

    #[test]
    fn the_byte_order_is_one_bit() {
        let mut state = State::new(0);
        for (endian, current, expected) in [
            (Endian::Little, 0x30d0_0800, 0x30d0_0800),
            (Endian::Little, 0x32d0_0800, 0x30d0_0800),
            (Endian::Big, 0x30d0_0800, 0x32d0_0800),
        ] {
            state.data_endian = endian;
            assert_eq!(sctlr_el1(&state, current), expected);
        }
    }
}
