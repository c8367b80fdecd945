//! Stored states.

use boot_core::Arch;
use hv_core::{
    ControlRegisters, RegisterImage, RiscvControl, StateError, StateStore, StoredRegister, StoredState,
    StoredValues, check_features, check_state_arch,
};

use super::{KvmBareVm, state};
use crate::{BareState, MpState, Register, RegisterValue};

impl StateStore for KvmBareVm {
    fn store(&self, saved: &BareState, image: &RegisterImage) -> Result<StoredState, StateError> {
        let process = self.0.process;
        let layout = &process.layout;
        for (is_so, reason) in [
            (saved.mp_state != MpState::RUNNABLE, "the vCPU is stopped"),
            (
                saved.mode != Register::MODE_S,
                "the vCPU is not in supervisor mode",
            ),
            (
                image.0.len() != layout.image_len(),
                "its register image is one of another machine",
            ),
        ] {
            if is_so {
                return Err(StateError::NotStorable { reason });
            }
        }
        let bytes = |register: Register, value: &[u8]| StoredRegister {
            id: register.0,
            value: value.to_vec(),
        };
        let in_image = layout
            .places
            .iter()
            .map(|(register, place)| bytes(*register, image.0.get(place.clone()).unwrap_or_default()));
        let others = saved
            .others
            .iter()
            .map(|(register, value)| bytes(*register, value.bytes()));
        Ok(StoredState {
            arch: Arch::Riscv64,
            features: process.features.clone(),
            registers: in_image.chain(others).collect(),
        })
    }

    fn load(&self, stored: &StoredState) -> Result<(BareState, RegisterImage), StateError> {
        let process = self.0.process;
        let layout = &process.layout;
        check_state_arch(stored, Arch::Riscv64)?;
        check_features(
            &stored.features,
            &process.features,
            Register,
            |id, stored, here| Register(id).feature_fits(stored, here),
        )?;
        let mut values = StoredValues::new(&stored.registers, Register)?;
        let mut image = RegisterImage(layout.empty_image());
        for (register, place) in &layout.places {
            let value = values.take_bytes(register.0, register.size())?;
            if let Some(bytes) = image.0.get_mut(place.clone()) {
                bytes.copy_from_slice(value);
            }
        }
        let others = layout.others.iter();
        let others = others
            .map(|&register| {
                let value = values.take_bytes(register.0, register.size())?;
                Ok((register, RegisterValue::from_bytes(value.to_vec())))
            })
            .collect::<Result<_, StateError>>()?;
        values.finish()?;
        let mp_state = MpState::RUNNABLE;
        let saved = BareState {
            is_loadable: state::is_loadable(layout, &image.0, mp_state, Register::MODE_S),
            mp_state,
            mode: Register::MODE_S,
            others,
        };
        Ok((saved, image))
    }

    fn control(&self, _saved: &BareState, image: &RegisterImage) -> ControlRegisters {
        let number = |register| {
            let layout = &self.0.process.layout;
            layout.number(&image.0, register).unwrap_or_default()
        };
        ControlRegisters::Riscv64(RiscvControl {
            satp: number(Register::SATP),
            stvec: number(Register::STVEC),
        })
    }
}
