//! Parameters of a boot, and the boot itself on any board.

use boot_core::{CpuState, machine::Machine};
use guest_ram::GuestRam;
use hv_core::{Board, BoardDevices, Outcome, Policy, RunError, SerialInput, Vm};

/// A machine to build and boot. `C` is the configuration of vCPUs that a [`Machine`] does not describe; each harness has
/// an alias with its own.
#[derive(Debug)]
#[non_exhaustive]
pub struct MachineBoot<'a, C = ()> {
    /// Description of the machine. A device tree for the guest is written from the same value.
    pub machine: &'a Machine,
    /// RAM with the loaded boot plan.
    pub ram: &'a GuestRam,
    /// Entry state of the first vCPU.
    pub state: &'a CpuState,
    /// Policy of the run.
    pub policy: &'a Policy,
    /// Host side of the devices.
    pub devices: BoardDevices,
    /// Configuration of the vCPUs.
    pub config: C,
}

impl<'a, C: Default> MachineBoot<'a, C> {
    /// A boot with the devices of [`BoardDevices::new`] and the default configuration of vCPUs.
    #[must_use]
    pub fn new(machine: &'a Machine, ram: &'a GuestRam, state: &'a CpuState, policy: &'a Policy) -> Self {
        Self {
            machine,
            ram,
            state,
            policy,
            devices: BoardDevices::new(machine.arch),
            config: C::default(),
        }
    }
}

impl<C> MachineBoot<'_, C> {
    /// Sets the host side of the devices.
    #[must_use]
    pub fn with_devices(mut self, devices: BoardDevices) -> Self {
        self.devices = devices;
        self
    }

    /// Sets the configuration of the vCPUs.
    #[must_use]
    pub fn with_config(mut self, config: C) -> Self {
        self.config = config;
        self
    }

    /// Builds the board with `build`, starts it and runs it. `with_input` receives the console's input, if there is a
    /// console, before the guest starts.
    ///
    /// # Errors
    ///
    /// Those of `build` and of [`Board::boot`].
    pub fn run_on<V: Vm>(
        self,
        build: impl FnOnce(&GuestRam, BoardDevices) -> Result<Board<V>, RunError<V::Error>>,
        with_input: impl FnOnce(SerialInput),
    ) -> Result<Outcome, RunError<V::Error>> {
        let mut board = build(self.ram, self.devices)?;
        board.console_input().map(with_input);
        board.boot(self.state, self.policy)
    }
}
