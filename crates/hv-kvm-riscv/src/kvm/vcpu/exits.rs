//! Entering the kernel, and what it says when it comes back.
#![expect(
    unsafe_code,
    reason = "reads and answers the unions of the kernel's run structure"
)]

use hv_core::{Exit, Fault, SystemEvent};
use hv_kvm::exit_reason;
use kvm_bindings::{
    KVM_EXIT_FAIL_ENTRY, KVM_EXIT_INTERNAL_ERROR, KVM_EXIT_INTR, KVM_EXIT_MMIO, KVM_EXIT_RISCV_CSR,
    KVM_EXIT_RISCV_SBI, KVM_EXIT_SYSTEM_EVENT, KVM_SYSTEM_EVENT_CRASH, KVM_SYSTEM_EVENT_RESET,
    KVM_SYSTEM_EVENT_SHUTDOWN,
};
use kvm_ioctls::VcpuExit;

use super::KvmVcpu;
use crate::{
    KvmError, Register,
    kvm::refused,
    sbi::{Answer, Call},
    seed,
};

/// How one entry into the kernel ended.
pub(super) enum Entry {
    /// With an exit that stands in the run structure.
    Exit,
    /// By a signal.
    Interrupted,
    /// With something wrong that does not stand in the run structure.
    Fault(Fault),
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
            Err(error) if matches!(error.errno(), libc::EINTR | libc::EAGAIN) => Entry::Interrupted,
            // The guest did something at which KVM gives up without an exit reason.
            Err(error) if error.errno() == libc::EOPNOTSUPP => Entry::Fault(Fault::InternalError {
                suberror: libc::EOPNOTSUPP.cast_unsigned(),
                meaning: Some(
                    "KVM cannot do what the guest did: it executed code outside RAM, or accessed a device with an instruction \
                     that KVM does not know",
                ),
                pc: self.read(Register::PC).ok().and_then(|value| value.to_u64()),
                instruction: Vec::new(),
                data: Vec::new(),
            }),
            Err(error) => return Err(refused("KVM_RUN")(error)),
        };
        let reason = self.fd.get_kvm_run().exit_reason;
        self.pending = matches!(entry, Entry::Exit)
            && matches!(reason, KVM_EXIT_MMIO | KVM_EXIT_RISCV_SBI | KVM_EXIT_RISCV_CSR);
        Ok(entry)
    }

    /// Lets the kernel finish the access or the call of the last exit, without running any further instruction.
    pub(super) fn settle(&mut self) -> Result<(), KvmError> {
        if !self.pending {
            return Ok(());
        }
        self.fd.set_kvm_immediate_exit(1);
        let entry = self.enter();
        self.fd.set_kvm_immediate_exit(0);
        entry.map(drop)
    }

    /// The exit that stands in the run structure.
    pub(super) fn decode(&mut self) -> Result<Exit<'_>, KvmError> {
        let reason = self.fd.get_kvm_run().exit_reason;
        match reason {
            KVM_EXIT_RISCV_SBI => return self.answer_call(),
            KVM_EXIT_RISCV_CSR => return Ok(self.answer_csr()),
            KVM_EXIT_INTERNAL_ERROR => return Ok(Exit::Fault(self.internal_error())),
            _ => {}
        }
        let run = self.fd.get_kvm_run();
        Ok(match reason {
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
            KVM_EXIT_FAIL_ENTRY => {
                // SAFETY: as above.
                let fail = unsafe { run.__bindgen_anon_1.fail_entry };
                Exit::Fault(Fault::EntryFailed {
                    reason: fail.hardware_entry_failure_reason,
                    cpu: fail.cpu,
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
            reason => unsupported(reason),
        })
    }

    /// Answers a call to SBI that KVM leaves to user space. The guest goes on with the next run.
    fn answer_call(&mut self) -> Result<Exit<'_>, KvmError> {
        // SAFETY: the exit reason says that this is the union's valid field, and its parts are plain numbers.
        let sbi = unsafe { &mut self.fd.get_kvm_run().__bindgen_anon_1.riscv_sbi };
        let call = Call {
            extension: sbi.extension_id,
            function: sbi.function_id,
            args: sbi.args,
        };
        let slots = self.machine.slots();
        match self
            .machine
            .console
            .call(&call, &*slots)
            .map_err(KvmError::Console)?
        {
            Answer::Return(values) => {
                sbi.ret = values;
                Ok(Exit::Interrupted)
            }
            Answer::System(event) => Ok(Exit::System(event)),
        }
    }

    /// Answers a CSR that KVM leaves to user space: the entropy source is the only one that this harness knows.
    fn answer_csr(&mut self) -> Exit<'_> {
        // SAFETY: as above.
        let csr = unsafe { &mut self.fd.get_kvm_run().__bindgen_anon_1.riscv_csr };
        if csr.csr_num != seed::CSR {
            return unsupported(KVM_EXIT_RISCV_CSR);
        }
        let mut entropy = [0; 2];
        // SAFETY: the buffer is valid for writes of its length.
        let got = unsafe { libc::getrandom(entropy.as_mut_ptr().cast(), entropy.len(), 0) };
        csr.ret_value = match usize::try_from(got) {
            Ok(len) if len == entropy.len() => seed::value(Some(u16::from_le_bytes(entropy))),
            _ => seed::value(None),
        };
        Exit::Interrupted
    }

    fn internal_error(&mut self) -> Fault {
        let pc = self.read(Register::PC).ok().and_then(|value| value.to_u64());
        // SAFETY: the exit reason says that this is the union's valid field, and its parts are plain numbers.
        let internal = unsafe { self.fd.get_kvm_run().__bindgen_anon_1.internal };
        let words = usize::try_from(internal.ndata).unwrap_or(usize::MAX);
        Fault::InternalError {
            suberror: internal.suberror,
            meaning: None,
            pc,
            instruction: Vec::new(),
            data: internal.data.get(..words).unwrap_or(&internal.data).to_vec(),
        }
    }
}

fn unsupported<'a>(reason: u32) -> Exit<'a> {
    Exit::Fault(Fault::Unsupported {
        reason,
        name: exit_reason::name(reason),
    })
}
