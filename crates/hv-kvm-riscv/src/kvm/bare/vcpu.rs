//! The vCPU of a bare machine.

use std::{mem, sync::Arc};

use boot_core::{Arch, CpuState, cpu::riscv64::State};
use hv_core::{
    BackEndCall, BareVcpu, DebugCause, DebugStop, Fault, RegisterImage, Vcpu, VcpuExit, VcpuKicker,
};
use hv_kvm::{HarnessError, RunStatus, VcpuFile};
use kvm_bindings::{KVM_EXIT_DEBUG, KVM_EXIT_INTERNAL_ERROR, KVM_EXIT_RISCV_CSR, KVM_EXIT_RISCV_SBI};
use kvm_ioctls::VcpuFd;

use super::{machine::Machine, state};
use crate::{
    BareState, KvmError, MpState, Register,
    kvm::{exits, memory::Memory, one_reg, request::failed_request},
    rewind::{self, ImageParts},
    sbi::GuestMemoryAccess as _,
    state::entry_registers,
};

/// `sstatus` at the entry of the rewind code: 64-bit user mode, `FS` initial, interrupts disabled.
const SSTATUS_AT_ENTRY: u64 = 2 << 32 | 1 << 13;

/// `sstatus.VS`: initial. Without the V extension, the guest could not change the field, so it must stay zero.
const VS_INITIAL: u64 = 1 << 9;

/// Length of `ecall` in bytes. KVM adds it to the program counter when it completes a call.
const ECALL_LEN: u64 = 4;

/// The vCPU of a [`KvmBareVm`](super::KvmBareVm).
///
/// [`run`](Vcpu::run) blocks while the guest waits for an interrupt (`WFI`), until an interrupt or a kick. After a
/// [`rewind`](BareVcpu::rewind), the register image in the guest's memory must not change until the next exit.
///
/// A doorbell returns 0 in `a0`; `a1` is unspecified. After a [`capture`](BareVcpu::capture) in a doorbell, it is the address of the next
/// instruction: the rewind code jumps there with it.
#[derive(Debug)]
pub struct KvmBareVcpu {
    /// Before `machine`, because the vCPU must not outlive the memory that the machine owns.
    pub(super) file: VcpuFile,
    pub(super) machine: Arc<Machine>,
    /// The last exit was the doorbell, and the call is not completed.
    rang: bool,
    /// The guest has run, so its CPU may have cached translations.
    has_run: bool,
    /// The rewind code was entered, or will be, and has not finished.
    is_loading: bool,
    pub(super) is_debugged: bool,
}

impl KvmBareVcpu {
    pub(super) fn create(machine: Arc<Machine>, index: u32) -> Result<Self, KvmError> {
        if index != 0 {
            return Err(HarnessError::NoSuchVcpu { index, count: 1 }.into());
        }
        // On an error this closes the descriptor, before the caller's reference to the machine ends.
        let file = machine
            .process
            .create_vcpu(machine.file.fd(), machine.disabled_extensions)?;
        Ok(Self {
            file,
            machine,
            rang: false,
            has_run: false,
            is_loading: false,
            is_debugged: false,
        })
    }

    fn fd(&self) -> &VcpuFd {
        self.file.fd()
    }

    fn write(&self, register: Register, value: u64) -> Result<(), KvmError> {
        one_reg::write_number(self.fd(), register, value)
    }

    /// Writes integer register `number`.
    fn write_x(&self, number: u16, value: u64) -> Result<(), KvmError> {
        Register::x(number).map_or(Ok(()), |register| self.write(register, value))
    }

    /// Completes the I/O or call of the last exit without the execution of further instructions.
    fn complete_io(&mut self) -> Result<(), KvmError> {
        if mem::take(&mut self.rang) && !self.is_loading {
            let call = one_reg::read_number(self.fd(), Register::PC)?;
            exits::set_sbi_result(&mut self.file, [0, call.wrapping_add(ECALL_LEN)]);
        }
        // An instruction has one access, so there is no further exit.
        self.file
            .complete_io()
            .map(drop)
            .map_err(failed_request("KVM_RUN"))
    }

