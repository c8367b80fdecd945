//! Access to registers, in groups.
#![expect(unsafe_code, reason = "passes XSAVE areas of run-time size to KVM")]

use std::collections::BTreeMap;

use hv_kvm_regs::x86_64;
use kvm_bindings::{
    KVM_MAX_MSR_ENTRIES, Msrs, Xsave as KvmXsave, kvm_debugregs, kvm_lapic_state, kvm_mp_state,
    kvm_msr_entry, kvm_xcrs,
};

use super::KvmVcpu;
use crate::{
    KvmError, Lapic, MpState, Msr, Register, RegisterError, VcpuState, Xsave,
    kvm::{convert, request::failed_request},
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
        self.complete_io()?;
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
        state.msrs = self.read_msrs()?;
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
        self.abort_io()?;
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
        let current = self.read_msrs()?;
        let mut changed = Vec::new();
        for (&msr, &value) in state.msrs.iter().filter(|(msr, _)| !msr.is_time_counter()) {
            match current.get(&msr) {
                Some(&found) if found == value => {}
                Some(_) => changed.push((msr, value)),
                None => return Err(KvmError::MissingRegister { msr }),
            }
        }
        self.write_msrs(&changed)?;
        self.store(Group::Events, state)
    }

    /// Completes the I/O of the last exit and reads one register. All MSRs that KVM supports can be read, not only those of a
    /// saved state.
    ///
    /// # Errors
    ///
    /// [`KvmError::Register`] for a register that does not exist, [`KvmError::GetMsr`] for an MSR that does not exist.
    pub fn register(&mut self, register: Register) -> Result<u64, KvmError> {
        self.complete_io()?;
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
        self.complete_io()?;
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
                let xcrs = fd.get_xcrs().map_err(failed_request("KVM_GET_XCRS"))?;
                let used = usize::try_from(xcrs.nr_xcrs).unwrap_or(usize::MAX);
                // A CPU without XSAVE has the x87 component only.
                state.xcr0 = xcrs
                    .xcrs
                    .iter()
                    .take(used)
                    .find(|xcr| xcr.xcr == 0)
                    .map_or(1, |xcr| xcr.value);
            }
            Group::Xsave => state.xsave = self.read_xsave()?,
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
                let value = self
                    .read_msr_batch(&[msr])?
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
            Group::Xcrs => {
                let mut xcrs = kvm_xcrs {
                    nr_xcrs: 1,
                    ..kvm_xcrs::default()
                };
                if let Some(first) = xcrs.xcrs.first_mut() {
                    first.value = state.xcr0;
                }
                fd.set_xcrs(&xcrs).map_err(failed_request("KVM_SET_XCRS"))
            }
            Group::Xsave => self.write_xsave(&state.xsave),
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
                self.write_msrs(&[(msr, value)])
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

    fn read_xsave(&self) -> Result<Xsave, KvmError> {
        let Some(extra) = self.extra_xsave_words else {
            let xsave = self
                .file
                .fd()
                .get_xsave()
                .map_err(failed_request("KVM_GET_XSAVE"))?;
            return Ok(Xsave::from_words(xsave.region.to_vec()));
        };
        let mut xsave = new_xsave(extra)?;
        // SAFETY: the area has the size that KVM_CAP_XSAVE2 reported after this vCPU was created; from then on the kernel
        // does not allow the process to enable further state components for guests.
        unsafe { self.file.fd().get_xsave2(&mut xsave) }.map_err(failed_request("KVM_GET_XSAVE2"))?;
        let mut words = xsave.as_fam_struct_ref().xsave.region.to_vec();
        words.extend_from_slice(xsave.as_slice());
        Ok(Xsave::from_words(words))
    }

    fn write_xsave(&self, xsave: &Xsave) -> Result<(), KvmError> {
        let extra = self.extra_xsave_words.unwrap_or(0);
        let mut area = new_xsave(extra)?;
        let (first, rest) = xsave
            .words()
            .split_at_checked(Xsave::MIN_WORDS)
            .unwrap_or((xsave.words(), &[]));
        area.as_mut_slice()
            .iter_mut()
            .zip(rest)
            .for_each(|(to, from)| *to = *from);
        // SAFETY: `as_mut_fam_struct` requires that the length of the flexible array does not change; only `region` is
        // written here.
        let region = unsafe { &mut area.as_mut_fam_struct().xsave.region };
        region.iter_mut().zip(first).for_each(|(to, from)| *to = *from);
        // SAFETY: the area has the size that the kernel reads: 4096 bytes on kernels without KVM_CAP_XSAVE2, otherwise the
        // size that the capability reported after this vCPU was created, which cannot grow.
        unsafe { self.file.fd().set_xsave2(&area) }.map_err(failed_request("KVM_SET_XSAVE"))
    }

    /// Reads the MSRs of a saved state. The vCPU has a subset that depends on its CPUID table; reads of the others fail.
    fn read_msrs(&self) -> Result<BTreeMap<Msr, u64>, KvmError> {
        let mut values = BTreeMap::new();
        let mut rest = self.machine.msrs.as_slice();
        while !rest.is_empty() {
            let (batch, later) = rest.split_at(rest.len().min(KVM_MAX_MSR_ENTRIES));
            let read = self.read_msr_batch(batch)?;
            let done = read.len();
            values.extend(batch.iter().copied().zip(read));
            // KVM stops at the first MSR that it cannot read: continue after it.
            rest = if done < batch.len() {
                rest.get(done.saturating_add(1)..).unwrap_or(&[])
            } else {
                later
            };
        }
        Ok(values)
    }

    /// The values of `msrs`, up to the first one that KVM cannot read.
    fn read_msr_batch(&self, msrs: &[Msr]) -> Result<Vec<u64>, KvmError> {
        let mut request = new_msrs(msrs.iter().take(KVM_MAX_MSR_ENTRIES).map(|&msr| (msr, 0)))?;
        let read = self
            .file
            .fd()
            .get_msrs(&mut request)
            .map_err(failed_request("KVM_GET_MSRS"))?;
        Ok(request
            .as_slice()
            .iter()
            .take(read)
            .map(|entry| entry.data)
            .collect())
    }

    pub(super) fn write_msrs(&self, msrs: &[(Msr, u64)]) -> Result<(), KvmError> {
        for batch in msrs.chunks(KVM_MAX_MSR_ENTRIES) {
            let request = new_msrs(batch.iter().copied())?;
            let written = self
                .file
                .fd()
                .set_msrs(&request)
                .map_err(failed_request("KVM_SET_MSRS"))?;
            // KVM stops at the first MSR that it cannot write.
            if let Some(&(msr, value)) = batch.get(written) {
                return Err(KvmError::SetMsr { msr, value });
            }
        }
        Ok(())
    }
}

fn new_xsave(extra_words: usize) -> Result<KvmXsave, KvmError> {
    // The only error is a size that is too large.
    KvmXsave::new(extra_words)
        .ok()
        .ok_or(KvmError::XsaveSize { words: extra_words })
}

fn new_msrs(msrs: impl Iterator<Item = (Msr, u64)>) -> Result<Msrs, KvmError> {
    let entries: Vec<kvm_msr_entry> = msrs
        .map(|(msr, data)| kvm_msr_entry {
            index: msr.0,
            data,
            ..kvm_msr_entry::default()
        })
        .collect();
    Msrs::from_entries(&entries)
        .ok()
        .ok_or(KvmError::TooManyMsrs { count: entries.len() })
}
