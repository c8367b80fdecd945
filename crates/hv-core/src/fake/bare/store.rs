//! Stored states of fake bare machines.

use boot_core::{Arch, CpuState};

use super::{FakeBareVm, FakeCpu, FakeMemory, FakeSaved};
use crate::{
    ControlRegisters, RegisterImage, StateError, StateStore, StoredFeature, StoredRegister, StoredState,
    StoredValues, X86_STATE_LEN, check_features, check_state_arch, decode_x86_state, encode_x86_state,
};

/// Number of the state that [`Vcpu::set_state`](crate::Vcpu::set_state) wrote. Those below are registers of [`FakeCpu::registers`].
const STATE: u64 = 64;

/// Number of the word of features.
const FEATURES: u64 = 0;

const _: () = assert!(FakeCpu::REGISTERS == 64);

fn name(id: u64) -> String {
    match id {
        STATE => "CPU state".to_owned(),
        id => format!("register {id}"),
    }
}

/// Of x86_64 only.
impl<R: FakeMemory> StateStore for FakeBareVm<R> {
    fn store(&self, saved: &FakeSaved, _image: &RegisterImage) -> Result<StoredState, StateError> {
        let CpuState::X86_64(state) = &saved.state else {
            let reason = "the fake hypervisor stores states of x86_64";
            return Err(StateError::NotStorable { reason });
        };
        if saved.debug_registers.is_some() {
            let reason = "a debugger wrote registers";
            return Err(StateError::NotStorable { reason });
        }
        let registers = (0..).zip(&saved.registers);
        let mut registers: Vec<_> = registers
            .map(|(id, &value)| StoredRegister::number(id, value))
            .collect();
        registers.push(StoredRegister {
            id: STATE,
            value: encode_x86_state(state),
        });
        Ok(StoredState {
            arch: Arch::X86_64,
            features: vec![StoredFeature {
                id: FEATURES,
                value: self.config.features,
            }],
            registers,
        })
    }

    fn load(&self, stored: &StoredState) -> Result<(FakeSaved, RegisterImage), StateError> {
        check_state_arch(stored, Arch::X86_64)?;
        let here = StoredFeature {
            id: FEATURES,
            value: self.config.features,
        };
        let name_of_feature = |id| format!("feature word {id}");
        check_features(&stored.features, &[here], name_of_feature, |_, stored, here| {
            stored & !here == 0
        })?;
        let mut values = StoredValues::new(&stored.registers, name)?;
        let registers = (0..STATE)
            .map(|id| values.take_number(id))
            .collect::<Result<_, _>>()?;
        let bytes = values.take_bytes(STATE, X86_STATE_LEN)?;
        values.finish()?;
        let CpuState::X86_64(reset) = &self.config.reset_state else {
            let reason = "the fake hypervisor stores states of x86_64";
            return Err(StateError::NotStorable { reason });
        };
        let state = decode_x86_state(bytes, reset.apic_base).ok_or_else(|| StateError::Value {
            register: name(STATE),
            value: 0,
        })?;
        let saved = FakeSaved {
            registers,
            state: state.into(),
            debug_registers: None,
        };
        Ok((saved, RegisterImage::default()))
    }

    fn control(&self, saved: &FakeSaved, _image: &RegisterImage) -> ControlRegisters {
        match &saved.state {
            CpuState::X86_64(state) => ControlRegisters::X86_64(state.clone()),
            // Those of a machine that does not translate addresses.
            CpuState::Riscv64(_) => ControlRegisters::Riscv64(crate::RiscvControl::default()),
            _ => ControlRegisters::Aarch64(crate::AarchControl::default()),
        }
    }
}

#[cfg(test)]
mod tests {
    use boot_core::cpu::x86_64::State;

    use super::super::{FakeBareConfig, FakeExit, FakePages};
    use super::*;
    use crate::{BareAbilities, BareVcpu, Doorbell, Vcpu, Vm};

    fn machine(features: u64) -> FakeBareVm<FakePages> {
        let abilities = BareAbilities::new(Doorbell::Port(1), 0x1000);
        let config = FakeBareConfig::new(State::reset().into(), abilities).with_features(features);
        FakeBareVm::new(config, |cpu: &mut FakeCpu<'_>| {
            cpu.registers()[3] += 5;
            FakeExit::Doorbell(0)
        })
    }

    fn stored() -> (FakeSaved, StoredState) {
        let machine = machine(3);
        let mut vcpu = machine.create_vcpu(0).unwrap();
        vcpu.set_state(&State::long_mode(1, 2, 8, 16).into()).unwrap();
        vcpu.run().unwrap();
        let mut image = RegisterImage::default();
        let saved = vcpu.capture(&mut image).unwrap();
        let stored = machine.store(&saved, &image).unwrap();
        (saved, stored)
    }

    #[test]
    fn states_survive() {
        let (saved, stored) = stored();
        for features in [3, 7] {
            let (loaded, image) = machine(features).load(&stored).unwrap();
            assert_eq!((&loaded, image), (&saved, RegisterImage::default()));
        }
        let ControlRegisters::X86_64(control) = machine(3).control(&saved, &RegisterImage::default()) else {
            panic!("of another architecture");
        };
        assert_eq!(control.cr3, 2);
    }

    #[test]
    fn other_states_are_refused() {
        let check = |change: fn(&mut StoredState), expected: &str| {
            let (_, mut stored) = stored();
            change(&mut stored);
            let error = machine(3).load(&stored).unwrap_err();
            assert_eq!(error.to_string(), expected);
        };
        check(
            |stored| stored.arch = Arch::Riscv64,
            "the state is one of riscv64, the machine is x86_64",
        );
        check(
            |stored| stored.features[0].value = 5,
            "the state needs a CPU whose feature word 0 has the bits of 0x5; here it is 0x3",
        );
        check(
            |stored| stored.features[0].id = 1,
            "the state needs a CPU whose feature word 1 has the bits of 0x3; here it is 0x0",
        );
        check(
            |stored| drop(stored.registers.remove(5)),
            "the state has no register 5",
        );
        check(
            |stored| stored.registers[4].id = 6,
            "the state has register 6 twice",
        );
        check(
            |stored| stored.registers.push(StoredRegister::number(99, 0)),
            "the state has register 99, which is no part of a state of this machine",
        );
        check(
            |stored| stored.registers[64].value.truncate(343),
            "the state has 343 bytes for CPU state, which has 344",
        );
        check(
            |stored| stored.registers[64].value[343] = 1,
            "the state has 0x0 for CPU state, which cannot have it",
        );
    }
}
