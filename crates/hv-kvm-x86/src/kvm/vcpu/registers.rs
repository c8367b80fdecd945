//! Reading and writing registers, group by group.
#![expect(unsafe_code, reason = "passes XSAVE areas of run-time size to the kernel")]

use std::collections::BTreeMap;

use kvm_bindings::{
    KVM_MAX_MSR_ENTRIES, Msrs, Xsave as KvmXsave, kvm_debugregs, kvm_lapic_state, kvm_mp_state,
    kvm_msr_entry, kvm_xcrs,
};

use super::KvmVcpu;
use crate::{
    Activity, KvmError, Lapic, Msr, Register, RegisterError, VcpuState, Xsave,
    kvm::{convert, refused},
};

/// The registers that one of KVM's requests reads or writes together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Group {
    Cpu,
    Xcrs,
    Xsave,
    Debug,
    Lapic,
    Activity,
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
    /// Reads everything there is. An access that the last run reported is completed first.
    ///
    /// # Errors
    ///
    /// Whatever KVM refuses.
    pub fn whole_state(&mut self) -> Result<VcpuState, KvmError> {
        self.settle()?;
        let mut state = VcpuState::blank();
        for group in [
            Group::Activity,
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

    /// Replaces everything there is, except registers that only tell the time ([`Msr::is_clock`]).
    ///
    /// Of the other model-specific registers, those that differ are written: some can be read and not written,
    /// and then they have the same value in every state of this vCPU. One that `state` lacks keeps its value.
    ///
    /// # Errors
    ///
    /// [`KvmError::ForeignState`] when `state` has a register that this vCPU does not have; [`KvmError::Incomplete`];
    /// whatever KVM refuses.
    pub fn set_whole_state(&mut self, state: &VcpuState) -> Result<(), KvmError> {
        self.discard()?;
        // The APIC's mode comes with the system registers, so it goes after them; MSRs like the timer's deadline
        // depend on the APIC; events come last because everything else can cancel them.
        for group in [
            Group::Activity,
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
        for (&msr, &value) in state.msrs.iter().filter(|(msr, _)| !msr.is_clock()) {
            match current.get(&msr) {
                Some(&found) if found == value => {}
                Some(_) => changed.push((msr, value)),
                None => return Err(KvmError::ForeignState { msr }),
            }
        }
        self.write_msrs(&changed)?;
        self.store(Group::Events, state)
    }

    /// Reads one register. Of model-specific registers, every one that KVM knows can be read, not only the saved ones.
    ///
    /// # Errors
    ///
    /// [`KvmError::Register`] when there is no such register, [`KvmError::GetMsr`] when there is no such MSR.
    pub fn register(&mut self, register: Register) -> Result<u64, KvmError> {
        self.settle()?;
        let mut state = VcpuState::blank();
        self.load(Group::of(register), &mut state)?;
        state
            .get(register)
            .ok_or(RegisterError::Missing { register }.into())
    }

    /// Writes one register.
    ///
    /// # Errors
    ///
    /// [`KvmError::Register`] when there is no such register or the value is too wide for it, [`KvmError::SetMsr`]
    /// and [`HarnessError::Request`](hv_kvm::HarnessError::Request) when KVM refuses the value.
    pub fn set_register(&mut self, register: Register, value: u64) -> Result<(), KvmError> {
        self.settle()?;
        let group = Group::of(register);
        let mut state = VcpuState::blank();
        self.load(group, &mut state)?;
        state.set(register, value)?;
        self.store(group, &state)
    }

    fn load(&self, group: Group, state: &mut VcpuState) -> Result<(), KvmError> {
        let fd = self.file.fd();
        match group {
            Group::Cpu => {
                let regs = fd.get_regs().map_err(refused("KVM_GET_REGS"))?;
                let sregs = fd.get_sregs().map_err(refused("KVM_GET_SREGS"))?;
                state.cpu = convert::from_kvm(&regs, &sregs);
                state.cr8 = sregs.cr8;
                state.apic_base = sregs.apic_base;
                state.interrupt_bitmap = sregs.interrupt_bitmap;
            }
            Group::Xcrs => {
                let xcrs = fd.get_xcrs().map_err(refused("KVM_GET_XCRS"))?;
                let used = usize::try_from(xcrs.nr_xcrs).unwrap_or(usize::MAX);
                // The FPU alone is what a CPU without XSAVE has.
                state.xcr0 = xcrs
                    .xcrs
                    .iter()
                    .take(used)
                    .find(|xcr| xcr.xcr == 0)
                    .map_or(1, |xcr| xcr.value);
            }
            Group::Xsave => state.xsave = self.read_xsave()?,
            Group::Debug => {
                let debug = fd.get_debug_regs().map_err(refused("KVM_GET_DEBUGREGS"))?;
                (state.dr, state.dr6, state.dr7) = (debug.db, debug.dr6, debug.dr7);
            }
            Group::Lapic => state.lapic = self.read_lapic()?,
            Group::Activity => {
                state.activity = Activity(fd.get_mp_state().map_err(refused("KVM_GET_MP_STATE"))?.mp_state);
            }
            Group::Events => {
                let events = fd.get_vcpu_events().map_err(refused("KVM_GET_VCPU_EVENTS"))?;
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
                let mut sregs = fd.get_sregs().map_err(refused("KVM_GET_SREGS"))?;
                convert::to_sregs(&state.cpu, &mut sregs);
                sregs.cr8 = state.cr8;
                sregs.apic_base = state.apic_base;
                sregs.interrupt_bitmap = state.interrupt_bitmap;
                fd.set_sregs(&sregs).map_err(refused("KVM_SET_SREGS"))?;
                fd.set_regs(&convert::to_regs(&state.cpu))
                    .map_err(refused("KVM_SET_REGS"))
            }
            Group::Xcrs => {
                let mut xcrs = kvm_xcrs {
                    nr_xcrs: 1,
                    ..kvm_xcrs::default()
                };
                if let Some(first) = xcrs.xcrs.first_mut() {
                    first.value = state.xcr0;
                }
                fd.set_xcrs(&xcrs).map_err(refused("KVM_SET_XCRS"))
            }
            Group::Xsave => self.write_xsave(&state.xsave),
            Group::Debug => {
                let debug = kvm_debugregs {
                    db: state.dr,
                    dr6: state.dr6,
                    dr7: state.dr7,
                    ..Default::default()
                };
                fd.set_debug_regs(&debug).map_err(refused("KVM_SET_DEBUGREGS"))
            }
            Group::Lapic => self.write_lapic(&state.lapic),
            Group::Activity => fd
                .set_mp_state(kvm_mp_state {
                    mp_state: state.activity.0,
                })
                .map_err(refused("KVM_SET_MP_STATE")),
            Group::Events => {
                let kernel = fd.get_vcpu_events().map_err(refused("KVM_GET_VCPU_EVENTS"))?;
                fd.set_vcpu_events(&convert::to_events(&state.events, kernel.flags))
                    .map_err(refused("KVM_SET_VCPU_EVENTS"))
            }
            Group::Msr(msr) => {
                let value = state.msrs.get(&msr).copied().ok_or(KvmError::GetMsr { msr })?;
                self.write_msrs(&[(msr, value)])
            }
        }
    }

    pub(super) fn read_lapic(&self) -> Result<Lapic, KvmError> {
        let lapic = self.file.fd().get_lapic().map_err(refused("KVM_GET_LAPIC"))?;
        Ok(Lapic::from_bytes(lapic.regs.map(i8::cast_unsigned)))
    }

    pub(super) fn write_lapic(&self, lapic: &Lapic) -> Result<(), KvmError> {
        let lapic = kvm_lapic_state {
            regs: lapic.as_bytes().map(u8::cast_signed),
        };
        self.file.fd().set_lapic(&lapic).map_err(refused("KVM_SET_LAPIC"))
    }

    fn read_xsave(&self) -> Result<Xsave, KvmError> {
        let Some(extra) = self.extra_xsave_words else {
            let xsave = self.file.fd().get_xsave().map_err(refused("KVM_GET_XSAVE"))?;
            return Ok(Xsave::from_words(xsave.region.to_vec()));
        };
        let mut xsave = new_xsave(extra)?;
        // SAFETY: the area has the size that KVM_CAP_XSAVE2 named when this vCPU existed already; from then on the
        // kernel does not let the process enable further state components for guests.
        unsafe { self.file.fd().get_xsave2(&mut xsave) }.map_err(refused("KVM_GET_XSAVE2"))?;
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
        // SAFETY: `as_mut_fam_struct` asks that the length of the flexible array stays as it is; only `region` is
        // written here.
        let region = unsafe { &mut area.as_mut_fam_struct().xsave.region };
        region.iter_mut().zip(first).for_each(|(to, from)| *to = *from);
        // SAFETY: the area has the size the kernel reads: 4096 bytes on kernels without KVM_CAP_XSAVE2, otherwise the
        // size that capability named when this vCPU existed already, which cannot grow any more.
        unsafe { self.file.fd().set_xsave2(&area) }.map_err(refused("KVM_SET_XSAVE"))
    }

    /// The saved MSRs that this vCPU has. Which ones it has depends on its CPUID table; KVM tells by refusing others.
    fn read_msrs(&self) -> Result<BTreeMap<Msr, u64>, KvmError> {
        let mut values = BTreeMap::new();
        let mut rest = self.machine.msrs.as_slice();
        while !rest.is_empty() {
            let (batch, later) = rest.split_at(rest.len().min(KVM_MAX_MSR_ENTRIES));
            let read = self.read_msr_batch(batch)?;
            let done = read.len();
            values.extend(batch.iter().copied().zip(read));
            // KVM stops at the first one it refuses: go on behind that one.
            rest = if done < batch.len() {
                rest.get(done.saturating_add(1)..).unwrap_or(&[])
            } else {
                later
            };
        }
        Ok(values)
    }

    /// The values of the first `msrs`, up to the first one that KVM refuses.
    fn read_msr_batch(&self, msrs: &[Msr]) -> Result<Vec<u64>, KvmError> {
        let mut request = new_msrs(msrs.iter().take(KVM_MAX_MSR_ENTRIES).map(|&msr| (msr, 0)))?;
        let read = self
            .file
            .fd()
            .get_msrs(&mut request)
            .map_err(refused("KVM_GET_MSRS"))?;
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
                .map_err(refused("KVM_SET_MSRS"))?;
            // KVM stops at the first one it refuses.
            if let Some(&(msr, value)) = batch.get(written) {
                return Err(KvmError::SetMsr { msr, value });
            }
        }
        Ok(())
    }
}

fn new_xsave(extra_words: usize) -> Result<KvmXsave, KvmError> {
    // A size that does not fit is the only thing that can be wrong with it.
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
