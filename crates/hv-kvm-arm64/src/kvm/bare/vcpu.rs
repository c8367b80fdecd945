//! The vCPU of a bare machine.

use std::sync::Arc;

use boot_core::{CpuState, cpu::aarch64::PSTATE_EL1H_DAIF};
use hv_core::{BareVcpu, DebugStop, Doorbell, RegisterImage, SystemEvent, Vcpu, VcpuExit, VcpuKicker};
use hv_kvm::{HarnessError, RunStatus};
use kvm_bindings::{KVM_EXIT_DEBUG, KVM_EXIT_HYPERCALL, KVM_EXIT_MMIO, KVM_HYPERCALL_EXIT_SMC};

use super::{
    debug_request::Debug,
    machine::Machine,
    memory, smccc,
    state::{self, BareState, X0, X1, X2},
};
use crate::{
    KvmError, MpState, Register,
    kvm::entry::VcpuEntry,
    rewind::{CODE, Entry},
};

/// The vCPU of a [`KvmBareVm`](super::KvmBareVm).
///
/// A rewind makes the next [`run`](Vcpu::run) start at the rewind code ([`rewind`](crate::rewind)). Its owner places code and register image.
#[derive(Debug)]
pub struct KvmBareVcpu {
    /// Before `machine`, because the vCPU must not outlive the memory that the machine owns.
    pub(super) entry: VcpuEntry,
    pub(super) machine: Arc<Machine>,
    /// The last exit was the doorbell, so the vCPU is runnable.
    rang: bool,
    /// The rewind that the next run starts with.
    pending: Option<Pending>,
    /// The memory has the rewind code.
    has_code: bool,
    /// The requested debug exceptions, unless there are none.
    pub(super) debug: Option<Debug>,
}

/// A rewind whose code has not run to its end.
#[derive(Debug)]
struct Pending {
    state: BareState,
    flush: bool,
}

impl KvmBareVcpu {
    pub(super) fn create(machine: Arc<Machine>, index: u32) -> Result<Self, KvmError> {
        if index != 0 {
            return Err(HarnessError::NoSuchVcpu { index, count: 1 }.into());
        }
        // On an error this closes the descriptor, before the caller's reference to the machine ends.
        let entry = machine
            .process
            .create_vcpu(machine.file.fd(), machine.config.entropy)?;
        Ok(Self {
            entry,
            machine,
            rang: false,
            pending: None,
            has_code: false,
            debug: None,
        })
    }

    /// Makes the vCPU start at `entry` of the rewind code with the MMU off.
    fn start_rewind_code(&self, entry: Entry) -> Result<(), KvmError> {
        let config = self.machine.config;
        for (register, value) in [
            (Register::PC, config.rewind_code.wrapping_add(entry.0)),
            (Register::PSTATE, PSTATE_EL1H_DAIF),
            (Register::SCTLR_EL1, self.machine.process.rewind_sctlr),
            (X0, config.rewind_image),
        ] {
            self.entry.write_number(register, value)?;
        }
        Ok(())
    }

    /// Completes a pending rewind without the execution of instructions of the guest.
    pub(super) fn complete_rewind(&mut self) -> Result<(), KvmError> {
        let Some(Pending { state, flush }) = self.pending.take() else {
            return Ok(());
        };
        if self.debug.is_some() {
            // The code is not what is debugged.
            Debug::disable(&self.entry)?;
        }
        let completed = self.load(&state, flush);
        if let Some(debug) = &self.debug {
            debug.enable(&self.entry)?;
        }
        completed
    }

    /// Makes the state of the vCPU `state`, which the register image belongs to.
    fn load(&mut self, state: &BareState, flush: bool) -> Result<(), KvmError> {
        // It may have run in part.
        self.start_rewind_code(if flush {
            Entry::FLUSH_AND_RING
        } else {
            Entry::LOAD_AND_RING
        })?;
        let [doorbell, is_address] = match self.machine.doorbell {
            Doorbell::Hvc(function) => [function.into(), 0],
            Doorbell::Mmio(address) => [address, 1],
            _ => [0; 2],
        };
        self.entry.write_number(X1, doorbell)?;
        self.entry.write_number(X2, is_address)?;
        let mut was_kicked = false;
        loop {
            match self.entry.enter(&self.machine.file)? {
                RunStatus::Interrupted => was_kicked = true,
                status if self.is_doorbell(&status) => break,
                status => {
                    let exit = format!("{:?}", self.entry.decode(status));
                    return Err(KvmError::RewindFailed { exit });
                }
            }
        }
        self.entry.complete_io()?;
        if was_kicked {
            // For the next run of the guest.
            self.entry.kicker().kick();
        }
        state.write_last(&self.entry)
    }

