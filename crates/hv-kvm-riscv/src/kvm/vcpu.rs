//! The virtual CPU.

mod exits;
mod registers;

use std::sync::Arc;

use boot_core::{
    Arch, CpuState,
    cpu::riscv64::State,
    machine::{MmuType, RiscvHart},
};
use hv_core::{Exit, Interrupter, Vcpu};
use hv_kvm::{Entry, HarnessError, VcpuFile};
use kvm_bindings::kvm_mp_state;
use kvm_ioctls::VcpuFd;

use super::{refused, vm::Inner};
use crate::{
    Activity, IsaExtension, KvmError, Register, SbiExtension, Value, VcpuState, state::entry_registers,
};

/// A vCPU of a [`KvmVm`](super::KvmVm).
///
/// A secondary vCPU waits until the guest starts it through SBI's hart state management; running it blocks until then.
#[derive(Debug)]
pub struct KvmVcpu {
    file: VcpuFile,
    machine: Arc<Inner>,
    index: u32,
    /// Every register that the vCPU has, in ascending order.
    registers: Vec<Register>,
    /// The state after creation.
    fresh: Box<VcpuState>,
}

impl KvmVcpu {
    pub(super) fn new(machine: Arc<Inner>, fd: VcpuFd, index: u32) -> Result<Self, KvmError> {
        let mut vcpu = Self {
            file: VcpuFile::new(fd)?,
            machine,
            index,
            registers: Vec::new(),
            fresh: Box::new(VcpuState::blank()),
        };
        vcpu.registers = vcpu.list()?;
        vcpu.configure()?;
        // Some registers are there only with the extension that they belong to.
        vcpu.registers = vcpu.list()?;
        vcpu.write_activity(if index == 0 {
            Activity::RUNNABLE
        } else {
            Activity::STOPPED
        })?;
        vcpu.fresh = Box::new(vcpu.whole_state()?);
        Ok(vcpu)
    }

    /// Sets what can be set before the first run only.
    fn configure(&mut self) -> Result<(), KvmError> {
        let machine = Arc::clone(&self.machine);
        if let Some(hart) = usize::try_from(self.index)
            .ok()
            .and_then(|index| machine.descriptions.get(index))
        {
            self.configure_isa(hart)?;
            self.check_description(hart, machine.timebase_frequency)?;
        }
        // The debug console, which KVM leaves to user space, is off until somebody says that he answers it. An old kernel
        // does not have it, and a guest asks before it uses it.
        let debug_console = Register::sbi(SbiExtension::DBCN);
        if self.has(debug_console) {
            self.write(debug_console, &Value::from(1_u64))?;
        }
        Ok(())
    }

    /// Gives the vCPU the extensions of its description.
    ///
    /// One that is not described is taken away where KVM can do that. It cannot hide all of them, and a guest does not
    /// look for what it is not told of.
    fn configure_isa(&self, hart: &RiscvHart) -> Result<(), KvmError> {
        for name in hart.isa.extensions() {
            let register = IsaExtension::from_name(name).map(Register::isa);
            let Some(register) = register.filter(|&register| self.has(register)) else {
                return Err(KvmError::MissingExtension { name: name.into() });
            };
            if self.read(register)?.to_u64() == Some(0) {
                self.write(register, &Value::from(1_u64))?;
            }
        }
        for &register in &self.registers {
            let described = register
                .isa_extension()
                .is_none_or(|extension| extension.name().is_some_and(|name| hart.isa.has(name)));
            if !described {
                match self.write(register, &Value::from(0_u64)) {
                    Ok(()) => {}
                    Err(KvmError::SetRegister { source, .. })
                        if source.raw_os_error() == Some(libc::EINVAL) => {}
                    Err(error) => return Err(error),
                }
            }
        }
        Ok(())
    }

    /// Refuses a description that this host does not come up to, before a guest believes it.
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
                Err(KvmError::Machine {
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
            "this timer frequency",
            Register::TIMER_FREQUENCY,
            timebase_frequency.map(u64::from),
            equal,
        )?;
        check(
            "this address translation",
            Register::SATP_MODE,
            Some(mode),
            |found, most| found <= most,
        )?;
        for (what, register, described) in [
            (
                "this Zicbom block size",
                Register::ZICBOM_BLOCK_SIZE,
                hart.cbom_block_size,
            ),
            (
                "this Zicboz block size",
                Register::ZICBOZ_BLOCK_SIZE,
                hart.cboz_block_size,
            ),
            (
                "this Zicbop block size",
                Register::ZICBOP_BLOCK_SIZE,
                hart.cbop_block_size,
            ),
        ] {
            check(what, register, described.map(u64::from), equal)?;
        }
        Ok(())
    }

    fn read_activity(&self) -> Result<Activity, KvmError> {
        let state = self
            .file
            .fd()
            .get_mp_state()
            .map_err(refused("KVM_GET_MP_STATE"))?;
        Ok(Activity(state.mp_state))
    }

    fn write_activity(&self, activity: Activity) -> Result<(), KvmError> {
        self.file
            .fd()
            .set_mp_state(kvm_mp_state { mp_state: activity.0 })
            .map_err(refused("KVM_SET_MP_STATE"))
    }
}

impl Vcpu for KvmVcpu {
    type Error = KvmError;

    fn index(&self) -> u32 {
        self.index
    }

    fn state(&mut self) -> Result<CpuState, KvmError> {
        self.settle()?;
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
            return Err(HarnessError::WrongArch { expected, found }.into());
        };
        self.settle()?;
        for (register, value) in entry_registers(state) {
            self.write(register, &Value::from(value))?;
        }
        Ok(())
    }

    fn reset(&mut self) -> Result<(), KvmError> {
        // The interrupt file comes with the machine's last vCPU, after the state of this one was kept.
        let fresh = VcpuState {
            imsic: self.machine.fresh_imsic(),
            ..(*self.fresh).clone()
        };
        self.set_whole_state(&fresh)
    }

    fn run(&mut self) -> Result<Exit<'_>, KvmError> {
        match self.file.run() {
            Ok(Entry::Exit(_)) => self.decode(),
            Ok(Entry::Interrupted) => Ok(Exit::Interrupted),
            Ok(Entry::Fault(fault)) => Ok(Exit::Fault(fault)),
            Err(error) => self.give_up(error).map(Exit::Fault),
        }
    }

    fn interrupter(&self) -> Arc<dyn Interrupter> {
        self.file.interrupter()
    }
}
