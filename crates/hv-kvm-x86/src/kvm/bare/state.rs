//! Capture and rewind of a vCPU's state.
#![expect(unsafe_code, reason = "reads the union of registers in `struct kvm_run`")]

use std::sync::Arc;

use boot_core::cpu::x86_64::{cr0, cr4};
use hv_core::RegisterImage;
use kvm_bindings::{
    KVM_SYNC_X86_VALID_FIELDS, kvm_debugregs, kvm_mp_state, kvm_regs, kvm_run__bindgen_ty_2, kvm_sregs,
    kvm_sync_regs,
};
use kvm_ioctls::VcpuFd;

use crate::{
    KvmError, MpState, Msr, VcpuEvents, Xsave,
    kvm::{convert, entry::VcpuEntry, groups, msrs, request::failed_request, xsave},
    rewind::ImageRegisters,
};

/// Captured state of a [`KvmBareVcpu`](super::KvmBareVcpu): all registers that its guest can change. Clocks are not part of it.
#[derive(Clone, Debug, PartialEq)]
pub struct BareState {
    pub(super) regs: kvm_regs,
    pub(super) sregs: kvm_sregs,
    pub(super) events: VcpuEvents,
    pub(super) xcr0: u64,
    /// Shared, because vCPUs keep it until their next run.
    pub(super) xsave: Arc<Xsave>,
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
            xsave: Arc::new(Xsave::from_words(Vec::new())),
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

    /// Whether the rewind code can load the state.
    #[must_use]
    pub fn is_loadable(&self) -> bool {
        const TF: u64 = 1 << 8;
        let enabled = cr4::OSXSAVE | cr4::FSGSBASE;
        self.sregs.cr4 & enabled == enabled
            && self.sregs.cr0 & cr0::TS == 0
            && self.regs.rflags & TF == 0
            && self.mp_state == MpState::RUNNABLE
    }

    /// Whether the debug registers are those of `other`.
    pub(super) fn has_debug_of(&self, other: &Self) -> bool {
        (self.dr, self.dr6, self.dr7) == (other.dr, other.dr6, other.dr7)
    }

    /// The image for the rewind code; empty if it cannot load the state.
    pub(super) fn image(&self) -> RegisterImage {
        if !self.is_loadable() {
            return RegisterImage::default();
        }
        let registers = ImageRegisters {
            general: [self.regs.rip, self.regs.rax, self.regs.rcx, self.regs.rdx],
            xcr0: self.xcr0,
            kernel_gs_base: self.msr(Msr::KERNEL_GS_BASE).unwrap_or(0),
            xsave: &self.xsave,
        };
        RegisterImage(registers.image())
    }
}

/// Registers of a [`BareState`] that the rewind code loads.
#[derive(Clone, Debug)]
pub(super) struct Unloaded {
    rip: u64,
    xcr0: u64,
    xsave: Arc<Xsave>,
    kernel_gs_base: Option<u64>,
}

