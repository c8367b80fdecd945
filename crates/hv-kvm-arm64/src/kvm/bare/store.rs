//! Stored states.

use std::{collections::BTreeMap, sync::Arc};

use boot_core::Arch;
use hv_core::{
    AarchControl, ControlRegisters, RegisterImage, StateError, StateStore, StoredRegister, StoredState,
    StoredValues, check_features, check_state_arch,
};
use zerocopy::IntoBytes;

use super::{
    KvmBareVm,
    state::{BareState, LAST, RegisterSet, Registers},
};
use crate::{MpState, Register, RegisterValue, VcpuEvents, rewind::ImageRegister};

impl KvmBareVm {
    fn registers(&self) -> &'static RegisterSet {
        &self.0.process.registers
    }
}

/// The bytes of a register in an image.
fn in_image<'a>(image: &'a RegisterImage, found: &ImageRegister) -> &'a [u8] {
    let end = found.offset.saturating_add(found.register.size());
    image.0.get(found.offset..end).unwrap_or_default()
}

impl StateStore for KvmBareVm {
    fn store(&self, saved: &BareState, image: &RegisterImage) -> Result<StoredState, StateError> {
        let set = self.registers();
        for (is_so, reason) in [
            (saved.0.mp_state != MpState::RUNNABLE, "the vCPU is stopped"),
            (saved.0.events.serror_pending, "an SError is pending"),
            (
                image.0.len() != set.empty.as_bytes().len(),
                "its register image is one of another machine",
            ),
        ] {
            if is_so {
                return Err(StateError::NotStorable { reason });
            }
        }
        // Registers of the image, of which some are among the last ones, too.
        let mut values = BTreeMap::new();
        for found in &set.image {
            values.insert(found.register, in_image(image, found).to_vec());
        }
        for (register, value) in LAST.into_iter().zip(saved.0.last) {
            values.insert(register, value.to_le_bytes().to_vec());
        }
        for (register, value) in &saved.0.single {
            values.insert(*register, value.bytes().to_vec());
        }
        Ok(StoredState {
            arch: Arch::Aarch64,
            features: set.features.clone(),
            registers: values
                .into_iter()
                .map(|(register, value)| StoredRegister {
                    id: register.0,
                    value,
                })
                .collect(),
        })
    }

    fn load(&self, stored: &StoredState) -> Result<(BareState, RegisterImage), StateError> {
        let set = self.registers();
        check_state_arch(stored, Arch::Aarch64)?;
        check_features(
            &stored.features,
            &set.features,
            Register,
            // The fields are signed, unsigned or neither, by register. So another value is another CPU.
            |_, stored, here| stored == here,
        )?;
        let mut values = StoredValues::new(&stored.registers, Register)?;
        let mut image = RegisterImage(set.empty.as_bytes().to_vec());
        let mut last = [0; LAST.len()];
        for found in &set.image {
            let value = values.take_bytes(found.register.0, found.register.size())?;
            let value = match <[u8; 8]>::try_from(value) {
                Ok(number) => (u64::from_le_bytes(number) & found.mask).to_le_bytes().to_vec(),
                Err(_) => value.to_vec(),
            };
            if let Some(at) = LAST.iter().position(|register| *register == found.register)
                && let (Some(last), Ok(number)) = (last.get_mut(at), <[u8; 8]>::try_from(&*value))
            {
                *last = u64::from_le_bytes(number);
            }
            let end = found.offset.saturating_add(value.len());
            if let Some(bytes) = image.0.get_mut(found.offset..end) {
                bytes.copy_from_slice(&value);
            }
        }
        for (last, register) in last.iter_mut().zip(LAST) {
            if !set.image.iter().any(|found| found.register == register) {
                *last = values.take_number(register.0)?;
            }
        }
        let single = set.single.iter();
        let single = single
            .map(|&register| {
                let value = values.take_bytes(register.0, register.size())?;
                Ok((register, RegisterValue::from_bytes(value)))
            })
            .collect::<Result<_, StateError>>()?;
        values.finish()?;
        let saved = BareState(Arc::new(Registers {
            last,
            single,
            mp_state: MpState::RUNNABLE,
            events: VcpuEvents {
                serror_pending: false,
                serror_esr: None,
            },
        }));
        Ok((saved, image))
    }

    fn control(&self, _saved: &BareState, image: &RegisterImage) -> ControlRegisters {
        let number = |register| {
            let found = self.registers().image.iter();
            let mut found = found.filter(|found| found.register == register);
            let bytes = found.next().map(|found| in_image(image, found));
            let number = bytes.and_then(|bytes| <[u8; 8]>::try_from(bytes).ok());
            number.map_or(0, u64::from_le_bytes)
        };
        ControlRegisters::Aarch64(AarchControl {
            mair_el1: number(Register::MAIR_EL1),
            tcr_el1: number(Register::TCR_EL1),
            ttbr0_el1: number(Register::TTBR0_EL1),
            sctlr_el1: number(Register::SCTLR_EL1),
            vbar_el1: number(Register::VBAR_EL1),
            tcr2_el1: number(Register::TCR2_EL1),
        })
    }
}
