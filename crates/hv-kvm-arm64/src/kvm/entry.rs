//! Entry of the guest, exits that are specific to arm64, completion of pending I/O, and single registers.
#![expect(unsafe_code, reason = "reads the unions of `struct kvm_run`")]

use std::sync::Arc;

use boot_core::{Arch, CpuState, Endian, cpu::aarch64::State};
use hv_core::{Fault, VcpuExit, VcpuKicker};
use hv_kvm::{HarnessError, RunStatus, VcpuFile, VmFile};
use hv_kvm_regs::aarch64;
use kvm_bindings::{KVM_EXIT_ARM_NISV, KVM_EXIT_DEBUG, KVM_EXIT_HYPERCALL, KVM_EXIT_INTERNAL_ERROR};
use kvm_ioctls::VcpuFd;

use super::{request::failed_request, retry_budget::RetryBudget};
use crate::{
    KvmError, Register, RegisterValue,
    nisv::{self, NisvAction},
    register::SCTLR_EE,
};

/// File descriptor of a vCPU.
#[derive(Debug)]
pub(super) struct VcpuEntry {
    file: VcpuFile,
}

/// `X0` to `X30`, in order.
fn general() -> impl Iterator<Item = Register> {
    (0..=30).filter_map(Register::x)
}

impl VcpuEntry {
    /// Wraps the descriptor of a vCPU that has not run yet.
    pub(super) fn new(fd: VcpuFd) -> Result<Self, KvmError> {
        Ok(Self {
            file: VcpuFile::new(fd)?,
        })
    }

    pub(super) fn fd(&self) -> &VcpuFd {
        self.file.fd()
    }

    pub(super) fn kicker(&self) -> Arc<dyn VcpuKicker> {
        self.file.kicker()
    }

    /// The registers of the vCPU, in ascending order of their ids.
    pub(super) fn registers(&self) -> Result<Vec<Register>, KvmError> {
        Ok(self.file.register_ids()?.into_iter().map(Register).collect())
    }

    pub(super) fn read(&self, register: Register) -> Result<RegisterValue, KvmError> {
        let mut value = RegisterValue::zero(register);
        self.read_bytes(register, value.bytes_mut())?;
        Ok(value)
    }

    /// Reads a register into `bytes`, which have its size.
    pub(super) fn read_bytes(&self, register: Register, bytes: &mut [u8]) -> Result<(), KvmError> {
        self.fd()
            .get_one_reg(register.0, bytes)
            .map(drop)
            .map_err(|error| KvmError::GetRegister {
                register,
                source: error.into(),
            })
    }

    /// Writes a value of the size of the register.
    pub(super) fn write(&self, register: Register, value: &RegisterValue) -> Result<(), KvmError> {
        self.write_bytes(register, value.bytes())
    }

    /// Writes `bytes`, which have the size of the register.
    pub(super) fn write_bytes(&self, register: Register, bytes: &[u8]) -> Result<(), KvmError> {
        self.fd()
            .set_one_reg(register.0, bytes)
            .map(drop)
            .map_err(|error| KvmError::SetRegister {
                register,
                source: error.into(),
            })
    }

    pub(super) fn read_number(&self, register: Register) -> Result<u64, KvmError> {
        self.read(register)?
            .to_u64()
            .ok_or(KvmError::RegisterSize { register })
    }

    pub(super) fn write_number(&self, register: Register, value: u64) -> Result<(), KvmError> {
        let value =
            RegisterValue::from_number(register, value.into()).ok_or(KvmError::RegisterSize { register })?;
        self.write(register, &value)
    }

    /// Completes the I/O of the last exit and reads the registers of a boot state.
    pub(super) fn state(&mut self) -> Result<State, KvmError> {
        self.complete_io()?;
        let mut state = State::new(self.read_number(Register::PC)?);
        for (x, register) in state.x.iter_mut().zip(general()) {
            *x = self.read_number(register)?;
        }
        state.sp_el1 = self.read_number(Register::SP_EL1)?;
        state.pstate = self.read_number(Register::PSTATE)?;
        state.data_endian = if self.read_number(Register::SCTLR_EL1)? & SCTLR_EE == 0 {
            Endian::Little
        } else {
            Endian::Big
        };
        Ok(state)
    }

    /// Completes the I/O of the last exit and writes the registers of a boot state.
    pub(super) fn set_state(&mut self, state: &CpuState) -> Result<(), KvmError> {
        let CpuState::Aarch64(state) = state else {
            let (expected, found) = (Arch::Aarch64, state.arch());
            return Err(HarnessError::ArchMismatch { expected, found }.into());
        };
        self.complete_io()?;
        for (id, value) in aarch64::registers(state) {
            self.write_number(Register(id), value)?;
        }
        let sctlr = self.read_number(Register::SCTLR_EL1)?;
        self.write_number(Register::SCTLR_EL1, aarch64::sctlr_el1(state, sctlr))
    }

