//! Entering the kernel, and what it says when it comes back.
#![expect(unsafe_code, reason = "reads the unions of the kernel's run structure")]

use std::thread;

use hv_core::{Exit, Fault, SystemEvent};
use hv_kvm::exit_reason;
use kvm_bindings::{
    KVM_EXIT_ARM_NISV, KVM_EXIT_DEBUG, KVM_EXIT_FAIL_ENTRY, KVM_EXIT_INTERNAL_ERROR, KVM_EXIT_INTR,
    KVM_EXIT_MMIO, KVM_EXIT_SYSTEM_EVENT, KVM_SYSTEM_EVENT_CRASH, KVM_SYSTEM_EVENT_RESET,
    KVM_SYSTEM_EVENT_SHUTDOWN,
};
use kvm_ioctls::VcpuExit;

use super::KvmVcpu;
use crate::{
    KvmError, RegId,
    kvm::refused,
    nisv::{self, Response},
};

/// How one entry into the kernel ended.
pub(super) enum Entry {
    /// With an exit that stands in the run structure.
    Exit,
    /// By a signal, or because the vCPU has not been started yet.
    Interrupted,
    /// The vCPU cannot go on.
    Fault(Fault),
    /// With an access that the hardware did not take apart.
    Undecoded { syndrome: u64, address: u64 },
    /// The kernel could not get at guest memory at this moment, and does not say where.
    NoMemory(kvm_ioctls::Error),
}

/// How often an instruction runs again that found no memory on the host, before the vCPU gives up on it.
///
/// A guest may do cache maintenance on a page that the host has swapped out or is about to map: some kernels then see a
/// read that a mapping forbids, and end `KVM_RUN` with `EFAULT`. The page comes back when the instruction runs again.
pub(super) struct Patience(u32);

impl Patience {
    const ATTEMPTS: u32 = 100;

    pub(super) fn new() -> Self {
        Self(Self::ATTEMPTS)
    }

    /// Gives the host time; false when it has had enough of it.
    pub(super) fn wait(&mut self) -> bool {
        thread::yield_now();
        match self.0.checked_sub(1) {
            Some(rest) => {
                self.0 = rest;
                true
            }
            None => false,
        }
    }
}

impl KvmVcpu {
    /// Enters the kernel once.
    pub(super) fn enter(&mut self) -> Result<Entry, KvmError> {
        let entry = match self.fd.run() {
            Ok(VcpuExit::MemoryFault { flags, gpa, size }) => Entry::Fault(Fault::MemoryFault {
                address: gpa,
                len: size,
                flags,
            }),
            Ok(_) => Entry::Exit,
            Err(error) => match error.errno() {
                libc::EINTR | libc::EAGAIN => Entry::Interrupted,
                libc::EFAULT => Entry::NoMemory(error),
                _ => return Err(refused("KVM_RUN")(error)),
            },
        };
        let run = self.fd.get_kvm_run();
        let is_exit = matches!(entry, Entry::Exit);
        self.pending = is_exit && run.exit_reason == KVM_EXIT_MMIO;
        if is_exit && run.exit_reason == KVM_EXIT_ARM_NISV {
            // SAFETY: the reason says that this is the union's valid field, and its parts are plain numbers.
            let nisv = unsafe { run.__bindgen_anon_1.arm_nisv };
            return Ok(Entry::Undecoded {
                syndrome: nisv.esr_iss,
                address: nisv.fault_ipa,
            });
        }
        Ok(entry)
    }

    /// Lets the kernel finish the access of the last exit, without running any further instruction.
    pub(super) fn settle(&mut self) -> Result<(), KvmError> {
        if !self.pending {
            return Ok(());
        }
        self.fd.set_kvm_immediate_exit(1);
        let entry = self.enter();
        self.fd.set_kvm_immediate_exit(0);
        entry.map(drop)
    }

    /// Deals with an access that the hardware did not take apart; the result is the fault that it is, if it is one.
    pub(super) fn undecoded(
        &mut self,
        syndrome: u64,
        address: u64,
        patience: &mut Patience,
    ) -> Result<Option<Fault>, KvmError> {
        /// Length of an A64 instruction in bytes.
        const INSTRUCTION: u64 = 4;
        match nisv::respond(syndrome, address, self.machine.is_ram(address)) {
            Response::Fault(fault) => Ok(Some(fault)),
            Response::Retry if patience.wait() => Ok(None),
            Response::Retry => Ok(Some(Fault::MemoryFault {
                address,
                len: 1,
                flags: syndrome,
            })),
            Response::Skip => {
                let pc = self.read_number(RegId::PC)?;
                self.write_number(RegId::PC, pc.wrapping_add(INSTRUCTION))?;
                Ok(None)
            }
        }
    }

    /// The exit that stands in the run structure.
    pub(super) fn decode(&mut self) -> Exit<'_> {
        let reason = self.fd.get_kvm_run().exit_reason;
        let pc = match reason {
            KVM_EXIT_DEBUG | KVM_EXIT_INTERNAL_ERROR => self.read_number(RegId::PC).ok(),
            _ => None,
        };
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
                    pc: pc.unwrap_or(arch.far),
                    // ESR_ELx.EC, the exception class.
                    exception: arch.hsr >> 26,
                })
            }
            KVM_EXIT_INTERNAL_ERROR => {
                // SAFETY: as above.
                let internal = unsafe { run.__bindgen_anon_1.internal };
                let words = usize::try_from(internal.ndata).unwrap_or(usize::MAX);
                Exit::Fault(Fault::InternalError {
                    suberror: internal.suberror,
                    meaning: None,
                    pc,
                    instruction: Vec::new(),
                    data: internal.data.get(..words).unwrap_or(&internal.data).to_vec(),
                })
            }
            KVM_EXIT_INTR => Exit::Interrupted,
            reason => Exit::Fault(Fault::Unsupported {
                reason,
                name: exit_reason::name(reason),
            }),
        }
    }
}
