//! Traits of a hypervisor back end: virtual machines and virtual CPUs.

use std::{error::Error, fmt, sync::Arc};

use boot_core::{Arch, CpuState};

use crate::VcpuExit;

/// Operation of a back end. Errors contain it to name what failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Operation {
    /// Creating a virtual machine.
    CreateVm,
    /// Creating a vCPU.
    CreateVcpu,
    /// Mapping a RAM slot.
    MapRam,
    /// Unmapping a RAM slot.
    UnmapRam,
    /// Changing the level of an interrupt line.
    SetIrq,
    /// Reading a vCPU's registers.
    GetState,
    /// Writing a vCPU's registers.
    SetState,
    /// Resetting a vCPU.
    Reset,
    /// Running a vCPU.
    Run,
    /// Reading the dirty log of a RAM slot.
    DirtyLog,
    /// Capturing the state of a vCPU.
    Capture,
    /// Rewinding a vCPU to a captured state.
    Rewind,
    /// Setting the breakpoints of a vCPU.
    SetDebug,
}

impl fmt::Display for Operation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::CreateVm => "creating a virtual machine",
            Self::CreateVcpu => "creating a vCPU",
            Self::MapRam => "mapping a RAM slot",
            Self::UnmapRam => "unmapping a RAM slot",
            Self::SetIrq => "setting an interrupt line",
            Self::GetState => "reading the registers of a vCPU",
            Self::SetState => "writing the registers of a vCPU",
            Self::Reset => "resetting a vCPU",
            Self::Run => "running a vCPU",
            Self::DirtyLog => "reading the dirty log of a RAM slot",
            Self::Capture => "capturing the state of a vCPU",
            Self::Rewind => "rewinding a vCPU",
            Self::SetDebug => "setting the breakpoints of a vCPU",
        })
    }
}

/// A virtual machine: RAM slots, interrupt lines and the creation of vCPUs.
///
/// Devices, and the decision which exits end a run, are not part of it. All methods take `&self` because devices raise
/// interrupts from vCPU threads.
pub trait Vm: Send + Sync + 'static {
    /// Error type of the back end.
    type Error: Error + Send + Sync + 'static;
    /// vCPU type of the back end.
    type Vcpu: Vcpu<Error = Self::Error>;
    /// Handle that owns host memory for use as guest RAM, with its guest physical range. The machine keeps the handle while the
    /// guest can access the memory.
    type Ram: Send + Sync + 'static;

    /// The architecture of the guest.
    fn arch(&self) -> Arch;

    /// Creates vCPU number `index`, counted from 0, in its reset state. vCPU 0 is the boot CPU; the others wait until the
    /// guest starts them in the way of the architecture (SIPI, PSCI `CPU_ON`, SBI HSM).
    ///
    /// # Errors
    ///
    /// Errors of the back end, among them a second vCPU with the same index.
    fn create_vcpu(&self, index: u32) -> Result<Self::Vcpu, Self::Error>;

    /// Maps `ram` as slot number `slot`.
    ///
    /// # Errors
    ///
    /// Errors of the back end, among them a slot in use and RAM that overlaps another slot.
    fn map_ram(&self, slot: u32, ram: Self::Ram) -> Result<(), Self::Error>;

    /// Unmaps slot number `slot` and returns its memory.
    ///
    /// # Errors
    ///
    /// Errors of the back end, among them a slot that is not in use.
    fn unmap_ram(&self, slot: u32) -> Result<Self::Ram, Self::Error>;

    /// Sets the level of interrupt line `line`: the global system interrupt on a PC, the shared peripheral interrupt (counted
    /// from 0) on arm64, the source of the PLIC or APLIC (from 1 up) on riscv64.
    ///
    /// # Errors
    ///
    /// Errors of the back end.
    fn set_irq(&self, line: u32, level: bool) -> Result<(), Self::Error>;

    /// Raises and lowers interrupt line `line`, for an edge-triggered interrupt.
    ///
    /// # Errors
    ///
    /// As [`set_irq`](Self::set_irq).
    fn pulse_irq(&self, line: u32) -> Result<(), Self::Error> {
        self.set_irq(line, true)?;
        self.set_irq(line, false)
    }
}

/// A virtual CPU.
///
/// [`CpuState`] holds the registers that boot protocols define. Back ends give access to all registers with typed ids of their
/// own.
pub trait Vcpu: Send + 'static {
    /// Error type of the back end.
    type Error: Error + Send + Sync + 'static;

    /// The vCPU's number, counted from 0.
    fn index(&self) -> u32;

    /// Completes the access that the last [`run`](Self::run) reported, if any, and reads the registers.
    ///
    /// # Errors
    ///
    /// Errors of the back end.
    fn state(&mut self) -> Result<CpuState, Self::Error>;

    /// Completes the access that the last [`run`](Self::run) reported, if any, and writes the registers. Registers that are not
    /// in [`CpuState`] keep their values.
    ///
    /// # Errors
    ///
    /// Errors of the back end, among them a state of another architecture.
    fn set_state(&mut self, state: &CpuState) -> Result<(), Self::Error>;

    /// Resets the vCPU to its state after creation.
    ///
    /// # Errors
    ///
    /// Errors of the back end.
    fn reset(&mut self) -> Result<(), Self::Error>;

    /// Runs guest code until an exit. Blocks while the guest has not started this vCPU.
    ///
    /// # Errors
    ///
    /// Errors of the back end. A fault of the guest is a [`VcpuExit::Fault`], not an error.
    fn run(&mut self) -> Result<VcpuExit<'_>, Self::Error>;

    /// A handle that makes this vCPU leave [`run`](Self::run) from another thread.
    fn kicker(&self) -> Arc<dyn VcpuKicker>;
}

/// Handle that makes a vCPU leave [`Vcpu::run`] from another thread.
pub trait VcpuKicker: Send + Sync {
    /// Requests that the vCPU leaves [`Vcpu::run`], or does not enter it. `run` then returns [`VcpuExit::Interrupted`].
    ///
    /// No request is lost. If the vCPU is in `run`, that call or, if it returns another exit, the next one returns
    /// [`VcpuExit::Interrupted`]. If the vCPU is not running, its next `run` does, at once. Several requests before that return
    /// count as one.
    fn kick(&self);
}
