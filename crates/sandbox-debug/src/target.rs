//! What a debugger needs of a stopped guest.

use std::error::Error;

use boot_core::GuestRange;
use hv_core::{DebugRequest, DebugStop, GuestRegisters};

use crate::memory::PhysicalMemory;

/// Error of the back end of a debugged guest.
pub type TargetError = Box<dyn Error + Send + Sync>;

/// A stopped guest under a debugger.
pub trait DebugTarget: PhysicalMemory {
    /// The registers.
    ///
    /// # Errors
    ///
    /// Errors of the back end.
    fn read_registers(&mut self) -> Result<GuestRegisters, TargetError>;

    /// Replaces the registers.
    ///
    /// # Errors
    ///
    /// Errors of the back end, among them values that the hypervisor does not accept.
    fn write_registers(&mut self, registers: &GuestRegisters) -> Result<(), TargetError>;

    /// Writes memory at a guest physical address, also where the guest itself cannot: breakpoint instructions go into its code. Memory that
    /// is shared with other machines has to be copied before.
    ///
    /// # Errors
    ///
    /// Some bytes are not in memory, or cannot be written. Some may have been.
    fn write(&mut self, address: u64, bytes: &[u8]) -> Result<(), TargetError>;

    /// Replaces the requested debug exceptions. It is called before each resume, and also to find out what the hardware can do.
    ///
    /// # Errors
    ///
    /// Errors of the back end, among them more or other breakpoints than the hardware has.
    fn set_debug(&mut self, request: &DebugRequest) -> Result<(), TargetError>;

    /// Whether [`DebugRequest::step`] is supported. Without it, only riscv64 guests can be stepped: by breakpoints after the instruction.
    fn can_step(&self) -> bool;

    /// Whether a breakpoint instruction may be written at these guest physical addresses. The default is everywhere; a target whose other
    /// memory is copied or shared, for example by snapshots, names its code only.
    fn is_code(&self, range: GuestRange) -> bool {
        let _ = range;
        true
    }

    /// The instruction that takes the place of code at a software breakpoint. The default is [`BreakpointInstruction::Exception`].
    fn breakpoint_instruction(&self) -> BreakpointInstruction {
        BreakpointInstruction::Exception
    }
}

/// Instruction of a software breakpoint.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum BreakpointInstruction {
    /// That of the architecture: `INT3`, `BRK #0`, `C.EBREAK`. The hypervisor reports its exception
    /// ([`DebugRequest::breakpoint_instructions`]).
    #[default]
    Exception,
    /// `HLT` on x86_64, as [`Exception`](Self::Exception) on others. For guests that run in ring 0 on a machine without interrupt controller:
    /// every hypervisor reports it, also one below which `INT3` is not intercepted (QEMU's emulation of SVM) or not known (KVM without VMX
    /// and SVM).
    Halt,
}

/// Why the guest stopped.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Stop {
    /// It has not run since the debugger was attached.
    Attached,
    /// A requested debug exception ([`VcpuExit::Debug`](hv_core::VcpuExit::Debug)).
    Debug(DebugStop),
    /// The vCPU was kicked ([`VcpuExit::Interrupted`](hv_core::VcpuExit::Interrupted)).
    Interrupted,
    /// It executed `HLT` on x86_64 ([`VcpuExit::Halt`](hv_core::VcpuExit::Halt)). The instruction address is that after it.
    Halted,
    /// It crashed: the number of the signal that describes it best, as in [`CoreDump::with_signal`](crate::CoreDump::with_signal).
    Crashed(u8),
}

/// What to do with the stopped guest.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Resume {
    /// Run it, and report the next stop.
    Run,
    /// The `HLT` of [`Stop::Halted`] is the guest's own: do as without a debugger.
    OwnHalt,
    /// Run it. The debugger is gone, and its breakpoints are removed.
    Detached,
    /// End it. The debugger is gone.
    Killed,
}
