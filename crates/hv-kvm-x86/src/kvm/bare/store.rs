//! Stored states.

use std::sync::Arc;

use boot_core::{Arch, cpu::x86_64::State};
use hv_core::{
    ControlRegisters, RegisterImage, StateError, StateStore, StoredRegister, StoredState, StoredValues,
    X86_STATE_LEN, check_features, check_state_arch, decode_x86_state, encode_x86_state,
};
use hv_kvm_regs::x86_64;

use super::{BareState, KvmBareVm};
use crate::{
    MpState, Msr, VcpuEvents, Xsave, bare_cpuid,
    stored::{StoredId, accepts_xsave, feature_fits, feature_name, features},
};

impl KvmBareVm {
    /// The registers of a boot state that `saved` has.
    fn cpu(saved: &BareState) -> State {
        x86_64::state(&saved.regs, &saved.sregs)
    }

    /// Length of the XSAVE area in bytes.
    fn xsave_len(&self) -> usize {
        let extra = self.0.process.registers.extra_xsave_words.unwrap_or(0);
        Xsave::MIN_WORDS.saturating_add(extra).saturating_mul(4)
    }
}

impl StateStore for KvmBareVm {
    fn store(&self, saved: &BareState, _image: &RegisterImage) -> Result<StoredState, StateError> {
        let has_interrupt = saved.sregs.interrupt_bitmap.iter().any(|word| *word != 0);
        for (is_so, reason) in [
            (!self.0.process.denies_msrs, "the guest may access MSRs"),
            (saved.mp_state != MpState::RUNNABLE, "the vCPU is halted"),
            (
                saved.events != VcpuEvents::default() || has_interrupt,
                "an exception or interrupt is pending",
            ),
        ] {
            if is_so {
                return Err(StateError::NotStorable { reason });
            }
        }
        let bytes = |id: StoredId, value: Vec<u8>| StoredRegister { id: id.0, value };
        let number = |id: StoredId, value| StoredRegister::number(id.0, value);
        let words = saved.xsave.words();
        let mut registers = vec![
            bytes(StoredId::CPU, encode_x86_state(&Self::cpu(saved))),
            number(StoredId::CR8, saved.sregs.cr8),
            number(StoredId::XCR0, saved.xcr0),
            bytes(
                StoredId::XSAVE,
                words.iter().flat_map(|word| word.to_le_bytes()).collect(),
            ),
        ];
        let debug = saved.dr.into_iter().chain([saved.dr6, saved.dr7]);
        registers.extend(
            StoredId::DEBUG
                .into_iter()
                .zip(debug)
                .map(|(id, value)| number(id, value)),
        );
        registers.extend(
            saved
                .msrs
                .iter()
                .map(|&(msr, value)| number(StoredId::msr(msr), value)),
        );
        Ok(StoredState {
            arch: Arch::X86_64,
            features: features(&self.0.process.table),
            registers,
        })
    }

    fn load(&self, stored: &StoredState) -> Result<(BareState, RegisterImage), StateError> {
        let process = self.0.process;
        check_state_arch(stored, Arch::X86_64)?;
        if !process.denies_msrs {
            let reason = "the guest may access MSRs";
            return Err(StateError::NotStorable { reason });
        }
        check_features(
            &stored.features,
            &features(&process.table),
            feature_name,
            feature_fits,
        )?;
        let mut values = StoredValues::new(&stored.registers, StoredId)?;
        let refused = |id: StoredId, value| StateError::Value {
            register: id.to_string(),
            value,
        };
        let cpu = values.take_bytes(StoredId::CPU.0, X86_STATE_LEN)?;
        let cpu = decode_x86_state(cpu, process.reset_state.sregs.apic_base)
            .ok_or_else(|| refused(StoredId::CPU, 0))?;
        let cr8 = values.take_checked(StoredId::CR8.0, |value| value < 16)?;
        let xcr0 = values.take_checked(StoredId::XCR0.0, |value| {
            value & !bare_cpuid::XCR0 == 0 && value & 1 != 0
        })?;
        let xsave = values.take(StoredId::XSAVE.0)?;
        let (len, max) = (xsave.len(), self.xsave_len());
        if len > max || len < 4 * Xsave::MIN_WORDS || !len.is_multiple_of(4) {
            return Err(StateError::Length {
                register: StoredId::XSAVE.to_string(),
                expected: max,
                found: len,
            });
        }
        if !accepts_xsave(xsave) {
            return Err(refused(StoredId::XSAVE, 0));
        }
        let mut words: Vec<_> = xsave
            .as_chunks()
            .0
            .iter()
            .map(|word| u32::from_le_bytes(*word))
            .collect();
        words.resize(max / 4, 0);
        let mut debug = [0; StoredId::DEBUG.len()];
        for (to, id) in debug.iter_mut().zip(StoredId::DEBUG) {
            *to = values.take_number(id.0)?;
        }
        let msrs = process.registers.msrs.iter();
        let msrs = msrs
            .map(|&msr| Ok((msr, values.take_number(StoredId::msr(msr).0)?)))
            .collect::<Result<Vec<(Msr, u64)>, StateError>>()?;
        values.finish()?;
        let mut sregs = process.reset_state.sregs;
        x86_64::write_sregs(&cpu, &mut sregs);
        sregs.cr8 = cr8;
        let [dr0, dr1, dr2, dr3, dr6, dr7] = debug;
        let saved = BareState {
            regs: x86_64::regs(&cpu),
            sregs,
            events: VcpuEvents::default(),
            xcr0,
            xsave: Arc::new(Xsave::from_words(words)),
            dr: [dr0, dr1, dr2, dr3],
            dr6,
            dr7,
            mp_state: MpState::RUNNABLE,
            msrs,
        };
        let image = match self.0.config.rewind_code {
            Some(_) => saved.image(),
            None => RegisterImage::default(),
        };
        Ok((saved, image))
    }

    fn control(&self, saved: &BareState, _image: &RegisterImage) -> ControlRegisters {
        ControlRegisters::X86_64(Box::new(Self::cpu(saved)))
    }
}
