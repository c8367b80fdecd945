//! Captured state of a vCPU.

use std::{collections::BTreeSet, mem::size_of, sync::Arc};

use hv_core::{RegisterImage, StoredFeature};
use kvm_bindings::{kvm_mp_state, kvm_vcpu_events};
use zerocopy::{FromZeros, IntoBytes};

use crate::{
    KvmError, MpState, Register, RegisterGroup, RegisterValue, VcpuEvents,
    kvm::{entry::VcpuEntry, request::failed_request},
    register::SCTLR_EE,
    rewind::{self, Image, ImageRegister, Optional},
};

/// Captured state of a [`KvmBareVcpu`](super::KvmBareVcpu): what its guest can change and the register image does not have, and the registers
/// that complete a rewind. Clocks are not part of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BareState(pub(super) Arc<Registers>);

#[derive(Debug, PartialEq, Eq)]
pub(super) struct Registers {
    /// [`LAST`], in order.
    pub(super) last: [u64; LAST.len()],
    /// Registers that a rewind writes one by one.
    pub(super) single: Vec<(Register, RegisterValue)>,
    pub(super) mp_state: MpState,
    pub(super) events: VcpuEvents,
}

/// Registers that the host writes where the code cannot complete the rewind. `ELR_EL1` and `SPSR_EL1` are not in the image.
pub(super) const LAST: [Register; 8] = [
    Register::PC,
    Register::PSTATE,
    Register::SCTLR_EL1,
    Register::ELR_EL1,
    Register::SPSR_EL1,
    X0,
    X1,
    X2,
];
pub(super) const X0: Register = Register::x(0).unwrap();
pub(super) const X1: Register = Register::x(1).unwrap();
pub(super) const X2: Register = Register::x(2).unwrap();

impl BareState {
    /// Address of the next instruction.
    #[must_use]
    pub fn pc(&self) -> u64 {
        let [pc, ..] = self.0.last;
        pc
    }

    /// Run state.
    #[must_use]
    pub fn mp_state(&self) -> MpState {
        self.0.mp_state
    }

    /// Whether a rewind to this state takes a further exit, which the host completes.
    #[must_use]
    pub fn needs_host(&self) -> bool {
        let [pc, pstate, sctlr, elr, spsr, ..] = self.0.last;
        (elr, spsr) != (pc, pstate)
            || sctlr & SCTLR_EE != 0
            || self.0.mp_state != MpState::RUNNABLE
            || self.0.events.serror_pending
    }

    /// Registers that a rewind writes one by one.
    pub(super) fn single(&self) -> &[(Register, RegisterValue)] {
        &self.0.single
    }

    /// Writes what the code has not loaded.
    pub(super) fn write_last(&self, entry: &VcpuEntry) -> Result<(), KvmError> {
        for (register, value) in LAST.into_iter().zip(self.0.last) {
            entry.write_number(register, value)?;
        }
        let VcpuEvents {
            serror_pending,
            serror_esr,
        } = self.0.events;
        if serror_pending {
            let mut events = kvm_vcpu_events::default();
            events.exception.serror_pending = 1;
            events.exception.serror_has_esr = serror_esr.is_some().into();
            events.exception.serror_esr = serror_esr.unwrap_or_default();
            entry
                .fd()
                .set_vcpu_events(&events)
                .map_err(failed_request("KVM_SET_VCPU_EVENTS"))?;
        }
        if self.0.mp_state != MpState::RUNNABLE {
            set_mp_state(entry, self.0.mp_state)?;
        }
        Ok(())
    }
}

pub(super) fn set_mp_state(entry: &VcpuEntry, mp_state: MpState) -> Result<(), KvmError> {
    let mp_state = mp_state.0;
    entry
        .fd()
        .set_mp_state(kvm_mp_state { mp_state })
        .map_err(failed_request("KVM_SET_MP_STATE"))
}

/// Which registers the vCPUs of this process have, and where they are captured.
#[derive(Debug)]
pub(super) struct RegisterSet {
    /// Numbers of breakpoints and watchpoints.
    pub(super) debug: [usize; 2],
    pub(super) image: Vec<ImageRegister>,
    /// An image of zeros with the properties of the CPU.
    pub(super) empty: Image,
    pub(super) single: Vec<Register>,
    /// The features of the CPU, for stored states.
    pub(super) features: Vec<StoredFeature>,
}

