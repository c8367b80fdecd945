//! A guest of any architecture that executes a few instructions.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use boot_core::{
    Arch, CpuState, GuestRange,
    cpu::{aarch64, riscv64, x86_64},
};
use hv_core::{BreakOn, DebugCause, DebugRequest, DebugStop, GuestRegisters, VcpuKicker};
use sandbox_debug::{
    BreakpointInstruction, DebugTarget, GdbSession, PhysicalMemory, Resume, Stop, TargetError,
};

/// First address of the memory.
pub(crate) const START: u64 = 0x1_0000;

/// Length of the memory.
const LEN: usize = 0x1_0000;

/// Address of the word that the guests write.
pub(crate) const DATA: u64 = START + 0x8000;

/// Two instructions that do nothing, one that writes 0x77 to [`DATA`], one that does nothing, and a jump to the first.
///
/// x86_64: nop; nop; mov byte ptr [rdi], 0x77; nop; jmp. arm64: nop; nop; strb w1, [x0]; nop; b. riscv64: c.nop; nop; sb a1, 0(a0); c.nop; c.j.
fn program(arch: Arch) -> &'static [u8] {
    match arch {
        Arch::Aarch64 => b"\x1f\x20\x03\xd5\x1f\x20\x03\xd5\x01\x00\x00\x39\x1f\x20\x03\xd5\xfc\xff\xff\x17",
        Arch::Riscv64 => b"\x01\x00\x13\x00\x00\x00\x23\x00\xb5\x00\x01\x00\xd5\xbf",
        _ => b"\x90\x90\xc6\x07\x77\x90\xeb\xf8",
    }
}

/// Addresses of the instructions of the program.
pub(crate) fn addresses(arch: Arch) -> [u64; 5] {
    let offsets = match arch {
        Arch::Aarch64 => [0, 4, 8, 12, 16],
        Arch::Riscv64 => [0, 2, 6, 10, 12],
        _ => [0, 1, 2, 5, 6],
    };
    offsets.map(|offset| START + offset)
}

/// A kick.
#[derive(Debug, Default)]
pub(crate) struct Kick(AtomicBool);

impl VcpuKicker for Kick {
    fn kick(&self) {
        self.0.store(true, Ordering::SeqCst);
    }
}

/// The guest.
#[derive(Debug)]
pub(crate) struct FakeTarget {
    pub(crate) registers: GuestRegisters,
    pub(crate) memory: Vec<u8>,
    request: DebugRequest,
    pub(crate) kick: Arc<Kick>,
    /// Largest number of hardware breakpoints.
    hardware: usize,
    pub(crate) instruction: BreakpointInstruction,
}

impl FakeTarget {
    pub(crate) fn new(arch: Arch) -> Self {
        let state: CpuState = match arch {
            Arch::Aarch64 => {
                let mut state = aarch64::State::new(START);
                (state.x[0], state.x[1]) = (DATA, 0x77);
                state.into()
            }
            Arch::Riscv64 => {
                let mut state = riscv64::State::new(START);
                (state.x[10], state.x[11]) = (DATA, 0x77);
                state.into()
            }
            _ => {
                // Without paging, but with registers of 64 bits.
                let mut state = x86_64::State::long_mode(START, 0, 8, 16);
                state.cr0 &= !x86_64::cr0::PG;
                state.rdi = DATA;
                state.into()
            }
        };
        let mut memory = vec![0; LEN];
        let program = program(arch);
        memory[..program.len()].copy_from_slice(program);
        Self {
            registers: GuestRegisters::new(&state).unwrap(),
            memory,
            request: DebugRequest::default(),
            kick: Arc::default(),
            instruction: BreakpointInstruction::Exception,
            hardware: if arch == Arch::Riscv64 { 0 } else { 2 },
        }
    }

    fn set_pc(&mut self, pc: u64) {
        match &mut self.registers {
            GuestRegisters::X86_64(registers) => registers.cpu.rip = pc,
            GuestRegisters::Aarch64(registers) => registers.pc = pc,
            GuestRegisters::Riscv64(registers) => registers.pc = pc,
            _ => {}
        }
    }

    fn hardware(&self, on: impl Fn(BreakOn) -> bool, address: u64) -> Option<DebugCause> {
        let hits = |known: &hv_core::HardwareBreakpoint| {
            on(known.on) && (known.address..known.address + u64::from(known.len)).contains(&address)
        };
        let found = self.request.hardware.iter().position(hits)?;
        Some(DebugCause::Hardware(u8::try_from(found).unwrap()))
    }

