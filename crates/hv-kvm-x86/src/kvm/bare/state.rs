//! Capture and rewind of a vCPU's state.
#![expect(unsafe_code, reason = "reads the union of registers in `struct kvm_run`")]

use kvm_bindings::{
    KVM_SYNC_X86_VALID_FIELDS, kvm_debugregs, kvm_mp_state, kvm_regs, kvm_run__bindgen_ty_2, kvm_sregs,
    kvm_sync_regs,
};

use crate::{
    KvmError, MpState, Msr, VcpuEvents, Xsave,
    kvm::{convert, entry::VcpuEntry, groups, msrs, request::failed_request, xsave},
};

/// Captured state of a [`KvmBareVcpu`](super::KvmBareVcpu): all registers that its guest can change. Clocks are not part of it.
#[derive(Clone, Debug, PartialEq)]
pub struct BareState {
    pub(super) regs: kvm_regs,
    pub(super) sregs: kvm_sregs,
    pub(super) events: VcpuEvents,
    pub(super) xcr0: u64,
    pub(super) xsave: Xsave,
    pub(super) dr: [u64; 4],
    pub(super) dr6: u64,
    pub(super) dr7: u64,
    pub(super) mp_state: MpState,
    /// In ascending order.
    pub(super) msrs: Vec<(Msr, u64)>,
}

impl Default for BareState {
    fn default() -> Self {
        Self {
            regs: kvm_regs::default(),
            sregs: kvm_sregs::default(),
            events: VcpuEvents::default(),
            xcr0: 1,
            xsave: Xsave::from_words(Vec::new()),
            dr: [0; 4],
            dr6: 0,
            dr7: 0,
            mp_state: MpState::RUNNABLE,
            msrs: Vec::new(),
        }
    }
}

impl BareState {
    /// Value of a model-specific register; `None` for those that are not part of the state.
    #[must_use]
    pub fn msr(&self, msr: Msr) -> Option<u64> {
        let found = self.msrs.binary_search_by_key(&msr, |&(msr, _)| msr).ok();
        found.and_then(|at| self.msrs.get(at)).map(|&(_, value)| value)
    }

    /// Address of the next instruction.
    #[must_use]
    pub fn rip(&self) -> u64 {
        self.regs.rip
    }
}

/// Which registers a vCPU has, and how they are read and written.
#[derive(Debug, Default)]
pub(super) struct Registers {
    /// `struct kvm_run` carries registers, system registers and events (`KVM_CAP_SYNC_REGS`).
    pub(super) has_sync: bool,
    /// Result of [`xsave::extra_words`].
    pub(super) extra_xsave_words: Option<usize>,
    /// Optional parts of `struct kvm_vcpu_events` that this kernel has.
    pub(super) event_flags: u32,
    /// MSRs of a captured state, in ascending order.
    pub(super) msrs: Vec<Msr>,
}

impl Registers {
    /// Completes the I/O of the last exit and captures the state.
    pub(super) fn capture(&self, entry: &mut VcpuEntry) -> Result<BareState, KvmError> {
        apply_deferred(entry)?;
        let kvm_sync_regs { regs, sregs, events } = if self.has_sync && entry.is_io_pending() {
            // The run that completes the I/O also stores the registers.
            entry.kvm_run().kvm_valid_regs = KVM_SYNC_X86_VALID_FIELDS.into();
            let completed = entry.complete_io();
            entry.kvm_run().kvm_valid_regs = 0;
            completed?;
            // SAFETY: the union has one structure of integers, and padding of the same size.
            unsafe { entry.kvm_run().s.regs }
        } else {
            entry.complete_io()?;
            let fd = entry.fd();
            kvm_sync_regs {
                regs: fd.get_regs().map_err(failed_request("KVM_GET_REGS"))?,
                sregs: fd.get_sregs().map_err(failed_request("KVM_GET_SREGS"))?,
                events: fd
                    .get_vcpu_events()
                    .map_err(failed_request("KVM_GET_VCPU_EVENTS"))?,
            }
        };
        if entry.is_unreported() {
            return Err(KvmError::IoIncomplete);
        }
        let fd = entry.fd();
        let debug = fd.get_debug_regs().map_err(failed_request("KVM_GET_DEBUGREGS"))?;
        let mp_state = fd.get_mp_state().map_err(failed_request("KVM_GET_MP_STATE"))?;
        Ok(BareState {
            regs,
            sregs,
            events: convert::from_events(&events),
            xcr0: groups::read_xcr0(fd)?,
            xsave: xsave::read(fd, self.extra_xsave_words)?,
            dr: debug.db,
            dr6: debug.dr6,
            dr7: debug.dr7,
            mp_state: MpState(mp_state.mp_state),
            msrs: msrs::read_all(fd, &self.msrs)?.into_iter().collect(),
        })
    }