impl RegisterSet {
    /// The registers of a vCPU.
    pub(super) fn of(entry: &VcpuEntry) -> Result<Self, KvmError> {
        let listed: BTreeSet<_> = entry.registers()?.into_iter().collect();
        let feature = |register| match listed.contains(&register) {
            true => entry.read_number(register),
            false => Ok(0),
        };
        let mut empty = Image::new_zeroed();
        let mut present = 0;
        for (n, optional) in Optional::ALL.into_iter().enumerate() {
            if listed.contains(&optional.register) && optional.is_present(feature(optional.feature)?) {
                present |= 1 << n;
            }
        }
        let [breakpoints, watchpoints] = rewind::debug_registers(feature(Register::ID_AA64DFR0_EL1)?);
        empty.set_layout(present, breakpoints, watchpoints);
        let image: Vec<_> = Image::registers(present, breakpoints, watchpoints).collect();
        let in_image: BTreeSet<_> = image.iter().map(|found| found.register).collect();
        let is_single = |register: &Register| {
            !in_image.contains(register) && !LAST.contains(register) && !is_constant(*register)
        };
        let single = listed.iter().copied().filter(is_single).collect();
        let features = listed.into_iter().filter(|register| register.is_feature());
        let features = features
            .map(|register| {
                Ok(StoredFeature {
                    id: register.0,
                    value: entry.read_number(register)?,
                })
            })
            .collect::<Result<_, KvmError>>()?;
        Ok(Self {
            debug: [breakpoints, watchpoints],
            image,
            empty,
            single,
            features,
        })
    }

    /// Captures the state of a vCPU without pending I/O.
    pub(super) fn capture(
        &self,
        entry: &VcpuEntry,
        image: &mut RegisterImage,
    ) -> Result<BareState, KvmError> {
        let bytes = &mut image.0;
        bytes.clear();
        bytes.extend_from_slice(self.empty.as_bytes());
        for &ImageRegister {
            register,
            offset,
            mask,
        } in &self.image
        {
            if let Some(value) = bytes.get_mut(offset..offset + register.size()) {
                entry.read_bytes(register, value)?;
                if let (true, Ok(number)) = (mask != u64::MAX, <&mut [u8; 8]>::try_from(value)) {
                    *number = (u64::from_le_bytes(*number) & mask).to_le_bytes();
                }
            }
        }
        let mut last = [0; LAST.len()];
        for (value, register) in last.iter_mut().zip(LAST) {
            *value = entry.read_number(register)?;
        }
        let single = self
            .single
            .iter()
            .map(|&register| Ok((register, entry.read(register)?)))
            .collect::<Result<_, KvmError>>()?;
        let mp_state = entry
            .fd()
            .get_mp_state()
            .map_err(failed_request("KVM_GET_MP_STATE"))?;
        let events = entry
            .fd()
            .get_vcpu_events()
            .map_err(failed_request("KVM_GET_VCPU_EVENTS"))?
            .exception;
        Ok(BareState(Arc::new(Registers {
            last,
            single,
            mp_state: MpState(mp_state.mp_state),
            events: VcpuEvents {
                serror_pending: events.serror_pending != 0,
                serror_esr: (events.serror_has_esr != 0).then_some(events.serror_esr),
            },
        })))
    }
}

impl RegisterSet {
    /// Writes the registers that differ from `state` with `image`, one by one.
    pub(super) fn replace(
        &self,
        entry: &VcpuEntry,
        state: &BareState,
        image: &RegisterImage,
    ) -> Result<(), KvmError> {
        let mut current = RegisterImage::default();
        let found = self.capture(entry, &mut current)?;
        for &ImageRegister { register, offset, .. } in &self.image {
            let bytes = offset..offset + register.size();
            let [current, wanted] = [&current, image].map(|image| image.0.get(bytes.clone()));
            if let Some(value) = wanted.filter(|_| current != wanted) {
                entry.write_bytes(register, value)?;
            }
        }
        for (current, (register, value)) in found.single().iter().zip(state.single()) {
            if current.1 != *value {
                entry.write(*register, value)?;
            }
        }
        state.write_last(entry)
    }
}

/// Whether no guest of a bare machine can change the register.
fn is_constant(register: Register) -> bool {
    let is_optional = Optional::ALL.iter().any(|optional| optional.register == register);
    let is_debug = (0..=15).any(|n| {
        [
            Register::dbgbvr(n),
            Register::dbgbcr(n),
            Register::dbgwvr(n),
            Register::dbgwcr(n),
        ]
        .contains(&Some(register))
    });
    let is_known = matches!(
        register,
        // Writes of guests are ignored.
        Register::ACTLR_EL1
        // Registers of AArch32 at EL1.
        | Register::SPSR_ABT
        | Register::SPSR_UND
        | Register::SPSR_IRQ
        | Register::SPSR_FIQ
        | Register::DBGVCR32_EL2
        | Register::DACR32_EL2
        | Register::IFSR32_EL2
        | Register::FPEXC32_EL2
    );
    let is_firmware = matches!(
        register.group(),
        RegisterGroup::FIRMWARE | RegisterGroup::FIRMWARE_FEATURES
    );
    // Of optional registers and of breakpoints, those in the image are handled there; the CPU does not have the others.
    is_known
        || is_optional
        || is_debug
        || is_firmware
        || register.is_identification()
        || register.is_time_counter()
}

/// Largest length of a register image.
pub(super) fn image_len() -> u64 {
    boot_core::arith::to_u64(size_of::<Image>())
}
