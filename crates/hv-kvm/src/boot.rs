//! Parameters of a boot, and the boot itself on any board.

use boot_core::{CpuState, machine::Machine};
use guest_ram::GuestRam;
use hv_core::{Board, BoardDevices, Outcome, RunConfig, RunError, SerialInput, Vm};

/// Parameters of a boot: a machine, its loaded RAM, its entry state and the configuration of the run.
///
/// `C` is the configuration that a [`Machine`] does not describe. Each harness has an alias of this type with its own `C`.
#[derive(Debug)]
#[non_exhaustive]
pub struct MachineBoot<'a, C = ()> {
    /// Description of the machine: the one for which the boot plan was made, so that a device tree in the plan matches.
    pub machine: &'a Machine,
    /// RAM with the loaded boot plan.
    pub ram: &'a GuestRam,
    /// Entry state of the first vCPU, from the boot plan.
    pub state: &'a CpuState,
    /// Configuration of the run.
    pub run_config: &'a RunConfig,
    /// Host side of the devices.
    pub devices: BoardDevices,
    /// Configuration that a [`Machine`] does not describe.
    pub config: C,
}

impl<'a, C: Default> MachineBoot<'a, C> {
    /// Parameters with the devices of [`BoardDevices::new`] and the default configuration.
    #[must_use]
    pub fn new(
        machine: &'a Machine,
        ram: &'a GuestRam,
        state: &'a CpuState,
        run_config: &'a RunConfig,
    ) -> Self {
        Self {
            machine,
            ram,
            state,
            run_config,
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

    /// Sets the configuration that a [`Machine`] does not describe.
    #[must_use]
    pub fn with_config(mut self, config: C) -> Self {
        self.config = config;
        self
    }

    /// Builds the board with `build`, boots it and runs it until the run ends. Before the guest starts, `with_input` receives
    /// the input of the serial port, if there is one.
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
        board.boot(self.state, self.run_config)
    }
}
