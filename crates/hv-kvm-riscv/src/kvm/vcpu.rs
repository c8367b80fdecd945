//! Virtual CPUs.

mod exits;
mod registers;

use std::{collections::BTreeMap, sync::Arc};

use boot_core::{
    Arch, CpuState,
    cpu::riscv64::State,
    machine::{MmuType, RiscvHart},
};
use hv_core::{Vcpu, VcpuExit, VcpuKicker};
use hv_kvm::{HarnessError, RunStatus, VcpuFile};
use kvm_bindings::kvm_mp_state;
use kvm_ioctls::VcpuFd;

use super::{machine::Machine, request::failed_request};
use crate::{
    IsaExtension, KvmError, MpState, Register, RegisterValue, SbiExtension, VcpuState, state::entry_registers,
};

/// A vCPU of a [`KvmVm`](super::KvmVm).
///
/// [`run`](Vcpu::run) of a secondary vCPU blocks until the guest starts it with SBI HSM.
#[derive(Debug)]
pub struct KvmVcpu {
    file: VcpuFile,
    machine: Arc<Machine>,
    index: u32,
    /// Registers of the vCPU, in ascending order.
    registers: Vec<Register>,
}

impl KvmVcpu {
    pub(super) fn new(machine: Arc<Machine>, fd: VcpuFd, index: u32) -> Result<Self, KvmError> {
        let mut vcpu = Self {
            file: VcpuFile::new(fd)?,
            machine,
            index,
            registers: Vec::new(),
        };
        vcpu.registers = vcpu.list()?;
        vcpu.configure()?;
        // The set of registers depends on the enabled extensions.
        vcpu.registers = vcpu.list()?;
        vcpu.write_mp_state(if index == 0 {
            MpState::RUNNABLE
        } else {
            MpState::STOPPED
        })?;
        Ok(vcpu)
    }

    /// Writes the configuration that cannot change after the first run.
    fn configure(&mut self) -> Result<(), KvmError> {
        let machine = Arc::clone(&self.machine);
        if let Some(hart) = usize::try_from(self.index)
            .ok()
            .and_then(|index| machine.layout.harts.get(index))
        {
            self.configure_isa(hart)?;
            self.check_description(hart, machine.layout.timebase_frequency)?;
        }
        // DBCN stays disabled until user space enables it. Old kernels do not have it; guests probe for it.
        let debug_console = Register::sbi(SbiExtension::DBCN);
        if self.has(debug_console) {
            self.write(debug_console, &RegisterValue::from(1_u64))?;
        }
        Ok(())
    }

    /// Enables the extensions of the description, and disables all others that KVM can disable. The guest should not use the
    /// remaining ones, because they are not described.
    fn configure_isa(&self, hart: &RiscvHart) -> Result<(), KvmError> {
        for name in hart.isa.extensions() {
            let register = IsaExtension::from_name(name).map(Register::isa);
            let Some(register) = register.filter(|&register| self.has(register)) else {
                return Err(KvmError::MissingIsaExtension { name: name.into() });
            };
            if self.read(register)?.to_u64() == Some(0) {
                self.write(register, &RegisterValue::from(1_u64))?;
            }
        }
        for &register in &self.registers {
            let described = register
                .isa_extension()
                .is_none_or(|extension| extension.name().is_some_and(|name| hart.isa.has(name)));
            if !described {
                match self.write(register, &RegisterValue::from(0_u64)) {
                    Ok(()) => {}
                    Err(KvmError::SetRegister { source, .. })
                        if source.raw_os_error() == Some(libc::EINVAL) => {}
                    Err(error) => return Err(error),
                }
            }
        }
        Ok(())
    }

