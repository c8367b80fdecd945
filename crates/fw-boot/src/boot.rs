//! From disks to an entry state.

use alloc::vec::Vec;

use bls::scan::{ScanConfig, Volume, scan};
use boot_core::{CpuState, GuestMemory};
use disk::{BlockDevice, BlockSource};

use crate::config::BootConfig;
use crate::event::Event;
use crate::start;
use crate::volumes::{BootVolume, volumes};

/// Loads the first entry that can be booted, of the first disk that has one, and returns the registers to start its kernel with.
///
/// Entries that fail are reported, and the next one is tried. `None` if no entry can be booted: memory outside of
/// [`BootConfig::own`] is then undefined.
pub fn boot(
    disks: &[&dyn BlockDevice],
    config: &BootConfig<'_>,
    memory: &mut dyn GuestMemory,
    report: &mut dyn FnMut(&Event<'_>),
) -> Option<CpuState> {
    disks
        .iter()
        .enumerate()
        .find_map(|(number, disk)| boot_disk(number, *disk, config, memory, report))
}

fn boot_disk(
    disk: usize,
    device: &dyn BlockDevice,
    config: &BootConfig<'_>,
    memory: &mut dyn GuestMemory,
    report: &mut dyn FnMut(&Event<'_>),
) -> Option<CpuState> {
    let source = BlockSource::new(device);
    let volumes = volumes(disk, &source, device, report);
    let volumes: Vec<Volume<'_>> = volumes.iter().map(BootVolume::as_volume).collect();
    let found = scan(&volumes, &ScanConfig::new(config.machine.arch));
    for warning in &found.warnings {
        report(&Event::Scan { disk, warning });
    }
    if found.entries.is_empty() {
        report(&Event::NoEntries { disk });
    }
    found.attempts().find_map(|entry| {
        let volume = volumes.get(entry.volume)?;
        let (title, id) = (&*entry.title, &*entry.id);
        report(&Event::Loading { title, id });
        let loaded = start::load(entry, volume.file_system, config, memory);
        loaded
            .inspect_err(|error| report(&Event::Failed { id, error }))
            .ok()
    })
}
