//! Operations of a debugger on a stopped guest.

use std::collections::BTreeMap;

use boot_core::{GuestRange, arith};
use hv_core::{BreakOn, DebugCause, DebugRequest, DebugStop, GuestRegisters, HardwareBreakpoint};

use crate::{
    memory::AddressSpace,
    step,
    target::{BreakpointInstruction, DebugTarget, TargetError},
};

/// Code that a breakpoint instruction replaced.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Planted {
    physical: u64,
    original: Vec<u8>,
    instruction: &'static [u8],
}

/// Breakpoints by their virtual address.
#[derive(Debug, Default)]
pub(crate) struct Breakpoints {
    software: BTreeMap<u64, Planted>,
    hardware: Vec<HardwareBreakpoint>,
    /// Breakpoints after the instruction that is stepped.
    step: BTreeMap<u64, Planted>,
}

/// Why a guest stopped, in the terms of a debugger.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Reason {
    Step,
    Software,
    Hardware,
    Watch { address: u64, on: BreakOn },
    Other,
}

/// Largest number of software breakpoints and of hardware breakpoints.
const MAX_BREAKPOINTS: usize = 4096;

/// A stopped guest with its breakpoints.
pub(crate) struct Debuggee<'a> {
    pub(crate) target: &'a mut dyn DebugTarget,
    pub(crate) breakpoints: &'a mut Breakpoints,
}

