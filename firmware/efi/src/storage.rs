//! Disks, their partitions and file systems as devices of EFI.

use alloc::boxed::Box;
use alloc::vec::Vec;

use disk::{
    BlockDevice, BlockError, BlockErrorKind, BlockSize, BlockSource, ByteSource, FileBlocks, FileSystem,
    Partition, SourceRange, TableKind, Window, partitions,
};
use efi_abi::Firmware;
use efi_core::device_path::DevicePathBuf;
use efi_core::handles::Handle;
use efi_core::{Result, Status};
use fs_fat::{FatError, FatFs};

use crate::event::{Event, Part};
use crate::path;

/// A disk of the machine. EFI programs use it until they exit boot services, so it is there for ever.
#[derive(Clone)]
pub struct Disk {
    /// The driver.
    pub device: &'static dyn BlockDevice,
    /// Its device path.
    pub path: DevicePathBuf,
}

/// A file system with its device path.
pub(crate) struct Volume {
    pub(crate) file_system: &'static dyn FileSystem,
    pub(crate) path: DevicePathBuf,
    /// True on an EFI System Partition, or a disk without partitions.
    is_system: bool,
    /// The file of variables on it, if it has one.
    pub(crate) variables: Option<&'static dyn BlockDevice>,
}

/// Path of the file in which non-volatile variables are kept, if it exists on an EFI System Partition.
const VARIABLES: &str = "/EFI/vmboot/variables.bin";

impl Volume {
    pub(crate) const fn new(
        file_system: &'static dyn FileSystem,
        path: DevicePathBuf,
        is_system: bool,
    ) -> Self {
        Self {
            file_system,
            path,
            is_system,
            variables: None,
        }
    }
}

/// The blocks of a partition.
struct PartitionBlocks {
    disk: &'static dyn BlockDevice,
    first: u64,
    count: u64,
}

impl PartitionBlocks {
    /// The number on the disk of block `first`, after a check of the request.
    fn on_disk(&self, first: u64, len: usize) -> core::result::Result<u64, BlockError> {
        let count = disk::block::check_request(self, first, len)?;
        let block = self.first.checked_add(first);
        block.ok_or_else(|| {
            let kind = BlockErrorKind::PastEnd {
                block_count: self.count,
            };
            BlockError::new(first, count, kind)
        })
    }
}

impl BlockDevice for PartitionBlocks {
    fn block_size(&self) -> BlockSize {
        self.disk.block_size()
    }

    fn block_count(&self) -> u64 {
        self.count
    }

    fn read_blocks(&self, first: u64, buf: &mut [u8]) -> core::result::Result<(), BlockError> {
        self.disk.read_blocks(self.on_disk(first, buf.len())?, buf)
    }

    fn max_transfer(&self) -> usize {
        self.disk.max_transfer()
    }

    fn is_read_only(&self) -> bool {
        self.disk.is_read_only()
    }

    fn write_blocks(&self, first: u64, data: &[u8]) -> core::result::Result<(), BlockError> {
        self.disk.write_blocks(self.on_disk(first, data.len())?, data)
    }

    fn flush(&self) -> core::result::Result<(), BlockError> {
        self.disk.flush()
    }
}

/// The bytes of a disk, for ever.
type Source = &'static BlockSource<&'static dyn BlockDevice>;

/// A FAT file system, for ever.
type Fat = &'static FatFs<Window<Source>>;

/// The FAT file system of a range of a disk.
fn file_system(source: Source, range: SourceRange) -> core::result::Result<Fat, FatError> {
    let window = Window::new(source, range)?;
    Ok(&*Box::leak(Box::new(FatFs::new(window)?)))
}

/// The blocks of the file of variables on a volume, whose blocks these are; `None` if there is no such file. A file that cannot be used is
/// reported.
fn variables(
    fat: Fat,
    blocks: &'static dyn BlockDevice,
    part: Part,
    report: &mut dyn FnMut(&Event<'_>),
) -> Option<&'static dyn BlockDevice> {
    let mut refuse = |error: &dyn core::error::Error| {
        report(&Event::NoVariables { part, error });
    };
    let node = fat.lookup(VARIABLES).inspect_err(|error| refuse(error)).ok()??;
    let file = fat.open_file(&node).inspect_err(|error| refuse(error)).ok()?;
    let file = FileBlocks::new(blocks, file.extents());
    let file = file.inspect_err(|error| refuse(error)).ok()?;
    Some(Box::leak(Box::new(file)))
}

