//! A machine that is loaded.

use boot_core::{CpuState, Machine};
use guest_ram::GuestRam;
use hv_core::{BoardDevices, Policy};

use crate::console::Console;

/// A machine that is loaded.
pub(crate) struct Start<'a> {
    pub(crate) machine: &'a Machine,
    pub(crate) ram: &'a GuestRam,
    pub(crate) state: &'a CpuState,
    pub(crate) console: Console,
    /// The page whose writes end the run.
    pub(crate) exit_page: Option<u64>,
    pub(crate) policy: &'a Policy,
}

impl Start<'_> {
    /// Devices with the console and the exit page of the case.
    pub(super) fn devices(&self) -> BoardDevices {
        BoardDevices::new(self.machine.arch)
            .with_console(self.console.clone())
            .with_exit_page(self.exit_page)
    }
}