    /// Whether the guest rang the doorbell.
    fn is_doorbell(&mut self, status: &RunStatus) -> bool {
        match (status, self.machine.doorbell) {
            (RunStatus::Exit(KVM_EXIT_HYPERCALL), Doorbell::Hvc(doorbell)) => {
                let (function, flags) = self.entry.hypercall();
                function == u64::from(doorbell) && flags & u64::from(KVM_HYPERCALL_EXIT_SMC) == 0
            }
            (RunStatus::Exit(KVM_EXIT_MMIO), Doorbell::Mmio(doorbell)) => {
                self.entry.mmio_write() == Some(doorbell)
            }
            _ => false,
        }
    }

    /// Whether the next instruction is one of the rewind code.
    fn is_in_rewind_code(&self) -> Result<bool, KvmError> {
        let offset = self
            .entry
            .read_number(Register::PC)?
            .wrapping_sub(self.machine.config.rewind_code);
        Ok(usize::try_from(offset).is_ok_and(|offset| offset < CODE.len()))
    }
}

impl Vcpu for KvmBareVcpu {
    type Error = KvmError;

    fn index(&self) -> u32 {
        0
    }

    fn state(&mut self) -> Result<CpuState, KvmError> {
        self.complete_rewind()?;
        Ok(self.entry.state()?.into())
    }

    fn set_state(&mut self, state: &CpuState) -> Result<(), KvmError> {
        self.complete_rewind()?;
        self.entry.set_state(state)
    }

    /// Resets all registers to their values after creation. Cached translations are not flushed: the MMU is off.
    fn reset(&mut self) -> Result<(), KvmError> {
        self.pending = None;
        self.rang = false;
        self.entry.complete_io()?;
        self.machine.process.reset(&self.entry)
    }

    fn run(&mut self) -> Result<VcpuExit<'_>, KvmError> {
        let needs_host = |pending: &Pending| self.debug.is_some() || pending.state.needs_host();
        if self.pending.as_ref().is_some_and(needs_host) {
            self.complete_rewind()?;
        }
        self.rang = false;
        let status = self.entry.enter(&self.machine.file)?;
        let is_pending =
            self.pending.is_some() && matches!(status, RunStatus::Interrupted) && self.is_in_rewind_code()?;
        if !is_pending {
            self.pending = None;
        }
        if self.is_doorbell(&status) {
            self.rang = true;
            return Ok(VcpuExit::Doorbell(0));
        }
        if matches!(status, RunStatus::Exit(KVM_EXIT_HYPERCALL))
            && self.entry.hypercall().0 == u64::from(smccc::CPU_OFF)
        {
            // As KVM does for SYSTEM_OFF: the call does not return, unless it fails.
            self.entry.write_number(X0, smccc::INTERNAL_FAILURE)?;
            return Ok(VcpuExit::System(SystemEvent::PowerOff));
        }
        if let (RunStatus::Exit(KVM_EXIT_DEBUG), Some(debug)) = (&status, &self.debug) {
            let pc = self.entry.read_number(Register::PC)?;
            let (class, far) = self.entry.debug_exit();
            return Ok(VcpuExit::Debug(DebugStop::new(pc, debug.cause(class, pc, far))));
        }
        Ok(self.entry.decode(status))
    }

    fn kicker(&self) -> Arc<dyn VcpuKicker> {
        self.entry.kicker()
    }
}

impl BareVcpu for KvmBareVcpu {
    type Saved = BareState;

    fn capture(&mut self, image: &mut RegisterImage) -> Result<BareState, KvmError> {
        self.complete_rewind()?;
        self.entry.complete_io()?;
        self.machine.process.registers.capture(&self.entry, image)
    }

    fn rewind(&mut self, saved: &BareState, flush: bool) -> Result<(), KvmError> {
        let config = self.machine.config;
        if !self.has_code {
            memory::check_code(&self.machine.file, config.rewind_code)?;
            self.has_code = true;
        }
        self.entry.complete_io()?;
        if !self.rang {
            state::set_mp_state(&self.entry, MpState::RUNNABLE)?;
        }
        for (register, value) in saved.single() {
            self.entry.write(*register, value)?;
        }
        memory::clean(&self.machine.file, config.rewind_image, state::image_len())?;
        // Translations may still be there if an earlier rewind has not run.
        let flush = flush || self.pending.as_ref().is_some_and(|pending| pending.flush);
        self.start_rewind_code(if flush { Entry::FLUSH } else { Entry::LOAD })?;
        let state = saved.clone();
        self.pending = Some(Pending { state, flush });
        Ok(())
    }
}