    /// Discards the I/O of the last exit and makes the next run continue from `state`. `flush`: flushes cached translations. `is_runnable`:
    /// the vCPU executed instructions until its last exit, so its run state is that of a captured vCPU.
    pub(super) fn rewind(
        &self,
        entry: &mut VcpuEntry,
        state: &BareState,
        flush: bool,
        is_runnable: bool,
    ) -> Result<(), KvmError> {
        if state.msrs.len() != self.msrs.len() {
            return Err(KvmError::OtherState);
        }
        entry.abort_io()?;
        let fd = entry.fd();
        if flush {
            // KVM flushes the guest's translations when CR3 changes. Of this and the write of `state`, at least one changes it.
            let mut sregs = state.sregs;
            sregs.cr3 ^= 0x1000;
            fd.set_sregs(&sregs).map_err(failed_request("KVM_SET_SREGS"))?;
        }
        if !(is_runnable && state.mp_state == MpState::RUNNABLE) {
            let mp_state = state.mp_state.0;
            fd.set_mp_state(kvm_mp_state { mp_state })
                .map_err(failed_request("KVM_SET_MP_STATE"))?;
        }
        // The components that an XSAVE area may have depend on XCR0.
        groups::write_xcr0(fd, state.xcr0)?;
        xsave::write(fd, self.extra_xsave_words, &state.xsave)?;
        let debug = kvm_debugregs {
            db: state.dr,
            dr6: state.dr6,
            dr7: state.dr7,
            ..kvm_debugregs::default()
        };
        fd.set_debug_regs(&debug)
            .map_err(failed_request("KVM_SET_DEBUGREGS"))?;
        msrs::write(fd, &state.msrs)?;
        let regs = kvm_sync_regs {
            regs: state.regs,
            sregs: state.sregs,
            events: convert::to_events(&state.events, self.event_flags),
        };
        let run = entry.kvm_run();
        // Without a local APIC in the kernel, every run takes CR8 from here.
        run.cr8 = state.sregs.cr8;
        if self.has_sync {
            run.s = kvm_run__bindgen_ty_2 { regs };
            run.kvm_dirty_regs = KVM_SYNC_X86_VALID_FIELDS.into();
            Ok(())
        } else {
            write(entry, &regs)
        }
    }
}

/// Writes registers that the next run would take from `struct kvm_run`, for code that accesses them before.
pub(super) fn apply_deferred(entry: &mut VcpuEntry) -> Result<(), KvmError> {
    let run = entry.kvm_run();
    if std::mem::take(&mut run.kvm_dirty_regs) == 0 {
        return Ok(());
    }
    // SAFETY: the union has one structure of integers, and padding of the same size.
    let regs = unsafe { run.s.regs };
    write(entry, &regs)
}

/// Writes registers, system registers and events, in the order in which a run takes them from `struct kvm_run`.
fn write(entry: &VcpuEntry, regs: &kvm_sync_regs) -> Result<(), KvmError> {
    let fd = entry.fd();
    fd.set_regs(&regs.regs).map_err(failed_request("KVM_SET_REGS"))?;
    fd.set_sregs(&regs.sregs)
        .map_err(failed_request("KVM_SET_SREGS"))?;
    fd.set_vcpu_events(&regs.events)
        .map_err(failed_request("KVM_SET_VCPU_EVENTS"))
}
