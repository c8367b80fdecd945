//! Exits that are specific to riscv64, and completion of pending I/O.

use hv_core::{BackEndCall, VcpuExit};
use kvm_bindings::{KVM_EXIT_INTERNAL_ERROR, KVM_EXIT_RISCV_CSR, KVM_EXIT_RISCV_SBI};

use super::KvmVcpu;
use crate::{
    KvmError,
    kvm::{exits, memory::Memory, one_reg, request::failed_request},
    sbi::SbiOutcome,
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

    /// Decodes the exit in `struct kvm_run`.
    pub(super) fn decode(&mut self) -> Result<VcpuExit<'_>, KvmError> {
        Ok(match self.file.kvm_run().exit_reason {
            KVM_EXIT_RISCV_SBI => return self.handle_sbi_call(),
            KVM_EXIT_RISCV_CSR => exits::handle_csr(&mut self.file),
            KVM_EXIT_INTERNAL_ERROR => {
                let pc = one_reg::pc(self.file.fd());
                VcpuExit::Fault(self.file.internal_error(pc))
            }
            _ => self.file.decode(),
        })
    }

    /// Handles an SBI call that KVM forwards to user space. The guest continues with the next run.
    fn handle_sbi_call(&mut self) -> Result<VcpuExit<'_>, KvmError> {
        let call = exits::sbi_call(&mut self.file);
        let memory = Memory(&self.machine.file);
        match self
            .machine
            .console
            .handle(&call, &memory)
            .map_err(KvmError::Console)?
        {
            SbiOutcome::Return(values) => {
                exits::set_sbi_result(&mut self.file, values);
                Ok(VcpuExit::Call(BackEndCall::Sbi {
                    extension: call.extension,
                    function: call.function,
                }))
            }
            SbiOutcome::System(event) => Ok(VcpuExit::System(event)),
        }
    }
}
