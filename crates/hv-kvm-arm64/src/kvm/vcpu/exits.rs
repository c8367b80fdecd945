//! Exits that are specific to arm64, and completion of pending I/O.
#![expect(unsafe_code, reason = "reads the unions of `struct kvm_run`")]

use hv_core::{Fault, VcpuExit};
use kvm_bindings::{KVM_EXIT_DEBUG, KVM_EXIT_INTERNAL_ERROR};

use super::{KvmVcpu, retry_budget::RetryBudget};
use crate::{
    KvmError, Register,
    kvm::request::failed_request,
    nisv::{self, NisvAction},
};

impl KvmVcpu {
    /// Completes the I/O of the last exit without the execution of further instructions.
    pub(super) fn complete_io(&mut self) -> Result<(), KvmError> {
        // An A64 instruction has one access, so there is no further exit.
        self.file
            .complete_io()
            .map(drop)
            .map_err(failed_request("KVM_RUN"))
    }

    /// Backs off before a retry of the current instruction; false once the retry budget is spent.
    pub(super) fn back_off(&self, budget: &mut RetryBudget) -> Result<bool, KvmError> {
        let registers = [Register::PC].into_iter().chain(super::general());
        let at = registers
            .map(|register| self.read_number(register))
            .collect::<Result<_, _>>()?;
        Ok(budget.back_off(at))
    }

    /// Handles `KVM_EXIT_ARM_NISV`. The result is the fault that the vCPU cannot continue from, if any.
    pub(super) fn handle_no_syndrome(&mut self, budget: &mut RetryBudget) -> Result<Option<Fault>, KvmError> {
        /// Length of an A64 instruction in bytes.
        const INSTRUCTION: u64 = 4;
        // SAFETY: this field of the union consists of integers, for which all bit patterns are valid.
        let nisv = unsafe { self.file.kvm_run().__bindgen_anon_1.arm_nisv };
        let (syndrome, address) = (nisv.esr_iss, nisv.fault_ipa);
        match nisv::classify(syndrome, address, self.machine.file.is_ram(address)) {
            NisvAction::Fault(fault) => Ok(Some(fault)),
            NisvAction::Retry if self.back_off(budget)? => Ok(None),
            NisvAction::Retry => Ok(Some(Fault::MemoryFault {
                address,
                len: 1,
                flags: syndrome,
            })),
            NisvAction::Skip => {
                let pc = self.read_number(Register::PC)?;
                self.write_number(Register::PC, pc.wrapping_add(INSTRUCTION))?;
                Ok(None)
            }
        }
    }

    /// Decodes the exit in `struct kvm_run`.
    pub(super) fn decode(&mut self) -> VcpuExit<'_> {
        match self.file.kvm_run().exit_reason {
            KVM_EXIT_DEBUG => {
                let pc = self.read_number(Register::PC).ok();
                // SAFETY: the exit reason selects this field of the union, and its fields are integers.
                let arch = unsafe { self.file.kvm_run().__bindgen_anon_1.debug }.arch;
                VcpuExit::Fault(Fault::Debug {
                    pc: pc.unwrap_or(arch.far),
                    // ESR_ELx.EC, the exception class.
                    exception: arch.hsr >> 26,
                })
            }
            KVM_EXIT_INTERNAL_ERROR => {
                let pc = self.read_number(Register::PC).ok();
                VcpuExit::Fault(self.file.internal_error(pc))
            }
            _ => self.file.decode(),
        }
    }
}