/// How a rewind is done.
#[derive(Clone, Copy, Debug)]
pub(super) struct RewindOptions {
    /// Cached translations are flushed.
    pub(super) flush: bool,
    /// The run state of the vCPU is [`MpState::RUNNABLE`].
    pub(super) is_runnable: bool,
    /// The debug registers are those of the state.
    pub(super) has_debug: bool,
    /// Address of the rewind code.
    pub(super) code: Option<u64>,
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
    /// Completes the I/O of the last exit and captures the state, after [`settle`](Self::settle).
    pub(super) fn capture(&self, entry: &mut VcpuEntry) -> Result<BareState, KvmError> {
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
            xsave: Arc::new(xsave::read(fd, self.extra_xsave_words)?),
            dr: debug.db,
            dr6: debug.dr6,
            dr7: debug.dr7,
            mp_state: MpState(mp_state.mp_state),
            msrs: msrs::read_all(fd, &self.msrs)?.into_iter().collect(),
        })
    }

    /// Discards the I/O of the last exit and makes the next run continue from `state`. Returns what the guest loads in this run.
    pub(super) fn rewind(
        &self,
        entry: &mut VcpuEntry,
        state: &BareState,
        options: RewindOptions,
    ) -> Result<Option<Unloaded>, KvmError> {
        if state.msrs.len() != self.msrs.len() {
            return Err(KvmError::OtherState);
        }
        entry.abort_io()?;
        let fd = entry.fd();
        if options.flush {
            // KVM flushes the guest's translations when CR3 changes. Of this and the write of `state`, at least one changes it.
            let mut sregs = state.sregs;
            sregs.cr3 ^= 0x1000;
            fd.set_sregs(&sregs).map_err(failed_request("KVM_SET_SREGS"))?;
        }
        if !(options.is_runnable && state.mp_state == MpState::RUNNABLE) {
            let mp_state = state.mp_state.0;
            fd.set_mp_state(kvm_mp_state { mp_state })
                .map_err(failed_request("KVM_SET_MP_STATE"))?;
        }
        let code = options.code.filter(|_| self.has_sync && state.is_loadable());
        if code.is_none() {
            self.write_components(fd, state.xcr0, &state.xsave)?;
        }
        if !options.has_debug {
            let debug = kvm_debugregs {
                db: state.dr,
                dr6: state.dr6,
                dr7: state.dr7,
                ..kvm_debugregs::default()
            };
            fd.set_debug_regs(&debug)
                .map_err(failed_request("KVM_SET_DEBUGREGS"))?;
        }
        // Without access to MSRs, the guest can change one of them only, which the code loads.
        if code.is_none() || self.msrs.len() > 1 {
            msrs::write(fd, &state.msrs)?;
        }
        let regs = kvm_sync_regs {
            regs: kvm_regs {
                rip: code.unwrap_or(state.regs.rip),
                ..state.regs
            },
            sregs: state.sregs,
            events: convert::to_events(&state.events, self.event_flags),
        };
        let run = entry.kvm_run();
        // Without a local APIC in the kernel, every run takes CR8 from here.
        run.cr8 = state.sregs.cr8;
        if self.has_sync {
            run.s = kvm_run__bindgen_ty_2 { regs };
            run.kvm_dirty_regs = KVM_SYNC_X86_VALID_FIELDS.into();
        } else {
            write(entry, &regs)?;
        }
        Ok(code.map(|_| Unloaded {
            rip: state.regs.rip,
            xcr0: state.xcr0,
            xsave: Arc::clone(&state.xsave),
            kernel_gs_base: state.msr(Msr::KERNEL_GS_BASE),
        }))
    }

    /// Writes `XCR0` and the state components.
    fn write_components(&self, fd: &VcpuFd, xcr0: u64, area: &Xsave) -> Result<(), KvmError> {
        // The components that an XSAVE area may have depend on XCR0.
        groups::write_xcr0(fd, xcr0)?;
        xsave::write(fd, self.extra_xsave_words, area)
    }

    /// Writes the registers that the next run would take from `struct kvm_run` or load inside the guest, for code that accesses them before.
    pub(super) fn settle(&self, entry: &mut VcpuEntry, unloaded: Option<Unloaded>) -> Result<(), KvmError> {
        apply_deferred(entry, unloaded.as_ref().map(|unloaded| unloaded.rip))?;
        let Some(unloaded) = unloaded else { return Ok(()) };
        let fd = entry.fd();
        self.write_components(fd, unloaded.xcr0, &unloaded.xsave)?;
        let base = unloaded.kernel_gs_base.map(|base| (Msr::KERNEL_GS_BASE, base));
        msrs::write(fd, base.as_slice())
    }
}

/// Writes registers that the next run would take from `struct kvm_run`, with `rip` as the address of the next instruction.
fn apply_deferred(entry: &mut VcpuEntry, rip: Option<u64>) -> Result<(), KvmError> {
    let run = entry.kvm_run();
    if std::mem::take(&mut run.kvm_dirty_regs) == 0 {
        return Ok(());
    }
    // SAFETY: the union has one structure of integers, and padding of the same size.
    let mut regs = unsafe { run.s.regs };
    regs.regs.rip = rip.unwrap_or(regs.regs.rip);
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