    /// Completes the I/O of the last exit without the execution of further instructions.
    pub(super) fn complete_io(&mut self) -> Result<(), KvmError> {
        if self.file.kvm_run().exit_reason == KVM_EXIT_HYPERCALL {
            // The registers are those after the call.
            return Ok(());
        }
        // An A64 instruction has one access, so there is no further exit.
        self.file
            .complete_io()
            .map(drop)
            .map_err(failed_request("KVM_RUN"))
    }

    /// Runs guest code until an exit that [`decode`](Self::decode) decodes. `memory` has the RAM of the machine.
    pub(super) fn enter(&mut self, memory: &VmFile) -> Result<RunStatus, KvmError> {
        let mut budget = RetryBudget::new();
        loop {
            match self.file.run() {
                Ok(RunStatus::Exit(KVM_EXIT_ARM_NISV)) => {
                    if let Some(fault) = self.handle_no_syndrome(memory, &mut budget)? {
                        return Ok(RunStatus::Fault(Box::new(fault)));
                    }
                }
                Ok(status) => return Ok(status),
                // The kernel could not access guest memory, at an address that it does not report.
                Err(error) if error.errno() == libc::EFAULT && self.back_off(&mut budget)? => {}
                Err(error) => return Err(failed_request("KVM_RUN")(error)),
            }
        }
    }

    /// Backs off before a retry of the current instruction; false once the retry budget is spent.
    fn back_off(&self, budget: &mut RetryBudget) -> Result<bool, KvmError> {
        let registers = [Register::PC].into_iter().chain(general());
        let at = registers
            .map(|register| self.read_number(register))
            .collect::<Result<_, _>>()?;
        Ok(budget.back_off(at))
    }

    /// Handles `KVM_EXIT_ARM_NISV`. The result is the fault that the vCPU cannot continue from, if any.
    fn handle_no_syndrome(
        &mut self,
        memory: &VmFile,
        budget: &mut RetryBudget,
    ) -> Result<Option<Fault>, KvmError> {
        /// Length of an A64 instruction in bytes.
        const INSTRUCTION: u64 = 4;
        // SAFETY: this field of the union consists of integers, for which all bit patterns are valid.
        let nisv = unsafe { self.file.kvm_run().__bindgen_anon_1.arm_nisv };
        let (syndrome, address) = (nisv.esr_iss, nisv.fault_ipa);
        match nisv::classify(syndrome, address, memory.is_ram(address)) {
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

    /// Decodes what [`enter`](Self::enter) returned.
    pub(super) fn decode(&mut self, status: RunStatus) -> VcpuExit<'_> {
        match status {
            RunStatus::Interrupted => VcpuExit::Interrupted,
            RunStatus::Fault(fault) => VcpuExit::Fault(*fault),
            RunStatus::Exit(KVM_EXIT_DEBUG) => {
                let pc = self.read_number(Register::PC).ok();
                let (exception, far) = self.debug_exit();
                VcpuExit::Fault(Fault::Debug {
                    pc: pc.unwrap_or(far),
                    exception,
                })
            }
            RunStatus::Exit(KVM_EXIT_INTERNAL_ERROR) => {
                let pc = self.read_number(Register::PC).ok();
                VcpuExit::Fault(self.file.internal_error(pc))
            }
            RunStatus::Exit(_) => self.file.decode(),
        }
    }

    /// The exception class (`ESR_ELx.EC`) and the fault address of the last exit, `KVM_EXIT_DEBUG`.
    pub(super) fn debug_exit(&mut self) -> (u32, u64) {
        // SAFETY: this field of the union consists of integers, for which all bit patterns are valid.
        let arch = unsafe { self.file.kvm_run().__bindgen_anon_1.debug }.arch;
        (arch.hsr >> 26, arch.far)
    }

    /// The address of the last exit, `KVM_EXIT_MMIO`, if it was a write.
    pub(super) fn mmio_write(&mut self) -> Option<u64> {
        // SAFETY: this field of the union consists of integers, for which all bit patterns are valid.
        let mmio = unsafe { self.file.kvm_run().__bindgen_anon_1.mmio };
        (mmio.is_write != 0).then_some(mmio.phys_addr)
    }

    /// The function number and the flags `KVM_HYPERCALL_EXIT_*` of the last exit, `KVM_EXIT_HYPERCALL`.
    pub(super) fn hypercall(&mut self) -> (u64, u64) {
        // SAFETY: this field of the union consists of integers, for which all bit patterns are valid.
        let hypercall = unsafe { self.file.kvm_run().__bindgen_anon_1.hypercall };
        // SAFETY: as above; on arm64 the field is `flags`.
        (hypercall.nr, unsafe { hypercall.__bindgen_anon_1.flags })
    }
}
