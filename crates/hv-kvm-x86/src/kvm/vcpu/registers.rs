//! Access to registers, in groups.

use hv_kvm_regs::x86_64;
use kvm_bindings::{kvm_debugregs, kvm_lapic_state, kvm_mp_state};

use super::KvmVcpu;
use crate::{
    KvmError, Lapic, MpState, Msr, Register, RegisterError, VcpuState,
    kvm::{convert, groups, msrs, request::failed_request, xsave},
};

/// Registers that one ioctl reads or writes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Group {
    Cpu,
    Xcrs,
    Xsave,
    Debug,
    Lapic,
    MpState,
    Events,
    Msr(Msr),
}

impl Group {
    fn of(register: Register) -> Self {
        match register {
            Register::Gpr(_)
            | Register::Rip
            | Register::Rflags
            | Register::Segment(..)
            | Register::TableBase(_)
            | Register::TableLimit(_)
            | Register::Cr0
            | Register::Cr2
            | Register::Cr3
            | Register::Cr4
            | Register::Cr8
            | Register::Efer
            | Register::ApicBase => Self::Cpu,
            Register::Dr(_) | Register::Dr6 | Register::Dr7 => Self::Debug,
            Register::Xcr0 => Self::Xcrs,
            Register::FpuControl
            | Register::FpuStatus
            | Register::Mxcsr
            | Register::Fpr(_)
            | Register::XmmLow(_)
            | Register::XmmHigh(_) => Self::Xsave,
            Register::Lapic(_) => Self::Lapic,
            Register::Msr(msr) => Self::Msr(msr),
        }
    }
}

impl KvmVcpu {
    /// Saves the whole state of the vCPU. Completes the I/O of the last exit first.
    ///
    /// # Errors
    ///
    /// Errors of KVM.
    pub fn save_state(&mut self) -> Result<VcpuState, KvmError> {
        self.file.complete_io()?;
        let mut state = VcpuState::zeroed();
        for group in [
            Group::MpState,
            Group::Cpu,
            Group::Xcrs,
            Group::Xsave,
            Group::Debug,
            Group::Lapic,
            Group::Events,
        ] {
            self.load(group, &mut state)?;
        }
        state.msrs = msrs::read_all(self.file.fd(), &self.machine.msrs)?;
        Ok(state)
    }

    /// Restores a saved state, except time counters ([`Msr::is_time_counter`]).
    ///
    /// Only model-specific registers that differ are written: some are read-only, and have the same value in every state of
    /// this vCPU. Registers that `state` does not contain keep their values.
    ///
    /// # Errors
    ///
    /// [`KvmError::MissingRegister`] when `state` has a register that this vCPU does not have; [`KvmError::IoIncomplete`];
    /// errors of KVM.
    pub fn restore_state(&mut self, state: &VcpuState) -> Result<(), KvmError> {
        self.file.abort_io()?;
        // The mode of the local APIC is among the system registers, so the APIC follows them. MSRs such as the TSC deadline
        // depend on the APIC. Events are last because other writes can cancel them.
        for group in [
            Group::MpState,
            Group::Cpu,
            Group::Xcrs,
            Group::Xsave,
            Group::Debug,
            Group::Lapic,
        ] {
            self.store(group, state)?;
        }
        let current = msrs::read_all(self.file.fd(), &self.machine.msrs)?;
        let mut changed = Vec::new();
        for (&msr, &value) in state.msrs.iter().filter(|(msr, _)| !msr.is_time_counter()) {
            match current.get(&msr) {
                Some(&found) if found == value => {}
                Some(_) => changed.push((msr, value)),
                None => return Err(KvmError::MissingRegister { msr }),
            }
        }
        msrs::write(self.file.fd(), &changed)?;
        self.store(Group::Events, state)
    }

    /// Completes the I/O of the last exit and reads one register. All MSRs that KVM supports can be read, not only those of a
    /// saved state.
    ///
    /// # Errors
    ///
    /// [`KvmError::Register`] for a register that does not exist, [`KvmError::GetMsr`] for an MSR that does not exist.
    pub fn register(&mut self, register: Register) -> Result<u64, KvmError> {
        self.file.complete_io()?;
        let mut state = VcpuState::zeroed();
        self.load(Group::of(register), &mut state)?;
        state
            .get(register)
            .ok_or(RegisterError::Missing { register }.into())
    }

    /// Completes the I/O of the last exit and writes one register.
    ///
    /// # Errors
    ///
    /// [`KvmError::Register`] for a register that does not exist or a value that is too wide; [`KvmError::SetMsr`] and
    /// [`HarnessError::Request`](hv_kvm::HarnessError::Request) for a value that KVM does not accept.
    pub fn set_register(&mut self, register: Register, value: u64) -> Result<(), KvmError> {
        self.file.complete_io()?;
        let group = Group::of(register);
        let mut state = VcpuState::zeroed();
        self.load(group, &mut state)?;
        state.set(register, value)?;
        self.store(group, &state)
    }

