//! Entry of the guest, exits that are specific to x86, and completion of pending I/O.
#![expect(
    unsafe_code,
    reason = "reads the unions of `struct kvm_run` and the I/O data after it"
)]

use std::{slice, sync::Arc};

use boot_core::{
    Arch, CpuState,
    cpu::x86_64::{State, apic_base},
};
use hv_core::{DebugCause, DebugStop, Fault, VcpuExit, VcpuKicker};
use hv_kvm::{HarnessError, RunStatus, VcpuFile, exit_reason};
use hv_kvm_regs::x86_64;
use kvm_bindings::{
    KVM_EXIT_DEBUG, KVM_EXIT_HLT, KVM_EXIT_INTERNAL_ERROR, KVM_EXIT_IO, KVM_EXIT_IO_IN, KVM_EXIT_SHUTDOWN,
    kvm_run,
};
use kvm_ioctls::VcpuFd;

use super::request::failed_request;
use crate::KvmError;

/// File descriptor of a vCPU with the state of its pending I/O.
#[derive(Debug)]
pub(super) struct VcpuEntry {
    file: VcpuFile,
    /// Size of the mapping that starts with `struct kvm_run`, in bytes.
    run_size: usize,
    /// Completion of pending I/O caused a further exit, which the next `run` reports.
    unreported: bool,
    /// Debug exceptions were requested.
    pub(super) is_debugged: bool,
}

impl VcpuEntry {
    /// Wraps the descriptor of a vCPU that has not run yet, of a machine with this size of `struct kvm_run` and the data after it.
    pub(super) fn new(fd: VcpuFd, run_size: usize) -> Result<Self, KvmError> {
        Ok(Self {
            file: VcpuFile::new(fd)?,
            run_size,
            unreported: false,
            is_debugged: false,
        })
    }

    pub(super) fn fd(&self) -> &VcpuFd {
        self.file.fd()
    }

    pub(super) fn kvm_run(&mut self) -> &mut kvm_run {
        self.file.kvm_run()
    }

    pub(super) fn is_io_pending(&self) -> bool {
        self.file.is_io_pending()
    }

    /// Whether the next [`run`](Self::run) reports a further access of the last instruction.
    pub(super) fn is_unreported(&self) -> bool {
        self.unreported
    }

    pub(super) fn kicker(&self) -> Arc<dyn VcpuKicker> {
        self.file.kicker()
    }

