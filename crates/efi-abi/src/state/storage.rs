//! Disks, volumes and open files behind the interfaces of the firmware.

use alloc::boxed::Box;
use alloc::string::String;

use disk::{BlockDevice, DirPosition, FileSystem, Node};
use efi_core::sorted_map::SortedMap;
use efi_core::{Result, Status};

/// A file system.
#[derive(Clone, Copy)]
pub(crate) struct Volume {
    pub(crate) file_system: &'static dyn FileSystem,
}

/// An open file or directory.
pub(crate) struct OpenFile {
    pub(crate) volume: Volume,
    pub(crate) node: Node,
    /// Path from the root with `/` between the components; empty for the root.
    pub(crate) path: String,
    /// The content of a file.
    pub(crate) source: Option<Box<dyn disk::ByteSource>>,
    pub(crate) position: u64,
    pub(crate) directory_position: DirPosition,
}

/// Devices by the addresses of their interfaces.
pub(crate) struct Storage {
    /// By the addresses of `EFI_BLOCK_IO_PROTOCOL` and of `EFI_DISK_IO_PROTOCOL`.
    disks: SortedMap<u64, &'static dyn BlockDevice>,
    /// By the address of `EFI_SIMPLE_FILE_SYSTEM_PROTOCOL`.
    volumes: SortedMap<u64, Volume>,
    /// By the address of `EFI_FILE_PROTOCOL`.
    files: SortedMap<u64, OpenFile>,
}

/// Files that may be open at the same time.
const MAX_FILES: usize = 4096;

impl Storage {
    pub(crate) const fn new() -> Self {
        Self {
            disks: SortedMap::new(),
            volumes: SortedMap::new(),
            files: SortedMap::new(),
        }
    }

    pub(crate) fn add_disk(&mut self, interface: u64, device: &'static dyn BlockDevice) {
        self.disks.insert(interface, device);
    }

    /// The device of an interface.
    pub(crate) fn disk(&self, interface: u64) -> Result<&'static dyn BlockDevice> {
        self.disks
            .get(&interface)
            .copied()
            .ok_or(Status::INVALID_PARAMETER)
    }

    pub(crate) fn add_volume(&mut self, interface: u64, volume: Volume) {
        self.volumes.insert(interface, volume);
    }

    /// The volume of an interface.
    pub(crate) fn volume(&self, interface: u64) -> Result<Volume> {
        self.volumes
            .get(&interface)
            .copied()
            .ok_or(Status::INVALID_PARAMETER)
    }

    /// True if another file can be opened.
    pub(crate) fn has_room(&self) -> bool {
        self.files.len() < MAX_FILES
    }

    pub(crate) fn add_file(&mut self, interface: u64, file: OpenFile) {
        self.files.insert(interface, file);
    }

    /// The file of an interface.
    pub(crate) fn file(&mut self, interface: u64) -> Result<&mut OpenFile> {
        self.files.get_mut(&interface).ok_or(Status::INVALID_PARAMETER)
    }

    pub(crate) fn close_file(&mut self, interface: u64) -> Result<()> {
        self.files
            .remove(&interface)
            .map(drop)
            .ok_or(Status::INVALID_PARAMETER)
    }
}