impl Debuggee<'_> {
    /// Reads memory. Returns the number of bytes up to the first that cannot be read. Breakpoint instructions are hidden.
    pub(crate) fn read(&mut self, address: u64, bytes: &mut [u8]) -> Result<usize, TargetError> {
        let space = self.space()?;
        let mut done = 0;
        while let Some(rest) = bytes.get_mut(done..).filter(|rest| !rest.is_empty()) {
            let at = address.wrapping_add(arith::to_u64(done));
            let Some((physical, len)) = self.piece(space, at, rest.len()) else {
                break;
            };
            let part = rest.get_mut(..len).unwrap_or_default();
            if !self.target.read(physical, part) {
                break;
            }
            for planted in self.breakpoints.planted() {
                overlay(part, physical, &planted.original, planted.physical);
            }
            done = done.saturating_add(len);
        }
        Ok(done)
    }

    /// Writes memory. Breakpoint instructions stay, and are removed from what was written later.
    pub(crate) fn write(&mut self, address: u64, bytes: &[u8]) -> Result<(), TargetError> {
        let space = self.space()?;
        let mut done = 0;
        while let Some(rest) = bytes.get(done..).filter(|rest| !rest.is_empty()) {
            let at = address.wrapping_add(arith::to_u64(done));
            let (physical, len) = space.translate(&*self.target, at)?;
            let len = usize::try_from(len).unwrap_or(usize::MAX).min(rest.len());
            let mut part = rest.get(..len).unwrap_or_default().to_vec();
            for planted in self.breakpoints.planted_mut() {
                overlay(&mut planted.original, planted.physical, &part, physical);
            }
            for planted in self.breakpoints.planted() {
                overlay(&mut part, physical, planted.instruction, planted.physical);
            }
            self.target.write(physical, &part)?;
            done = done.saturating_add(len);
        }
        Ok(())
    }

    /// Adds a software breakpoint. Returns false if there is no code at the address.
    pub(crate) fn add_software(&mut self, address: u64) -> Result<bool, TargetError> {
        if self.breakpoints.software.contains_key(&address) {
            return Ok(true);
        }
        if self.breakpoints.software.len() >= MAX_BREAKPOINTS {
            return Ok(false);
        }
        let Some(planted) = self.plant(address)? else {
            return Ok(false);
        };
        self.breakpoints.software.insert(address, planted);
        Ok(true)
    }

    /// Removes a software breakpoint. Returns false if there is none.
    pub(crate) fn remove_software(&mut self, address: u64) -> Result<bool, TargetError> {
        match self.breakpoints.software.remove(&address) {
            Some(planted) => self.uproot(&planted).map(|()| true),
            None => Ok(false),
        }
    }

    /// Adds a hardware breakpoint or watchpoint. Returns false if the hardware cannot have it.
    pub(crate) fn add_hardware(&mut self, breakpoint: HardwareBreakpoint) -> bool {
        if self.breakpoints.hardware.len() >= MAX_BREAKPOINTS {
            return false;
        }
        self.breakpoints.hardware.push(breakpoint);
        let is_accepted = self.target.set_debug(&self.request(false)).is_ok();
        if !is_accepted {
            self.breakpoints.hardware.pop();
        }
        is_accepted
    }

    /// Removes a hardware breakpoint or watchpoint. Returns false if there is none.
    pub(crate) fn remove_hardware(&mut self, breakpoint: HardwareBreakpoint) -> bool {
        let hardware = &mut self.breakpoints.hardware;
        let found = hardware.iter().position(|known| *known == breakpoint);
        found.map(|at| hardware.remove(at)).is_some()
    }

    /// Prepares the guest to run: for one instruction, or until a breakpoint.
    pub(crate) fn resume(&mut self, step: bool) -> Result<(), TargetError> {
        let by_breakpoints = step && !self.target.can_step();
        if by_breakpoints {
            self.plant_successors()?;
        }
        let request = self.request(step && !by_breakpoints);
        self.target.set_debug(&request)
    }

    /// Why the guest stopped. Ends a step by breakpoints.
    pub(crate) fn stopped(&mut self, stop: DebugStop) -> Result<Reason, TargetError> {
        let is_stepped = self.breakpoints.step.contains_key(&stop.pc);
        self.end_step()?;
        Ok(match stop.cause {
            DebugCause::Step => Reason::Step,
            DebugCause::Breakpoint if self.breakpoints.software.contains_key(&stop.pc) => Reason::Software,
            DebugCause::Breakpoint if is_stepped => Reason::Step,
            DebugCause::Hardware(index) => match self.breakpoints.hardware.get(usize::from(index)) {
                Some(known) if known.on == BreakOn::Execute => Reason::Hardware,
                Some(known) => Reason::Watch {
                    address: known.address,
                    on: known.on,
                },
                None => Reason::Other,
            },
            _ => Reason::Other,
        })
    }

    /// Whether the `HLT` that the guest executed is that of a breakpoint. If so, the instruction address goes back to it.
    pub(crate) fn halted(&mut self) -> Result<bool, TargetError> {
        let mut registers = self.target.read_registers()?;
        let GuestRegisters::X86_64(state) = &mut registers else {
            return Ok(false);
        };
        let address = state.cpu.rip.wrapping_sub(1);
        let known = self.breakpoints.software.get(&address);
        if known.is_none_or(|planted| planted.instruction != HLT) {
            return Ok(false);
        }
        state.cpu.rip = address;
        self.target.write_registers(&registers)?;
        Ok(true)
    }

    /// Removes the breakpoints of a step.
    pub(crate) fn end_step(&mut self) -> Result<(), TargetError> {
        let step = std::mem::take(&mut self.breakpoints.step);
        step.values().try_for_each(|planted| self.uproot(planted))
    }

    /// Removes all breakpoints. Goes on after an error, and returns the first.
    pub(crate) fn detach(&mut self) -> Result<(), TargetError> {
        let mut result = self.end_step();
        for planted in std::mem::take(&mut self.breakpoints.software).values() {
            result = result.and(self.uproot(planted));
        }
        self.breakpoints.hardware.clear();
        result.and(self.target.set_debug(&DebugRequest::default()))
    }

    fn space(&mut self) -> Result<AddressSpace, TargetError> {
        Ok(AddressSpace::of(&self.target.read_registers()?))
    }

    /// The physical address of a virtual one, and the number of bytes on its page, at most `max`.
    fn piece(&self, space: AddressSpace, address: u64, max: usize) -> Option<(u64, usize)> {
        let (physical, len) = space.translate(&*self.target, address).ok()?;
        Some((physical, usize::try_from(len).unwrap_or(usize::MAX).min(max)))
    }

    fn request(&self, step: bool) -> DebugRequest {
        let mut request = DebugRequest::default();
        request.step = step;
        request.breakpoint_instructions =
            !self.breakpoints.software.is_empty() || !self.breakpoints.step.is_empty();
        request.hardware.clone_from(&self.breakpoints.hardware);
        request
    }

    /// Writes a breakpoint instruction. Returns `None` if the address has no memory.
    fn plant(&mut self, address: u64) -> Result<Option<Planted>, TargetError> {
        let registers = self.target.read_registers()?;
        let instruction = breakpoint(&registers, self.target.breakpoint_instruction());
        let space = AddressSpace::of(&registers);
        let mut original = vec![0; instruction.len()];
        if self.read(address, &mut original)? < original.len() {
            return Ok(None);
        }
        let Some((physical, len)) = self.piece(space, address, original.len()) else {
            return Ok(None);
        };
        // Breakpoint instructions are aligned, so they are on one page; an address that is not has none.
        let range = GuestRange::new(physical, arith::to_u64(original.len()));
        if len < original.len() || !range.is_some_and(|range| self.target.is_code(range)) {
            return Ok(None);
        }
        self.target.write(physical, instruction)?;
        Ok(Some(Planted {
            physical,
            original,
            instruction,
        }))
    }

    /// Writes the original code back.
    fn uproot(&mut self, planted: &Planted) -> Result<(), TargetError> {
        let mut code = planted.original.clone();
        // Another breakpoint may be in the same place.
        for other in self.breakpoints.planted() {
            overlay(&mut code, planted.physical, other.instruction, other.physical);
        }
        self.target.write(planted.physical, &code)
    }

    /// Writes breakpoint instructions at all successors of the current instruction of a riscv64 guest.
    fn plant_successors(&mut self) -> Result<(), TargetError> {
        let GuestRegisters::Riscv64(registers) = self.target.read_registers()? else {
            return Err("the hypervisor cannot step this guest".into());
        };
        let found = {
            let this = std::cell::RefCell::new(&mut *self);
            step::successors(&registers, |address| {
                let mut bytes = [0; 2];
                let read = this.borrow_mut().read(address, &mut bytes);
                matches!(read, Ok(2)).then_some(u16::from_le_bytes(bytes))
            })
        };
        let found = found.ok_or("the instruction to be stepped cannot be read")?;
        for address in found {
            // An address without memory is not reached: the guest has an exception there.
            if !self.breakpoints.step.contains_key(&address)
                && let Some(planted) = self.plant(address)?
            {
                self.breakpoints.step.insert(address, planted);
            }
        }
        Ok(())
    }
}