/// Adds all disks with their partitions and FAT file systems. Returns the volumes, EFI System Partitions first.
pub(crate) fn add(firmware: &Firmware, disks: &[Disk], report: &mut dyn FnMut(&Event<'_>)) -> Vec<Volume> {
    let mut volumes = Vec::new();
    for (number, disk) in disks.iter().enumerate() {
        let part = Part {
            disk: number,
            partition: 0,
        };
        if let Err(status) = add_disk(firmware, disk, part, &mut volumes, report) {
            report(&Event::NotAdded { part, status });
        }
    }
    let (mut first, others): (Vec<_>, Vec<_>) = volumes.into_iter().partition(|volume| volume.is_system);
    first.extend(others);
    first
}

fn add_disk(
    firmware: &Firmware,
    disk: &Disk,
    part: Part,
    volumes: &mut Vec<Volume>,
    report: &mut dyn FnMut(&Event<'_>),
) -> Result<()> {
    let handle = firmware.add_disk(disk.device, disk.path.as_path(), false)?;
    let source: Source = Box::leak(Box::new(BlockSource::new(disk.device)));
    let table = match partitions(source, disk.device.block_size()) {
        Ok(table) => table,
        Err(error) => {
            report(&Event::NoTable { part, error: &error });
            return Ok(());
        }
    };
    for warning in &table.warnings {
        report(&Event::Table { part, warning });
    }
    if table.kind == TableKind::None {
        let len = source.len().or(Err(Status::DEVICE_ERROR))?;
        let found = file_system(source, SourceRange::whole(len));
        let place = Place {
            path: &disk.path,
            blocks: disk.device,
            is_system: true,
        };
        add_volume(firmware, handle, part, found, place, volumes, report);
        return Ok(());
    }
    for partition in &table.partitions {
        let part = Part {
            partition: partition.number,
            ..part
        };
        if let Err(status) = add_partition(firmware, disk, source, (partition, part), volumes, report) {
            report(&Event::NotAdded { part, status });
        }
    }
    Ok(())
}

fn add_partition(
    firmware: &Firmware,
    disk: &Disk,
    source: Source,
    (partition, part): (&Partition, Part),
    volumes: &mut Vec<Volume>,
    report: &mut dyn FnMut(&Event<'_>),
) -> Result<()> {
    let path = path::partition(&disk.path, partition)?;
    let blocks: &'static PartitionBlocks = Box::leak(Box::new(PartitionBlocks {
        disk: disk.device,
        first: partition.first_block,
        count: partition.block_count,
    }));
    let handle = firmware.add_disk(blocks, path.as_path(), true)?;
    let found = file_system(source, partition.range);
    let place = Place {
        path: &path,
        blocks,
        is_system: partition.is_esp(),
    };
    add_volume(firmware, handle, part, found, place, volumes, report);
    Ok(())
}

/// Where a volume is.
#[derive(Clone, Copy)]
struct Place<'a> {
    path: &'a DevicePathBuf,
    /// The blocks of the disk or partition.
    blocks: &'static dyn BlockDevice,
    is_system: bool,
}

/// Adds the file system of a disk or partition, if it has one.
fn add_volume(
    firmware: &Firmware,
    handle: Handle,
    part: Part,
    found: core::result::Result<Fat, FatError>,
    place: Place<'_>,
    volumes: &mut Vec<Volume>,
    report: &mut dyn FnMut(&Event<'_>),
) {
    let file_system = match found {
        Ok(file_system) => file_system,
        // Other partitions, and disks without a table, may have any content.
        Err(error) => {
            if place.is_system && part.partition != 0 {
                report(&Event::NoFileSystem { part, error: &error });
            }
            return;
        }
    };
    match firmware.add_volume(handle, file_system) {
        Ok(()) => {
            let mut volume = Volume::new(file_system, place.path.clone(), place.is_system);
            if place.is_system {
                volume.variables = variables(file_system, place.blocks, part, report);
            }
            volumes.push(volume);
        }
        Err(status) => report(&Event::NotAdded { part, status }),
    }
}
