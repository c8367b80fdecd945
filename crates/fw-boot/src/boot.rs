//! From disks to an entry state.

use alloc::vec::Vec;

use bls::scan::{ScanConfig, Volume, VolumeKind, scan};
use boot_core::{ByteSource, CpuState, GuestMemory, SourceRange};
use disk::{BlockDevice, BlockSource, TableKind, Window, partitions};
use fs_fat::FatFs;

use crate::config::BootConfig;
use crate::event::Event;
use crate::start;

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

/// The bytes of a disk, or of a partition of it.
type Partition<'a> = Window<&'a BlockSource<&'a dyn BlockDevice>>;

/// A file system with boot entries.
type BootVolume<'a> = (VolumeKind, FatFs<Partition<'a>>);

fn boot_disk(
    disk: usize,
    device: &dyn BlockDevice,
    config: &BootConfig<'_>,
    memory: &mut dyn GuestMemory,
    report: &mut dyn FnMut(&Event<'_>),
) -> Option<CpuState> {
    let source = BlockSource::new(device);
    let volumes = volumes(disk, &source, device, report);
    let volumes: Vec<Volume<'_>> = volumes
        .iter()
        .map(|(kind, file_system)| Volume {
            kind: *kind,
            file_system,
        })
        .collect();
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

/// The file systems of a disk on which entries may be.
fn volumes<'a>(
    disk: usize,
    source: &'a BlockSource<&'a dyn BlockDevice>,
    device: &dyn BlockDevice,
    report: &mut dyn FnMut(&Event<'_>),
) -> Vec<BootVolume<'a>> {
    let table = match partitions(source, device.block_size()) {
        Ok(table) => table,
        Err(error) => {
            report(&Event::NoTable { disk, error: &error });
            return Vec::new();
        }
    };
    for warning in &table.warnings {
        report(&Event::Table { disk, warning });
    }
    let mut windows = Vec::new();
    if table.kind == TableKind::None {
        let len = source.len().map(SourceRange::whole);
        windows.push((0, VolumeKind::Esp, len.and_then(|all| Window::new(source, all))));
    }
    for partition in &table.partitions {
        let kind = if partition.is_esp() {
            VolumeKind::Esp
        } else if partition.is_xbootldr() {
            VolumeKind::Xbootldr
        } else {
            continue;
        };
        windows.push((partition.number, kind, partition.window(source)));
    }
    let mut volumes = Vec::new();
    for (partition, kind, window) in windows {
        match window {
            Err(error) => report(&Event::OutsideDisk {
                disk,
                partition,
                error: &error,
            }),
            Ok(window) => match FatFs::new(window) {
                Ok(file_system) => volumes.push((kind, file_system)),
                Err(error) => report(&Event::NoFileSystem {
                    disk,
                    partition,
                    error: &error,
                }),
            },
        }
    }
    volumes
}