impl Breakpoints {
    fn planted(&self) -> impl Iterator<Item = &Planted> {
        self.software.values().chain(self.step.values())
    }

    fn planted_mut(&mut self) -> impl Iterator<Item = &mut Planted> {
        self.software.values_mut().chain(self.step.values_mut())
    }
}

const HLT: &[u8] = &[0xf4];

fn breakpoint(registers: &GuestRegisters, kind: BreakpointInstruction) -> &'static [u8] {
    match (registers, kind) {
        // BRK #0
        (GuestRegisters::Aarch64(_), _) => &[0x00, 0x00, 0x20, 0xd4],
        // C.EBREAK also works in place of a longer instruction.
        (GuestRegisters::Riscv64(_), _) => &[0x02, 0x90],
        (_, BreakpointInstruction::Halt) => HLT,
        // INT3
        (_, BreakpointInstruction::Exception) => &[0xcc],
    }
}

/// Copies the bytes of `from` at address `from_at` to those of `to` at `to_at`, as far as they overlap.
fn overlay(to: &mut [u8], to_at: u64, from: &[u8], from_at: u64) {
    let range = |start, bytes: &[u8]| GuestRange::new(start, arith::to_u64(bytes.len()));
    let (Some(to_range), Some(from_range)) = (range(to_at, to), range(from_at, from)) else {
        return;
    };
    let Some(common) = to_range.intersection(from_range) else {
        return;
    };
    let offset = |start| usize::try_from(common.start().saturating_sub(start)).unwrap_or(usize::MAX);
    let to = to.get_mut(offset(to_at)..).unwrap_or_default();
    let from = from.get(offset(from_at)..).unwrap_or_default();
    to.iter_mut().zip(from).for_each(|(to, from)| *to = *from);
}
