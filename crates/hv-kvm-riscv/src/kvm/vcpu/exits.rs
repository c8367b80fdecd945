//! Exits that are specific to riscv64, and completion of pending I/O.
#![expect(unsafe_code, reason = "reads and writes the unions of `struct kvm_run`")]

use hv_core::{BackEndCall, Fault, VcpuExit};
use hv_kvm::exit_reason;
use kvm_bindings::{KVM_EXIT_INTERNAL_ERROR, KVM_EXIT_RISCV_CSR, KVM_EXIT_RISCV_SBI};
use kvm_ioctls::Error;

use super::KvmVcpu;
use crate::{
    KvmError, Register,
    kvm::{memory::Memory, request::failed_request},
    sbi::{SbiCall, SbiOutcome},
    seed_csr,
};

impl KvmVcpu {
    /// Completes the I/O or call of the last exit without the execution of further instructions.
    pub(super) fn complete_io(&mut self) -> Result<(), KvmError> {
        // An instruction has one access, so there is no further exit.
        self.file
            .complete_io()
            .map(drop)
            .map_err(failed_request("KVM_RUN"))
    }

    /// Converts errors of `KVM_RUN` that guest actions cause to a fault: KVM has no exit reason for them.
    pub(super) fn fault_from_errno(&self, error: Error) -> Result<Fault, KvmError> {
        let meaning = match error.errno() {
            libc::EOPNOTSUPP => {
                "the guest executed code outside RAM, or accessed a device with an instruction that KVM cannot emulate"
            }
            libc::EIO => "the guest made a misaligned access to a device, which KVM cannot emulate",
            libc::EFAULT => {
                "the guest raised a trap that KVM does not forward, or the host could not map guest memory"
            }
            _ => return Err(failed_request("KVM_RUN")(error)),
        };
        Ok(Fault::InternalError {
            suberror: error.errno().cast_unsigned(),
            meaning: Some(meaning),
            pc: self.pc(),
            instruction: Vec::new(),
            data: Vec::new(),
        })
    }

    /// Decodes the exit in `struct kvm_run`.
    pub(super) fn decode(&mut self) -> Result<VcpuExit<'_>, KvmError> {
        Ok(match self.file.kvm_run().exit_reason {
            KVM_EXIT_RISCV_SBI => return self.handle_sbi_call(),
            KVM_EXIT_RISCV_CSR => self.handle_csr(),
            KVM_EXIT_INTERNAL_ERROR => {
                let pc = self.pc();
                VcpuExit::Fault(self.file.internal_error(pc))
            }
            _ => self.file.decode(),
        })
    }

    fn pc(&self) -> Option<u64> {
        self.read(Register::PC).ok().and_then(|value| value.to_u64())
    }

    /// Handles an SBI call that KVM forwards to user space. The guest continues with the next run.
    fn handle_sbi_call(&mut self) -> Result<VcpuExit<'_>, KvmError> {
        // SAFETY: the exit reason selects this field of the union, and its fields are integers.
        let sbi = unsafe { &mut self.file.kvm_run().__bindgen_anon_1.riscv_sbi };
        let call = SbiCall {
            extension: sbi.extension_id,
            function: sbi.function_id,
            args: sbi.args,
        };
        let memory = Memory(&self.machine.file);
        match self
            .machine
            .console
            .handle(&call, &memory)
            .map_err(KvmError::Console)?
        {
            SbiOutcome::Return(values) => {
                sbi.ret = values;
                Ok(VcpuExit::Call(BackEndCall::Sbi {
                    extension: call.extension,
                    function: call.function,
                }))
            }
            SbiOutcome::System(event) => Ok(VcpuExit::System(event)),
        }
    }

    /// Handles an access to a CSR that KVM forwards to user space: `seed` is the only one that this harness emulates.
    fn handle_csr(&mut self) -> VcpuExit<'_> {
        // SAFETY: as above.
        let csr = unsafe { &mut self.file.kvm_run().__bindgen_anon_1.riscv_csr };
        if csr.csr_num != seed_csr::NUMBER {
            return exit_reason::unsupported(KVM_EXIT_RISCV_CSR);
        }
        let mut entropy = [0; 2];
        // SAFETY: the buffer is valid for writes of its length.
        let result = unsafe { libc::getrandom(entropy.as_mut_ptr().cast(), entropy.len(), 0) };
        let number = csr.csr_num;
        csr.ret_value = match usize::try_from(result) {
            Ok(len) if len == entropy.len() => seed_csr::value(Some(u16::from_le_bytes(entropy))),
            _ => seed_csr::value(None),
        };
        VcpuExit::Call(BackEndCall::Csr { number })
    }
}