    /// Completes what the last exit or rewind left to the next run, for code that accesses registers.
    pub(super) fn finish(&mut self) -> Result<(), KvmError> {
        self.complete_io()?;
        if self.is_loading {
            let image = self.image()?;
            self.load(&image)?;
            self.is_loading = false;
        }
        Ok(())
    }

    /// The register image in the guest's memory.
    fn image(&self) -> Result<Vec<u8>, KvmError> {
        let address = self.machine.config.rewind_image;
        let mut image = vec![0; self.machine.process.layout.image_len()];
        if Memory(&self.machine.file).read(address, &mut image) {
            Ok(image)
        } else {
            Err(KvmError::NoRegisterImage { address })
        }
    }

    /// Makes the vCPU a runnable one in supervisor mode, without address translation and interrupts, whose next instruction is at offset
    /// `entry` of the rewind code. No I/O is pending.
    fn redirect(&self, entry: u64) -> Result<(), KvmError> {
        state::write_mp_state(self.fd(), MpState::RUNNABLE)?;
        self.write(Register::MODE, Register::MODE_S)?;
        self.write(Register::PC, self.machine.config.rewind_code.wrapping_add(entry))?;
        self.redirect_control()
    }

    fn redirect_control(&self) -> Result<(), KvmError> {
        self.write(Register::SATP, 0)?;
        let has_vectors = self.machine.process.layout.parts.contains(ImageParts::VECTOR);
        let vs = if has_vectors { VS_INITIAL } else { 0 };
        self.write(Register::SSTATUS, SSTATUS_AT_ENTRY | vs)
    }

    /// Flushes the translations and instructions that the guest's CPU cached, and writes the registers of `image`. No I/O is pending.
    fn load(&mut self, image: &[u8]) -> Result<(), KvmError> {
        if self.has_run {
            self.flush()?;
        }
        state::write_image(&self.machine.process.layout, self.fd(), image)
    }

    /// Runs the second entry point of the rewind code. It leaves the registers undefined.
    fn flush(&mut self) -> Result<(), KvmError> {
        const A6: u16 = 16;
        const A7: u16 = 17;
        let config = self.machine.config;
        self.redirect(rewind::FLUSH_ENTRY)?;
        self.write_x(A6, 0)?;
        self.write_x(A7, config.doorbell)?;
        let mut was_kicked = false;
        loop {
            match self.file.run() {
                Ok(RunStatus::Interrupted) => was_kicked = true,
                Ok(RunStatus::Exit(KVM_EXIT_RISCV_SBI)) => break,
                Ok(RunStatus::Exit(_) | RunStatus::Fault(_)) => {
                    return Err(KvmError::NoRewindCode {
                        address: config.rewind_code,
                        source: None,
                    });
                }
                Err(error) => {
                    return Err(KvmError::NoRewindCode {
                        address: config.rewind_code,
                        source: Some(error.into()),
                    });
                }
            }
        }
        if was_kicked {
            // The request was for the guest's next run.
            self.file.kicker().kick();
        }
        self.complete_io()
    }

    /// Discards the I/O of the last exit and loads `image` and `saved` without the rewind code in the guest.
    fn load_all(&mut self, saved: &BareState, image: &[u8]) -> Result<(), KvmError> {
        self.complete_io()?;
        self.is_loading = false;
        self.load(image)?;
        state::write_others(self.fd(), saved)?;
        self.write(Register::MODE, saved.mode)?;
        state::write_mp_state(self.fd(), saved.mp_state)
    }