    fn load(&self, group: Group, state: &mut VcpuState) -> Result<(), KvmError> {
        let fd = self.file.fd();
        match group {
            Group::Cpu => {
                let regs = fd.get_regs().map_err(failed_request("KVM_GET_REGS"))?;
                let sregs = fd.get_sregs().map_err(failed_request("KVM_GET_SREGS"))?;
                state.cpu = x86_64::state(&regs, &sregs);
                state.cr8 = sregs.cr8;
                state.interrupt_bitmap = sregs.interrupt_bitmap;
            }
            Group::Xcrs => {
                state.xcr0 = groups::read_xcr0(fd)?;
            }
            Group::Xsave => state.xsave = xsave::read(fd, self.extra_xsave_words)?,
            Group::Debug => {
                let debug = fd.get_debug_regs().map_err(failed_request("KVM_GET_DEBUGREGS"))?;
                (state.dr, state.dr6, state.dr7) = (debug.db, debug.dr6, debug.dr7);
            }
            Group::Lapic => state.lapic = self.read_lapic()?,
            Group::MpState => {
                state.mp_state = MpState(
                    fd.get_mp_state()
                        .map_err(failed_request("KVM_GET_MP_STATE"))?
                        .mp_state,
                );
            }
            Group::Events => {
                let events = fd
                    .get_vcpu_events()
                    .map_err(failed_request("KVM_GET_VCPU_EVENTS"))?;
                state.events = convert::from_events(&events);
            }
            Group::Msr(msr) => {
                let value = msrs::read_batch(fd, &[msr])?
                    .pop()
                    .ok_or(KvmError::GetMsr { msr })?;
                state.msrs.insert(msr, value);
            }
        }
        Ok(())
    }

    fn store(&self, group: Group, state: &VcpuState) -> Result<(), KvmError> {
        let fd = self.file.fd();
        match group {
            Group::Cpu => {
                let mut sregs = fd.get_sregs().map_err(failed_request("KVM_GET_SREGS"))?;
                x86_64::write_sregs(&state.cpu, &mut sregs);
                sregs.cr8 = state.cr8;
                sregs.interrupt_bitmap = state.interrupt_bitmap;
                fd.set_sregs(&sregs).map_err(failed_request("KVM_SET_SREGS"))?;
                fd.set_regs(&x86_64::regs(&state.cpu))
                    .map_err(failed_request("KVM_SET_REGS"))
            }
            Group::Xcrs => groups::write_xcr0(fd, state.xcr0),
            Group::Xsave => xsave::write(fd, self.extra_xsave_words, &state.xsave),
            Group::Debug => {
                let debug = kvm_debugregs {
                    db: state.dr,
                    dr6: state.dr6,
                    dr7: state.dr7,
                    ..Default::default()
                };
                fd.set_debug_regs(&debug)
                    .map_err(failed_request("KVM_SET_DEBUGREGS"))
            }
            Group::Lapic => self.write_lapic(&state.lapic),
            Group::MpState => fd
                .set_mp_state(kvm_mp_state {
                    mp_state: state.mp_state.0,
                })
                .map_err(failed_request("KVM_SET_MP_STATE")),
            Group::Events => {
                let kernel = fd
                    .get_vcpu_events()
                    .map_err(failed_request("KVM_GET_VCPU_EVENTS"))?;
                fd.set_vcpu_events(&convert::to_events(&state.events, kernel.flags))
                    .map_err(failed_request("KVM_SET_VCPU_EVENTS"))
            }
            Group::Msr(msr) => {
                let value = state.msrs.get(&msr).copied().ok_or(KvmError::GetMsr { msr })?;
                msrs::write(fd, &[(msr, value)])
            }
        }
    }

    pub(super) fn read_lapic(&self) -> Result<Lapic, KvmError> {
        let lapic = self
            .file
            .fd()
            .get_lapic()
            .map_err(failed_request("KVM_GET_LAPIC"))?;
        Ok(Lapic::from_bytes(lapic.regs.map(i8::cast_unsigned)))
    }

    pub(super) fn write_lapic(&self, lapic: &Lapic) -> Result<(), KvmError> {
        let lapic = kvm_lapic_state {
            regs: lapic.as_bytes().map(u8::cast_signed),
        };
        self.file
            .fd()
            .set_lapic(&lapic)
            .map_err(failed_request("KVM_SET_LAPIC"))
    }
}
