//! A loaded machine.

use std::error::Error;
use std::fs::File;

use boot_core::{CpuState, Machine};
use guest_ram::GuestRam;
use hv_core::{BoardDevices, RunConfig};
use hv_virtio::{Disk, DiskConfig, block_device};

use crate::console::Console;
use crate::fixtures;
use crate::setup::{DiskContent, DiskSetup};

/// A loaded machine, ready to run.
pub(crate) struct Start<'a> {
    pub(crate) machine: &'a Machine,
    pub(crate) ram: &'a GuestRam,
    pub(crate) state: &'a CpuState,
    pub(crate) console: Console,
    /// In the virtio-mmio slots of the machine.
    pub(crate) disks: &'a [DiskSetup],
    /// Address of the debug-exit page.
    pub(crate) exit_page: Option<u64>,
    pub(crate) run_config: &'a RunConfig,
}

impl Start<'_> {
    /// Devices with the console, the disks and the exit page of the case.
    pub(super) fn devices(&self) -> Result<BoardDevices, Box<dyn Error>> {
        let slots = self.machine.platform.virtio_mmio.iter();
        let disks = slots
            .zip(self.disks)
            .map(|(slot, disk)| Ok(block_device(slot, open(disk)?, self.ram.clone())))
            .collect::<Result<Vec<_>, Box<dyn Error>>>()?;
        Ok(BoardDevices::new(self.machine.arch)
            .with_console(self.console.clone())
            .with_exit_page(self.exit_page)
            .with_mmio(disks))
    }
}

fn open(disk: &DiskSetup) -> Result<Disk, Box<dyn Error>> {
    let config = DiskConfig::default().with_mode(disk.mode);
    Ok(match &disk.content {
        DiskContent::Bytes(bytes) => Disk::new(bytes.clone(), &config)?,
        DiskContent::Fixture(name) => Disk::new(File::open(fixtures::path(name))?, &config)?,
    })
}