    fn decode(&mut self) -> VcpuExit<'_> {
        match self.file.kvm_run().exit_reason {
            KVM_EXIT_RISCV_SBI => {
                let call = exits::sbi_call(&mut self.file);
                let (extension, function) = (call.extension, call.function);
                if (extension, function) != (self.machine.config.doorbell, 0) {
                    return VcpuExit::Fault(Fault::UnexpectedCall(BackEndCall::Sbi { extension, function }));
                }
                exits::set_sbi_result(&mut self.file, [0, 0]);
                self.rang = true;
                let [value, ..] = call.args;
                VcpuExit::Doorbell(value)
            }
            KVM_EXIT_RISCV_CSR if self.machine.config.entropy => exits::handle_csr(&mut self.file),
            KVM_EXIT_RISCV_CSR => {
                let number = exits::csr_number(&mut self.file);
                VcpuExit::Fault(Fault::UnexpectedCall(BackEndCall::Csr { number }))
            }
            KVM_EXIT_DEBUG if self.is_debugged => match one_reg::pc(self.fd()) {
                Some(pc) => VcpuExit::Debug(DebugStop::new(pc, DebugCause::Breakpoint)),
                None => self.file.decode(),
            },
            KVM_EXIT_INTERNAL_ERROR => {
                let pc = one_reg::pc(self.fd());
                VcpuExit::Fault(self.file.internal_error(pc))
            }
            _ => self.file.decode(),
        }
    }

    /// Whether the vCPU is in the rewind code.
    fn is_in_rewind_code(&self) -> Result<bool, KvmError> {
        let pc = one_reg::read_number(self.fd(), Register::PC)?;
        let offset = pc.wrapping_sub(self.machine.config.rewind_code);
        Ok(usize::try_from(offset).is_ok_and(|offset| offset < rewind::CODE.len()))
    }
}

impl Vcpu for KvmBareVcpu {
    type Error = KvmError;

    fn index(&self) -> u32 {
        0
    }

    fn state(&mut self) -> Result<CpuState, KvmError> {
        self.finish()?;
        let number = |register| one_reg::read_number(self.fd(), register);
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
        self.finish()?;
        for (register, value) in entry_registers(state) {
            self.write(register, value)?;
        }
        Ok(())
    }

    fn reset(&mut self) -> Result<(), KvmError> {
        let process = self.machine.process;
        self.load_all(&process.reset_state, &process.reset_image.0)
    }

    fn run(&mut self) -> Result<VcpuExit<'_>, KvmError> {
        let status = self.file.run();
        self.has_run = true;
        if matches!(status, Ok(RunStatus::Interrupted)) {
            // A kick before the entry leaves the call pending.
            self.rang &= self.file.is_io_pending();
            // A guest that jumps into the rewind code itself is taken for one that has not left it yet. It harms only itself.
            self.is_loading = self.is_loading && self.is_in_rewind_code()?;
            return Ok(VcpuExit::Interrupted);
        }
        (self.rang, self.is_loading) = (false, false);
        match status {
            Ok(RunStatus::Exit(_)) => Ok(self.decode()),
            Ok(RunStatus::Interrupted) => Ok(VcpuExit::Interrupted),
            Ok(RunStatus::Fault(fault)) => Ok(VcpuExit::Fault(*fault)),
            Err(error) => exits::fault_from_errno(error, self.fd()).map(VcpuExit::Fault),
        }
    }

    fn kicker(&self) -> Arc<dyn VcpuKicker> {
        self.file.kicker()
    }
}

impl BareVcpu for KvmBareVcpu {
    type Saved = BareState;

    fn capture(&mut self, image: &mut RegisterImage) -> Result<BareState, KvmError> {
        self.finish()?;
        state::capture(&self.machine.process.layout, self.fd(), image)
    }

    /// `flush` is not needed: a rewind always flushes.
    fn rewind(&mut self, saved: &BareState, _flush: bool) -> Result<(), KvmError> {
        const A0: u16 = 10;
        let config = self.machine.config;
        if !saved.is_loadable {
            let image = self.image()?;
            return self.load_all(saved, &image);
        }
        self.is_loading = true;
        if self.rang {
            // The vCPU is a runnable one in supervisor mode. The next run completes the call: it sets `a0` and adds the length of the call
            // to the program counter.
            exits::set_sbi_result(&mut self.file, [config.rewind_image, 0]);
            let before = rewind::ENTRY.wrapping_sub(ECALL_LEN);
            self.write(Register::PC, config.rewind_code.wrapping_add(before))?;
            self.redirect_control()?;
        } else {
            self.complete_io()?;
            self.redirect(rewind::ENTRY)?;
            self.write_x(A0, config.rewind_image)?;
        }
        state::write_others(self.fd(), saved)
    }
}
