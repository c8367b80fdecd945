//! What the kernel says when it comes back from the guest, as far as it is particular to riscv64.
#![expect(
    unsafe_code,
    reason = "reads and answers the unions of the kernel's run structure"
)]

use hv_core::{Exit, Fault};
use hv_kvm::exit_reason;
use kvm_bindings::{KVM_EXIT_INTERNAL_ERROR, KVM_EXIT_RISCV_CSR, KVM_EXIT_RISCV_SBI};
use kvm_ioctls::Error;

use super::KvmVcpu;
use crate::{
    KvmError, Register,
    kvm::{memory::Memory, refused},
    sbi::{Answer, Call},
    seed,
};

impl KvmVcpu {
    /// Lets the kernel finish the access or the call of the last exit, without running any further instruction.
    pub(super) fn settle(&mut self) -> Result<(), KvmError> {
        // An instruction has one access, so nothing new comes of it.
        self.file.settle().map(drop).map_err(refused("KVM_RUN"))
    }

    /// The fault behind an error of `KVM_RUN`, if the guest did something at which KVM gives up without an exit reason.
    pub(super) fn give_up(&self, error: Error) -> Result<Fault, KvmError> {
        let meaning = match error.errno() {
            libc::EOPNOTSUPP => {
                "KVM cannot do what the guest did: it executed code outside RAM, or accessed a device with an instruction \
                 that KVM does not know"
            }
            libc::EIO => "the guest made a misaligned access to a device, which KVM does not take apart",
            libc::EFAULT => {
                "the guest met a trap that KVM does not pass on to it, or the host could not give it its memory"
            }
            _ => return Err(refused("KVM_RUN")(error)),
        };
        Ok(Fault::InternalError {
            suberror: error.errno().cast_unsigned(),
            meaning: Some(meaning),
            pc: self.pc(),
            instruction: Vec::new(),
            data: Vec::new(),
        })
    }

    /// The exit that stands in the run structure.
    pub(super) fn decode(&mut self) -> Result<Exit<'_>, KvmError> {
        Ok(match self.file.kvm_run().exit_reason {
            KVM_EXIT_RISCV_SBI => return self.answer_call(),
            KVM_EXIT_RISCV_CSR => self.answer_csr(),
            KVM_EXIT_INTERNAL_ERROR => {
                let pc = self.pc();
                Exit::Fault(self.file.internal_error(pc))
            }
            _ => self.file.decode(),
        })
    }

    fn pc(&self) -> Option<u64> {
        self.read(Register::PC).ok().and_then(|value| value.to_u64())
    }

    /// Answers a call to SBI that KVM leaves to user space. The guest goes on with the next run.
    fn answer_call(&mut self) -> Result<Exit<'_>, KvmError> {
        // SAFETY: the exit reason says that this is the union's valid field, and its parts are plain numbers.
        let sbi = unsafe { &mut self.file.kvm_run().__bindgen_anon_1.riscv_sbi };
        let call = Call {
            extension: sbi.extension_id,
            function: sbi.function_id,
            args: sbi.args,
        };
        let memory = Memory(&self.machine.file);
        match self
            .machine
            .console
            .call(&call, &memory)
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
        let csr = unsafe { &mut self.file.kvm_run().__bindgen_anon_1.riscv_csr };
        if csr.csr_num != seed::CSR {
            return exit_reason::unsupported(KVM_EXIT_RISCV_CSR);
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
}