    /// Runs guest code until an exit.
    pub(super) fn run(&mut self) -> Result<VcpuExit<'_>, KvmError> {
        if std::mem::take(&mut self.unreported) {
            return Ok(self.decode());
        }
        Ok(match self.file.run().map_err(failed_request("KVM_RUN"))? {
            RunStatus::Exit(_) => self.decode(),
            RunStatus::Interrupted => VcpuExit::Interrupted,
            RunStatus::Fault(fault) => VcpuExit::Fault(*fault),
        })
    }

    /// Completes the I/O of the last exit and reads the registers of a boot state.
    pub(super) fn state(&mut self) -> Result<State, KvmError> {
        self.complete_io()?;
        let regs = self.fd().get_regs().map_err(failed_request("KVM_GET_REGS"))?;
        let sregs = self.fd().get_sregs().map_err(failed_request("KVM_GET_SREGS"))?;
        Ok(x86_64::state(&regs, &sregs))
    }

    /// Discards the I/O of the last exit and writes the registers of a boot state.
    pub(super) fn set_state(&mut self, state: &CpuState) -> Result<(), KvmError> {
        let CpuState::X86_64(state) = state else {
            let (expected, found) = (Arch::X86_64, state.arch());
            return Err(HarnessError::ArchMismatch { expected, found }.into());
        };
        self.abort_io()?;
        let mut sregs = self.fd().get_sregs().map_err(failed_request("KVM_GET_SREGS"))?;
        // Which vCPU is the bootstrap processor is a property of the machine.
        let bsp = sregs.apic_base & apic_base::BSP;
        x86_64::write_sregs(state, &mut sregs);
        sregs.apic_base = sregs.apic_base & !apic_base::BSP | bsp;
        self.fd()
            .set_sregs(&sregs)
            .map_err(failed_request("KVM_SET_SREGS"))?;
        self.fd()
            .set_regs(&x86_64::regs(state))
            .map_err(failed_request("KVM_SET_REGS"))
    }

    /// Completes the I/O of the last exit without the execution of further instructions.
    ///
    /// If the instruction has a further access, the next `run` reports it.
    pub(super) fn complete_io(&mut self) -> Result<(), KvmError> {
        if !self.unreported {
            let entry = self.file.complete_io().map_err(failed_request("KVM_RUN"))?;
            self.unreported = matches!(entry, Some(RunStatus::Exit(_)));
        }
        Ok(())
    }

    /// Completes all I/O of the instruction of the last exit and discards the results. The caller replaces the state next.
    pub(super) fn abort_io(&mut self) -> Result<(), KvmError> {
        // Upper limit for the accesses of one instruction; a repeated string instruction ends when its count is zero.
        const MAX_ACCESSES: usize = 64;
        for _ in 0..MAX_ACCESSES {
            self.unreported = false;
            self.complete_io()?;
            if !self.file.is_io_pending() {
                return Ok(());
            }
            let mut regs = self
                .file
                .fd()
                .get_regs()
                .map_err(failed_request("KVM_GET_REGS"))?;
            regs.rcx = 0;
            self.file
                .fd()
                .set_regs(&regs)
                .map_err(failed_request("KVM_SET_REGS"))?;
        }
        Err(KvmError::IoIncomplete)
    }

    /// Decodes the exit in `struct kvm_run`.
    fn decode(&mut self) -> VcpuExit<'_> {
        match self.file.kvm_run().exit_reason {
            KVM_EXIT_IO => self.decode_pio(),
            KVM_EXIT_HLT => VcpuExit::Halt,
            KVM_EXIT_SHUTDOWN => VcpuExit::Fault(Fault::Shutdown),
            KVM_EXIT_DEBUG => {
                // SAFETY: the exit reason selects this field of the union, and its fields are integers.
                let arch = unsafe { self.file.kvm_run().__bindgen_anon_1.debug }.arch;
                if self.is_debugged {
                    let cause = debug_cause(arch.exception, arch.dr6);
                    VcpuExit::Debug(DebugStop::new(arch.pc, cause))
                } else {
                    VcpuExit::Fault(Fault::Debug {
                        pc: arch.pc,
                        exception: arch.exception,
                    })
                }
            }
            KVM_EXIT_INTERNAL_ERROR => {
                let pc = self.file.fd().get_regs().ok().map(|regs| regs.rip);
                VcpuExit::Fault(self.file.internal_error(pc))
            }
            _ => self.file.decode(),
        }
    }

    fn decode_pio(&mut self) -> VcpuExit<'_> {
        let run_size = self.run_size;
        let run = self.file.kvm_run();
        // SAFETY: the exit reason selects this field of the union, and its fields are integers.
        let io = unsafe { run.__bindgen_anon_1.io };
        let run: *mut kvm_run = run;
        let len = usize::from(io.size).saturating_mul(usize::try_from(io.count).unwrap_or(usize::MAX));
        let offset = usize::try_from(io.data_offset).unwrap_or(usize::MAX);
        if offset < size_of::<kvm_run>() || offset.checked_add(len).is_none_or(|end| end > run_size) {
            return exit_reason::unsupported(KVM_EXIT_IO);
        }
        // SAFETY: `struct kvm_run` is the start of a mapping of `run_size` bytes that lives as long as `self.file`, and
        // `offset` lies in it.
        let first = unsafe { run.cast::<u8>().add(offset) };
        // SAFETY: `len` bytes from `first` lie in that mapping after `struct kvm_run`, so no other reference covers them.
        // The kernel accesses them only during KVM_RUN, and the result borrows `self`. All byte values are valid.
        let data = unsafe { slice::from_raw_parts_mut(first, len) };
        if u32::from(io.direction) == KVM_EXIT_IO_IN {
            VcpuExit::IoRead {
                port: io.port,
                size: io.size,
                data,
            }
        } else {
            VcpuExit::IoWrite {
                port: io.port,
                size: io.size,
                data,
            }
        }
    }
}

/// Cause of the debug exit with this exception and `DR6` (SDM 3B, "Debug Status Register (DR6)").
fn debug_cause(exception: u32, dr6: u64) -> DebugCause {
    const DEBUG: u32 = 1;
    const BREAKPOINT: u32 = 3;
    const SINGLE_STEP: u64 = 1 << 14;
    let hit = (0..4).find(|index| dr6 >> index & 1 != 0);
    match (exception, hit) {
        (BREAKPOINT, _) => DebugCause::Breakpoint,
        (DEBUG, Some(index)) => DebugCause::Hardware(index),
        (DEBUG, None) if dr6 & SINGLE_STEP != 0 => DebugCause::Step,
        _ => DebugCause::Other(exception),
    }
}
