//! A loaded machine.

use boot_core::{CpuState, Machine};
use guest_ram::GuestRam;
use hv_core::{BoardDevices, RunConfig};

use crate::console::Console;

/// A loaded machine, ready to run.
pub(crate) struct Start<'a> {
    pub(crate) machine: &'a Machine,
    pub(crate) ram: &'a GuestRam,
    pub(crate) state: &'a CpuState,
    pub(crate) console: Console,
    /// Address of the debug-exit page.
    pub(crate) exit_page: Option<u64>,
    pub(crate) run_config: &'a RunConfig,
}

impl Start<'_> {
    /// Devices with the console and the exit page of the case.
    pub(super) fn devices(&self) -> BoardDevices {
        BoardDevices::new(self.machine.arch)
            .with_console(self.console.clone())
            .with_exit_page(self.exit_page)
    }
}
