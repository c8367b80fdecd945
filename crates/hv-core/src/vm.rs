//! What a hypervisor back end offers: virtual machines and their virtual CPUs.

use std::{error::Error, fmt, sync::Arc};

use boot_core::{Arch, CpuState};

use crate::Exit;

/// What was being done when a back end failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Operation {
    /// Creating a virtual machine.
    CreateVm,
    /// Creating a vCPU.
    CreateVcpu,
    /// Giving the guest a RAM slot.
    MapRam,
    /// Taking a RAM slot away.
    UnmapRam,
    /// Changing the level of an interrupt line.
    SetIrq,
    /// Reading a vCPU's registers.
    State,
    /// Writing a vCPU's registers.
    SetState,
    /// Resetting a vCPU.
    Reset,
    /// Running a vCPU.
    Run,
}

impl fmt::Display for Operation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::CreateVm => "creating a virtual machine",
            Self::CreateVcpu => "creating a vCPU",
            Self::MapRam => "mapping a RAM slot",
            Self::UnmapRam => "unmapping a RAM slot",
            Self::SetIrq => "setting an interrupt line",
            Self::State => "reading the registers of a vCPU",
            Self::SetState => "writing the registers of a vCPU",
            Self::Reset => "resetting a vCPU",
            Self::Run => "running a vCPU",
        })
    }
}

/// A virtual machine: RAM slots, interrupt lines, and a source of vCPUs.
///
/// The trait has no policy: which devices there are, and which exits end a run, is decided above it. All methods
/// take `&self` because devices raise interrupts from vCPU threads.
pub trait Vm: Send + Sync + 'static {
    /// The error of every operation of this back end.
    type Error: Error + Send + Sync + 'static;
    /// The back end's vCPU.
    type Vcpu: Vcpu<Error = Self::Error>;
    /// A handle that *owns* a piece of host memory to be used as guest RAM. The machine keeps the handle for as long
    /// as the guest can reach the memory, so the memory outlives its slot.
    type Ram: Send + Sync + 'static;

    /// The architecture of the guest.
    fn arch(&self) -> Arch;

    /// Creates vCPU number `index`, counted from 0, in its reset state. vCPU 0 is the one that boots; where the
    /// architecture has a way to start the others from inside the guest, they wait for it.
    ///
    /// # Errors
    ///
    /// The back end's own; creating the same index twice is one of them.
    fn create_vcpu(&self, index: u32) -> Result<Self::Vcpu, Self::Error>;

    /// Gives the guest `ram` as slot number `slot`.
    ///
    /// # Errors
    ///
    /// The back end's own; a slot that is in use and RAM that overlaps another slot are among them.
    fn map_ram(&self, slot: u32, ram: Self::Ram) -> Result<(), Self::Error>;

    /// Takes slot number `slot` away from the guest and returns its memory.
    ///
    /// # Errors
    ///
    /// The back end's own; a slot that is not in use is one of them.
    fn unmap_ram(&self, slot: u32) -> Result<Self::Ram, Self::Error>;

    /// Sets the level of interrupt line `line` (on a PC: the global system interrupt).
    ///
    /// # Errors
    ///
    /// The back end's own.
    fn set_irq(&self, line: u32, level: bool) -> Result<(), Self::Error>;

    /// Raises and lowers interrupt line `line`: one edge.
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
/// The registers that a boot protocol speaks of are reached through [`CpuState`]. Each back end offers its whole
/// register file as well, through typed ids of its own.
pub trait Vcpu: Send + 'static {
    /// The error of every operation of this back end.
    type Error: Error + Send + Sync + 'static;

    /// The vCPU's number, counted from 0.
    fn index(&self) -> u32;

    /// Reads the registers. An access that the last [`run`](Self::run) reported is completed first.
    ///
    /// # Errors
    ///
    /// The back end's own.
    fn state(&mut self) -> Result<CpuState, Self::Error>;

    /// Writes the registers. Everything that [`CpuState`] does not speak of keeps its value.
    ///
    /// # Errors
    ///
    /// The back end's own; a state of another architecture is one of them.
    fn set_state(&mut self, state: &CpuState) -> Result<(), Self::Error>;

    /// Puts the whole vCPU back into the state it was created in.
    ///
    /// # Errors
    ///
    /// The back end's own.
    fn reset(&mut self) -> Result<(), Self::Error>;

    /// Runs guest code until something needs the harness.
    ///
    /// # Errors
    ///
    /// The back end's own. What the *guest* did wrong is an [`Exit::Fault`], not an error.
    fn run(&mut self) -> Result<Exit<'_>, Self::Error>;

    /// A handle with which other threads get this vCPU out of [`run`](Self::run).
    fn interrupter(&self) -> Arc<dyn Interrupter>;
}

/// Gets a vCPU out of [`Vcpu::run`] from another thread.
pub trait Interrupter: Send + Sync {
    /// Asks the vCPU to leave, or not to enter, [`Vcpu::run`], which then returns [`Exit::Interrupted`].
    ///
    /// A request can be lost while the vCPU is on the verge of entering the guest, so callers repeat it until
    /// the vCPU has answered. One that arrives while the vCPU is not running makes its next `run` return at once.
    fn interrupt(&self);
}
