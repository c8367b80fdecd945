//! The vCPU of a bare machine.

use std::{mem, sync::Arc};

use boot_core::CpuState;
use hv_core::{BareVcpu, RegisterImage, Vcpu, VcpuExit, VcpuKicker};
use hv_kvm::HarnessError;

use super::{
    machine::Machine,
    state::{BareState, Registers, RewindOptions, Unloaded},
    tsc,
};
use crate::{KvmError, MpState, kvm::entry::VcpuEntry};

/// The vCPU of a [`KvmBareVm`](super::KvmBareVm).
///
/// A rewind puts general and system registers and events into `struct kvm_run`, from where the next [`run`](Vcpu::run) takes them: values
/// that KVM does not accept are an error of that run. With [`BareConfig::rewind_code`](super::BareConfig::rewind_code), the guest then loads
/// the rest: the register image in its memory must not change until the next exit.
#[derive(Debug)]
pub struct KvmBareVcpu {
    /// Before `machine`, because the vCPU must not outlive the memory that the machine owns.
    pub(super) entry: VcpuEntry,
    machine: Arc<Machine>,
    /// The last exit was the doorbell, so the vCPU is runnable.
    rang: bool,
    /// Neither a run nor a rewind has changed the state after creation, and no translations are cached.
    is_new: bool,
    /// Registers that the rewind code loads in the next run.
    unloaded: Option<Unloaded>,
    /// Offset of the time stamp counter after creation, if the guest can change it and the kernel can set it.
    tsc_offset: Option<u64>,
}

impl KvmBareVcpu {
    pub(super) fn create(machine: Arc<Machine>, index: u32) -> Result<Self, KvmError> {
        if index != 0 {
            return Err(HarnessError::NoSuchVcpu { index, count: 1 }.into());
        }
        machine.filter.apply(machine.file.fd())?;
        // On an error this closes the descriptor, before the caller's reference to the machine ends.
        let entry = machine.process.create_vcpu(machine.file.fd())?;
        // A guest moves its counter by MSRs only.
        let tsc_offset = if machine.process.denies_msrs {
            None
        } else {
            tsc::offset(entry.fd())
        };
        Ok(Self {
            entry,
            machine,
            rang: false,
            is_new: true,
            unloaded: None,
            tsc_offset,
        })
    }

    /// Which registers the vCPU has.
    pub(super) fn registers(&self) -> &'static Registers {
        &self.machine.process.registers
    }

    /// Writes what the last rewind left to the next run, for code that accesses registers.
    pub(super) fn settle(&mut self) -> Result<(), KvmError> {
        let unloaded = self.unloaded.take();
        self.registers().settle(&mut self.entry, unloaded)
    }

    fn rewind_to(&mut self, state: &BareState, flush: bool, code: Option<u64>) -> Result<(), KvmError> {
        let process = self.machine.process;
        let reset_state = mem::take(&mut self.is_new).then_some(&process.reset_state);
        let options = RewindOptions {
            flush: flush && reset_state.is_none(),
            is_runnable: self.rang || reset_state.is_some_and(|reset| reset.mp_state == MpState::RUNNABLE),
            has_debug: reset_state.is_some_and(|reset| reset.has_debug_of(state)),
            code,
        };
        self.unloaded = None;
        self.unloaded = self.registers().rewind(&mut self.entry, state, options)?;
        // The guest can move its counter. The offset belongs to this vCPU, so it is not part of the state.
        match self.tsc_offset {
            Some(offset) => tsc::set_offset(self.entry.fd(), offset),
            None => Ok(()),
        }
    }
}

impl Vcpu for KvmBareVcpu {
    type Error = KvmError;

    fn index(&self) -> u32 {
        0
    }

    fn state(&mut self) -> Result<CpuState, KvmError> {
        self.settle()?;
        Ok(self.entry.state()?.into())
    }

    fn set_state(&mut self, state: &CpuState) -> Result<(), KvmError> {
        self.settle()?;
        self.entry.set_state(state)
    }

    fn reset(&mut self) -> Result<(), KvmError> {
        let process = self.machine.process;
        self.rewind_to(&process.reset_state, true, None)
    }

    fn run(&mut self) -> Result<VcpuExit<'_>, KvmError> {
        let doorbell = self.machine.config.doorbell_port;
        (self.rang, self.is_new) = (false, false);
        self.unloaded = None;
        Ok(match self.entry.run()? {
            VcpuExit::IoWrite { port, size: 4, data } if port == doorbell => match *data {
                // Several writes of a string instruction are no doorbell.
                [a, b, c, d] => {
                    self.rang = true;
                    VcpuExit::Doorbell(u32::from_le_bytes([a, b, c, d]).into())
                }
                _ => VcpuExit::IoWrite { port, size: 4, data },
            },
            exit => exit,
        })
    }

    fn kicker(&self) -> Arc<dyn VcpuKicker> {
        self.entry.kicker()
    }
}

impl BareVcpu for KvmBareVcpu {
    type Saved = BareState;

    fn capture(&mut self, image: &mut RegisterImage) -> Result<BareState, KvmError> {
        self.settle()?;
        let state = self.registers().capture(&mut self.entry)?;
        *image = match self.machine.config.rewind_code {
            Some(_) => state.image(),
            None => RegisterImage::default(),
        };
        Ok(state)
    }

    fn rewind(&mut self, saved: &BareState, flush: bool) -> Result<(), KvmError> {
        self.rewind_to(saved, flush, self.machine.config.rewind_code)
    }
}
