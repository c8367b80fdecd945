//! Entering the kernel, and what it says when it comes back.
#![expect(
    unsafe_code,
    reason = "reads the unions of the kernel's run structure and the data behind it"
)]

use std::slice;

use hv_core::{Exit, Fault, SystemEvent};
use kvm_bindings::{
    KVM_EXIT_DEBUG, KVM_EXIT_FAIL_ENTRY, KVM_EXIT_HLT, KVM_EXIT_INTERNAL_ERROR, KVM_EXIT_INTR, KVM_EXIT_IO,
    KVM_EXIT_IO_IN, KVM_EXIT_MMIO, KVM_EXIT_SHUTDOWN, KVM_EXIT_SYSTEM_EVENT, KVM_SYSTEM_EVENT_CRASH,
    KVM_SYSTEM_EVENT_RESET, KVM_SYSTEM_EVENT_SHUTDOWN, kvm_run,
};
use kvm_ioctls::VcpuExit;

use super::KvmVcpu;
use crate::{KvmError, exit_reason, kvm::refused};

/// How one entry into the kernel ended.
pub(super) enum Entry {
    /// With an exit that stands in the run structure.
    Exit,
    /// By a signal, or because the vCPU has not been started yet.
    Interrupted,
    /// Guest memory could not be accessed.
    MemoryFault(Fault),
}

impl KvmVcpu {
    /// Enters the kernel once.
    pub(super) fn enter(&mut self) -> Result<Entry, KvmError> {
        let entry = match self.fd.run() {
            Ok(VcpuExit::MemoryFault { flags, gpa, size }) => Entry::MemoryFault(Fault::MemoryFault {
                address: gpa,
                len: size,
                flags,
            }),
            Ok(_) => Entry::Exit,
            // EAGAIN: a secondary vCPU got INIT, and still waits for SIPI.
            Err(error) if matches!(error.errno(), libc::EINTR | libc::EAGAIN) => Entry::Interrupted,
            Err(error) => return Err(refused("KVM_RUN")(error)),
        };
        let reason = self.fd.get_kvm_run().exit_reason;
        self.pending = matches!(entry, Entry::Exit) && matches!(reason, KVM_EXIT_IO | KVM_EXIT_MMIO);
        Ok(entry)
    }

    /// Lets the kernel finish the access of the last exit, without running any further instruction.
    ///
    /// An instruction may consist of several accesses. Then the next one is kept for the next `run`.
    pub(super) fn settle(&mut self) -> Result<(), KvmError> {
        if !self.pending || self.unreported {
            return Ok(());
        }
        self.fd.set_kvm_immediate_exit(1);
        let entry = self.enter();
        self.fd.set_kvm_immediate_exit(0);
        self.unreported = matches!(entry?, Entry::Exit);
        Ok(())
    }

    /// Brings the instruction of the last exit to its end, whatever becomes of it: the state is replaced next.
    pub(super) fn discard(&mut self) -> Result<(), KvmError> {
        // Enough for the parts of the longest access; a repeated string instruction ends when its count is zero.
        const PARTS: usize = 64;
        for _ in 0..PARTS {
            self.unreported = false;
            self.settle()?;
            if !self.pending {
                return Ok(());
            }
            let mut regs = self.fd.get_regs().map_err(refused("KVM_GET_REGS"))?;
            regs.rcx = 0;
            self.fd.set_regs(&regs).map_err(refused("KVM_SET_REGS"))?;
        }
        Err(KvmError::Incomplete)
    }

    /// The exit that stands in the run structure.
    pub(super) fn decode(&mut self) -> Exit<'_> {
        let reason = self.fd.get_kvm_run().exit_reason;
        match reason {
            KVM_EXIT_IO => return self.decode_pio(),
            KVM_EXIT_INTERNAL_ERROR => return Exit::Fault(self.decode_internal_error()),
            _ => {}
        }
        let run = self.fd.get_kvm_run();
        match reason {
            KVM_EXIT_MMIO => {
                // SAFETY: the reason says that this is the union's valid field, and its parts are plain numbers.
                let mmio = unsafe { &mut run.__bindgen_anon_1.mmio };
                let len = usize::try_from(mmio.len)
                    .unwrap_or(usize::MAX)
                    .min(mmio.data.len());
                let (data, _) = mmio.data.split_at_mut(len);
                if mmio.is_write != 0 {
                    Exit::MmioWrite {
                        address: mmio.phys_addr,
                        data,
                    }
                } else {
                    Exit::MmioRead {
                        address: mmio.phys_addr,
                        data,
                    }
                }
            }
            KVM_EXIT_HLT => Exit::Halt,
            KVM_EXIT_SHUTDOWN => Exit::Fault(Fault::Shutdown),
            KVM_EXIT_FAIL_ENTRY => {
                // SAFETY: as above.
                let fail = unsafe { run.__bindgen_anon_1.fail_entry };
                Exit::Fault(Fault::EntryFailed {
                    reason: fail.hardware_entry_failure_reason,
                    cpu: fail.cpu,
                })
            }
            KVM_EXIT_DEBUG => {
                // SAFETY: as above.
                let arch = unsafe { run.__bindgen_anon_1.debug }.arch;
                Exit::Fault(Fault::Debug {
                    pc: arch.pc,
                    exception: arch.exception,
                })
            }
            KVM_EXIT_SYSTEM_EVENT => {
                // SAFETY: as above.
                let kind = unsafe { run.__bindgen_anon_1.system_event }.type_;
                Exit::System(match kind {
                    KVM_SYSTEM_EVENT_SHUTDOWN => SystemEvent::PowerOff,
                    KVM_SYSTEM_EVENT_RESET => SystemEvent::Reset,
                    KVM_SYSTEM_EVENT_CRASH => SystemEvent::Crash,
                    kind => SystemEvent::Other(kind),
                })
            }
            KVM_EXIT_INTR => Exit::Interrupted,
            reason => Exit::Fault(Fault::Unsupported {
                reason,
                name: exit_reason::name(reason),
            }),
        }
    }

    fn decode_pio(&mut self) -> Exit<'_> {
        let run_size = self.machine.fd.run_size();
        let run = self.fd.get_kvm_run();
        // SAFETY: the reason says that this is the union's valid field, and its parts are plain numbers.
        let io = unsafe { run.__bindgen_anon_1.io };
        let run: *mut kvm_run = run;
        let len = usize::from(io.size).saturating_mul(usize::try_from(io.count).unwrap_or(usize::MAX));
        let offset = usize::try_from(io.data_offset).unwrap_or(usize::MAX);
        if offset < size_of::<kvm_run>() || offset.checked_add(len).is_none_or(|end| end > run_size) {
            return Exit::Fault(Fault::Unsupported {
                reason: KVM_EXIT_IO,
                name: exit_reason::name(KVM_EXIT_IO),
            });
        }
        // SAFETY: the run structure is the start of a mapping of `run_size` bytes that lives as long as `self.fd`, and
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

    fn decode_internal_error(&mut self) -> Fault {
        let pc = self.fd.get_regs().ok().map(|regs| regs.rip);
        // SAFETY: the reason says that this is the union's valid field, and its parts are plain numbers.
        let internal = unsafe { self.fd.get_kvm_run().__bindgen_anon_1.internal };
        let words = usize::try_from(internal.ndata).unwrap_or(usize::MAX);
        let data = internal.data.get(..words).unwrap_or(&internal.data);
        exit_reason::internal_error(internal.suberror, data, pc)
    }
}