    /// Refuses a description that the host does not match.
    fn check_description(&self, hart: &RiscvHart, timebase_frequency: Option<u32>) -> Result<(), KvmError> {
        let check = |what, register, described: Option<u64>, fits: fn(u64, u64) -> bool| {
            let Some(found) = described else { return Ok(()) };
            let expected = if self.has(register) {
                self.read(register)?.to_u64().unwrap_or(0)
            } else {
                0
            };
            if fits(found, expected) {
                Ok(())
            } else {
                Err(KvmError::HostMismatch {
                    what,
                    found,
                    expected,
                })
            }
        };
        let equal = |found, expected| found == expected;
        let mode = match hart.mmu {
            MmuType::Sv39 => 8,
            MmuType::Sv48 => 9,
            MmuType::Sv57 => 10,
            _ => 0,
        };
        check(
            "the timer frequency",
            Register::TIMER_FREQUENCY,
            timebase_frequency.map(u64::from),
            equal,
        )?;
        check(
            "the address translation mode",
            Register::SATP_MODE,
            Some(mode),
            |found, most| found <= most,
        )?;
        for (what, register, described) in [
            (
                "the Zicbom block size",
                Register::ZICBOM_BLOCK_SIZE,
                hart.cbom_block_size,
            ),
            (
                "the Zicboz block size",
                Register::ZICBOZ_BLOCK_SIZE,
                hart.cboz_block_size,
            ),
            (
                "the Zicbop block size",
                Register::ZICBOP_BLOCK_SIZE,
                hart.cbop_block_size,
            ),
        ] {
            check(what, register, described.map(u64::from), equal)?;
        }
        Ok(())
    }

    fn read_mp_state(&self) -> Result<MpState, KvmError> {
        let state = self
            .file
            .fd()
            .get_mp_state()
            .map_err(failed_request("KVM_GET_MP_STATE"))?;
        Ok(MpState(state.mp_state))
    }

    fn write_mp_state(&self, mp_state: MpState) -> Result<(), KvmError> {
        self.file
            .fd()
            .set_mp_state(kvm_mp_state { mp_state: mp_state.0 })
            .map_err(failed_request("KVM_SET_MP_STATE"))
    }
}

impl Vcpu for KvmVcpu {
    type Error = KvmError;

    fn index(&self) -> u32 {
        self.index
    }

    fn state(&mut self) -> Result<CpuState, KvmError> {
        self.complete_io()?;
        let number = |register| self.read(register).map(|value| value.to_u64().unwrap_or(0));
        let mut state = State::new(number(Register::PC)?);
        state.satp = number(Register::SATP)?;
        for (index, x) in (0..).zip(&mut state.x) {
            if let Some(register) = Register::x(index) {
                *x = number(register)?;
            }
        }
        Ok(state.into())
    }

    fn set_state(&mut self, state: &CpuState) -> Result<(), KvmError> {
        let CpuState::Riscv64(state) = state else {
            let (expected, found) = (Arch::Riscv64, state.arch());
            return Err(HarnessError::ArchMismatch { expected, found }.into());
        };
        self.complete_io()?;
        for (register, value) in entry_registers(state) {
            self.write(register, &RegisterValue::from(value))?;
        }
        Ok(())
    }

    /// Resets the vCPU to its state after creation, except its configuration, which cannot change after the first run. The
    /// first reset reads that state from a temporary machine, as [`KvmVm::prepare_reset`](super::KvmVm::prepare_reset).
    fn reset(&mut self) -> Result<(), KvmError> {
        let machine = Arc::clone(&self.machine);
        let reset_state = machine.vcpu_reset_state(self.index)?;
        if machine.has_imsics() {
            return self.restore_state(reset_state);
        }
        // The interrupt files are created with the last vCPU.
        self.restore_state(&VcpuState {
            imsic: BTreeMap::new(),
            ..reset_state.clone()
        })
    }

    fn run(&mut self) -> Result<VcpuExit<'_>, KvmError> {
        match self.file.run() {
            Ok(RunStatus::Exit(_)) => self.decode(),
            Ok(RunStatus::Interrupted) => Ok(VcpuExit::Interrupted),
            Ok(RunStatus::Fault(fault)) => Ok(VcpuExit::Fault(*fault)),
            Err(error) => super::exits::fault_from_errno(error, self.file.fd()).map(VcpuExit::Fault),
        }
    }

    fn kicker(&self) -> Arc<dyn VcpuKicker> {
        self.file.kicker()
    }
}
