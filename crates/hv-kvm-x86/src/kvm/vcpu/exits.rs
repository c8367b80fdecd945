//! What the kernel says when it comes back from the guest, as far as it is particular to x86.
#![expect(
    unsafe_code,
    reason = "reads the unions of the kernel's run structure and the data behind it"
)]

use std::slice;

use hv_core::{Exit, Fault};
use hv_kvm::{Entry, exit_reason};
use kvm_bindings::{
    KVM_EXIT_DEBUG, KVM_EXIT_HLT, KVM_EXIT_INTERNAL_ERROR, KVM_EXIT_IO, KVM_EXIT_IO_IN, KVM_EXIT_SHUTDOWN,
    kvm_run,
};

use super::KvmVcpu;
use crate::{KvmError, kvm::refused};

impl KvmVcpu {
    /// Lets the kernel finish the access of the last exit, without running any further instruction.
    ///
    /// An instruction may consist of several accesses. Then the next one is kept for the next `run`.
    pub(super) fn settle(&mut self) -> Result<(), KvmError> {
        if !self.unreported {
            let entry = self.file.settle().map_err(refused("KVM_RUN"))?;
            self.unreported = matches!(entry, Some(Entry::Exit(_)));
        }
        Ok(())
    }

    /// Brings the instruction of the last exit to its end, whatever becomes of it: the state is replaced next.
    pub(super) fn discard(&mut self) -> Result<(), KvmError> {
        // Enough for the parts of the longest access; a repeated string instruction ends when its count is zero.
        const PARTS: usize = 64;
        for _ in 0..PARTS {
            self.unreported = false;
            self.settle()?;
            if !self.file.is_pending() {
                return Ok(());
            }
            let mut regs = self.file.fd().get_regs().map_err(refused("KVM_GET_REGS"))?;
            regs.rcx = 0;
            self.file.fd().set_regs(&regs).map_err(refused("KVM_SET_REGS"))?;
        }
        Err(KvmError::Incomplete)
    }

    /// The exit that stands in the run structure.
    pub(super) fn decode(&mut self) -> Exit<'_> {
        match self.file.kvm_run().exit_reason {
            KVM_EXIT_IO => self.decode_pio(),
            KVM_EXIT_HLT => Exit::Halt,
            KVM_EXIT_SHUTDOWN => Exit::Fault(Fault::Shutdown),
            KVM_EXIT_DEBUG => {
                // SAFETY: the reason says that this is the union's valid field, and its parts are plain numbers.
                let arch = unsafe { self.file.kvm_run().__bindgen_anon_1.debug }.arch;
                Exit::Fault(Fault::Debug {
                    pc: arch.pc,
                    exception: arch.exception,
                })
            }
            KVM_EXIT_INTERNAL_ERROR => {
                let pc = self.file.fd().get_regs().ok().map(|regs| regs.rip);
                Exit::Fault(self.file.internal_error(pc))
            }
            _ => self.file.decode(),
        }
    }

    fn decode_pio(&mut self) -> Exit<'_> {
        let run_size = self.machine.file.fd().run_size();
        let run = self.file.kvm_run();
        // SAFETY: the reason says that this is the union's valid field, and its parts are plain numbers.
        let io = unsafe { run.__bindgen_anon_1.io };
        let run: *mut kvm_run = run;
        let len = usize::from(io.size).saturating_mul(usize::try_from(io.count).unwrap_or(usize::MAX));
        let offset = usize::try_from(io.data_offset).unwrap_or(usize::MAX);
        if offset < size_of::<kvm_run>() || offset.checked_add(len).is_none_or(|end| end > run_size) {
            return exit_reason::unsupported(KVM_EXIT_IO);
        }
        // SAFETY: the run structure is the start of a mapping of `run_size` bytes that lives as long as `self.file`, and
        // `offset` lies in it.
        let first = unsafe { run.cast::<u8>().add(offset) };
        // SAFETY: `len` bytes from `first` lie in that mapping, behind the run structure, so no other reference
        // covers them; the result borrows `self`, so the kernel, which accesses them during KVM_RUN only, does not
        // meanwhile. Any bytes are valid.
        let data = unsafe { slice::from_raw_parts_mut(first, len) };
        if u32::from(io.direction) == KVM_EXIT_IO_IN {
            Exit::IoRead {
                port: io.port,
                size: io.size,
                data,
            }
        } else {
            Exit::IoWrite {
                port: io.port,
                size: io.size,
                data,
            }
        }
    }
}