    /// Runs to the next stop.
    fn run(&mut self) -> Result<Stop, TargetError> {
        let arch = self.registers.arch();
        let mut is_first = true;
        loop {
            if self.kick.0.swap(false, Ordering::SeqCst) {
                return Ok(Stop::Interrupted);
            }
            let pc = self.registers.pc();
            let stop = |cause| Ok(Stop::Debug(DebugStop::new(pc, cause)));
            if !is_first && self.request.step {
                return stop(DebugCause::Step);
            }
            // Like x86_64 with RF set: the instruction at which the guest stopped is executed.
            if !is_first && let Some(cause) = self.hardware(|on| on == BreakOn::Execute, pc) {
                return stop(cause);
            }
            is_first = false;
            let at = usize::try_from(pc.checked_sub(START).ok_or("below the memory")?)?;
            let code = self.memory.get(at..at + 4).ok_or("above the memory")?;
            let mut store = false;
            let next = match (arch, code) {
                (Arch::X86_64, [0xcc, ..])
                | (Arch::Aarch64, [0, 0, 0x20, 0xd4])
                | (Arch::Riscv64, [0x02, 0x90, ..]) => {
                    return if self.request.breakpoint_instructions {
                        stop(DebugCause::Breakpoint)
                    } else {
                        Ok(Stop::Crashed(5))
                    };
                }
                (Arch::X86_64, [0xf4, ..]) => {
                    self.set_pc(pc + 1);
                    return Ok(Stop::Halted);
                }
                (Arch::X86_64, [0x90, ..]) => pc + 1,
                (Arch::X86_64, [0xc6, 0x07, 0x77, _]) => {
                    store = true;
                    pc + 3
                }
                (Arch::Aarch64, [0x1f, 0x20, 0x03, 0xd5]) | (Arch::Riscv64, [0x13, 0, 0, 0]) => pc + 4,
                (Arch::Aarch64, [0x01, 0, 0, 0x39]) | (Arch::Riscv64, [0x23, 0, 0xb5, 0]) => {
                    store = true;
                    pc + 4
                }
                (Arch::Riscv64, [0x01, 0x00, ..]) => pc + 2,
                (Arch::X86_64, [0xeb, 0xf8, ..])
                | (Arch::Aarch64, [0xfc, 0xff, 0xff, 0x17])
                | (Arch::Riscv64, [0xd5, 0xbf, ..]) => START,
                // No instruction: the guest faults.
                _ => return Ok(Stop::Crashed(4)),
            };
            self.set_pc(next);
            if store {
                self.memory[usize::try_from(DATA - START)?] = 0x77;
                if let Some(cause) = self.hardware(|on| on != BreakOn::Execute, DATA) {
                    return Ok(Stop::Debug(DebugStop::new(next, cause)));
                }
            }
        }
    }

    /// Runs under a debugger until it goes.
    pub(crate) fn debug(&mut self, session: &mut GdbSession) -> Result<Resume, TargetError> {
        let mut stop = Stop::Attached;
        loop {
            match session.stopped(stop, self)? {
                Resume::Run => stop = self.run()?,
                end => return Ok(end),
            }
        }
    }
}

impl PhysicalMemory for FakeTarget {
    fn ranges(&self) -> Vec<GuestRange> {
        vec![GuestRange::new(START, 0x1_0000).unwrap()]
    }

    fn read(&self, address: u64, bytes: &mut [u8]) -> bool {
        let at = address.checked_sub(START).and_then(|at| usize::try_from(at).ok());
        let found = at
            .and_then(|at| self.memory.get(at..))
            .and_then(|rest| rest.get(..bytes.len()));
        if let Some(found) = found {
            bytes.copy_from_slice(found);
        }
        found.is_some()
    }
}

impl DebugTarget for FakeTarget {
    fn read_registers(&mut self) -> Result<GuestRegisters, TargetError> {
        Ok(self.registers.clone())
    }

    fn write_registers(&mut self, registers: &GuestRegisters) -> Result<(), TargetError> {
        self.registers = registers.clone();
        Ok(())
    }

    fn write(&mut self, address: u64, bytes: &[u8]) -> Result<(), TargetError> {
        let at = usize::try_from(address.checked_sub(START).ok_or("below the memory")?)?;
        let memory = self
            .memory
            .get_mut(at..)
            .and_then(|rest| rest.get_mut(..bytes.len()));
        memory.ok_or("above the memory")?.copy_from_slice(bytes);
        Ok(())
    }

    fn set_debug(&mut self, request: &DebugRequest) -> Result<(), TargetError> {
        if request.hardware.len() > self.hardware || (request.step && !self.can_step()) {
            return Err("the hardware cannot do this".into());
        }
        self.request = request.clone();
        Ok(())
    }

    fn can_step(&self) -> bool {
        self.registers.arch() != Arch::Riscv64
    }

    fn breakpoint_instruction(&self) -> BreakpointInstruction {
        self.instruction
    }
}
