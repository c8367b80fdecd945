//! Exits that are specific to x86, and completion of pending I/O.
#![expect(
    unsafe_code,
    reason = "reads the unions of `struct kvm_run` and the I/O data after it"
)]

use std::slice;

use hv_core::{Fault, VcpuExit};
use hv_kvm::{RunStatus, exit_reason};
use kvm_bindings::{
    KVM_EXIT_DEBUG, KVM_EXIT_HLT, KVM_EXIT_INTERNAL_ERROR, KVM_EXIT_IO, KVM_EXIT_IO_IN, KVM_EXIT_SHUTDOWN,
    kvm_run,
};

use super::KvmVcpu;
use crate::{KvmError, kvm::request::failed_request};

impl KvmVcpu {
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
    pub(super) fn decode(&mut self) -> VcpuExit<'_> {
        match self.file.kvm_run().exit_reason {
            KVM_EXIT_IO => self.decode_pio(),
            KVM_EXIT_HLT => VcpuExit::Halt,
            KVM_EXIT_SHUTDOWN => VcpuExit::Fault(Fault::Shutdown),
            KVM_EXIT_DEBUG => {
                // SAFETY: the exit reason selects this field of the union, and its fields are integers.
                let arch = unsafe { self.file.kvm_run().__bindgen_anon_1.debug }.arch;
                VcpuExit::Fault(Fault::Debug {
                    pc: arch.pc,
                    exception: arch.exception,
                })
            }
            KVM_EXIT_INTERNAL_ERROR => {
                let pc = self.file.fd().get_regs().ok().map(|regs| regs.rip);
                VcpuExit::Fault(self.file.internal_error(pc))
            }
            _ => self.file.decode(),
        }
    }

    fn decode_pio(&mut self) -> VcpuExit<'_> {
        let run_size = self.machine.file.fd().run_size();
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
