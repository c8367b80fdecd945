//! The file systems of a disk on which entries may be.

use alloc::boxed::Box;
use alloc::vec::Vec;

use bls::scan::{Volume, VolumeKind};
use boot_core::{ByteSource, SourceRange};
use disk::{BlockDevice, BlockSource, FileSystem, PartitionTable, TableKind, Window, partitions};
#[cfg(feature = "ext4")]
use fs_ext4::{Ext4Error, Ext4Fs};
#[cfg(feature = "ext4")]
use fs_fat::FatError;
use fs_fat::FatFs;

use crate::event::Event;
use crate::volume_error::VolumeError;

/// The bytes of a disk, or of a partition of it.
type Partition<'a> = Window<&'a BlockSource<&'a dyn BlockDevice>>;

/// A file system with boot entries.
pub(crate) struct BootVolume<'a> {
    kind: VolumeKind,
    file_system: Box<dyn FileSystem + 'a>,
}

impl BootVolume<'_> {
    pub(crate) fn as_volume(&self) -> Volume<'_> {
        Volume {
            kind: self.kind,
            file_system: &*self.file_system,
        }
    }
}

/// Reads the partition table and opens the boot partitions; on a disk without any, the root file systems of Linux.
pub(crate) fn volumes<'a>(
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
    let windows = boot_windows(&table, source);
    if windows.is_empty() {
        return roots(disk, &table, source, report);
    }
    let mut volumes = Vec::new();
    for (partition, kind, window) in windows {
        match window {
            Err(error) => report(&Event::OutsideDisk {
                disk,
                partition,
                error: &error,
            }),
            Ok(window) => match open(window) {
                Ok(file_system) => volumes.push(BootVolume { kind, file_system }),
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

/// A partition: its number, its kind, and its bytes.
type BootWindow<'a> = (u32, VolumeKind, Result<Partition<'a>, boot_core::ReadError>);

/// The boot partitions, or the whole disk if it has no table.
fn boot_windows<'a>(
    table: &PartitionTable,
    source: &'a BlockSource<&'a dyn BlockDevice>,
) -> Vec<BootWindow<'a>> {
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
    windows
}

/// Opens a FAT or, if it is none, an ext4 file system.
fn open(window: Partition<'_>) -> Result<Box<dyn FileSystem + '_>, VolumeError> {
    let error = match FatFs::new(window) {
        Ok(file_system) => return Ok(Box::new(file_system)),
        Err(error) => error,
    };
    #[cfg(feature = "ext4")]
    if matches!(error, FatError::NotFat(_)) {
        match Ext4Fs::new(window) {
            Ok(file_system) => return Ok(Box::new(file_system)),
            Err(Ext4Error::NotExt4 { .. }) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Err(error.into())
}

/// The root file systems of Linux that have boot entries, at `/loader/entries` or `/boot/loader/entries`.
#[cfg(feature = "ext4")]
fn roots<'a>(
    disk: usize,
    table: &PartitionTable,
    source: &'a BlockSource<&'a dyn BlockDevice>,
    report: &mut dyn FnMut(&Event<'_>),
) -> Vec<BootVolume<'a>> {
    /// Largest number of partitions that are tried.
    const MAX_ROOTS: usize = 8;
    let linux = table.partitions.iter().filter(|partition| partition.is_linux());
    let mut volumes = Vec::new();
    for partition in linux.take(MAX_ROOTS) {
        let number = partition.number;
        let Ok(window) = partition.window(source) else {
            continue;
        };
        let file_system = match Ext4Fs::new(window) {
            Ok(file_system) => file_system,
            // Swap, encrypted, or another file system.
            Err(Ext4Error::NotExt4 { .. }) => continue,
            Err(error) => {
                report(&Event::NoFileSystem {
                    disk,
                    partition: number,
                    error: &error.into(),
                });
                continue;
            }
        };
        let has = |path| matches!(file_system.lookup(path), Ok(Some(node)) if node.is_directory());
        let file_system: Box<dyn FileSystem + 'a> = if has("/loader/entries") {
            Box::new(file_system)
        } else if has("/boot/loader/entries") {
            Box::new(crate::below::Below::new(file_system, "/boot"))
        } else {
            continue;
        };
        let kind = VolumeKind::Xbootldr;
        volumes.push(BootVolume { kind, file_system });
    }
    volumes
}

#[cfg(not(feature = "ext4"))]
fn roots<'a>(
    _: usize,
    _: &PartitionTable,
    _: &'a BlockSource<&'a dyn BlockDevice>,
    _: &mut dyn FnMut(&Event<'_>),
) -> Vec<BootVolume<'a>> {
    Vec::new()
}
