//! Disks, volumes, files, and images on them.
#![expect(unsafe_code, reason = "services are called by their pointers")]

use std::ptr::null_mut;

use disk::{BlockDevice, BlockError, BlockSize};
use efi_abi::raw::protocol::block::BlockIoProtocol;
use efi_abi::raw::protocol::disk::DiskIoProtocol;
use efi_abi::raw::protocol::file_system::{
    FileAttribute, FileMode, FileProtocolV1, SimpleFileSystemProtocol,
};
use efi_abi::raw::table::system::SystemTable;
use efi_abi::raw::{Handle, Status};
use efi_abi::{Guid, ImageSource, Status as CoreStatus, guids};
use efi_core::device_path::{DevicePathBuf, HardDrive, HardDriveSignature};
use efi_core::guid;

use crate::images::application;
use crate::machine::{Machine, text};
use crate::memory_file_system::MemoryFileSystem;
use crate::protocol_tests::locate;

const PARTITION: Guid = guid!("81635ccd-1b4f-4d3f-b7b7-f78a5b029f35");

struct MemoryDisk(Vec<u8>);

impl BlockDevice for MemoryDisk {
    fn block_size(&self) -> BlockSize {
        BlockSize::B512
    }

    fn block_count(&self) -> u64 {
        self.0.len() as u64 / 512
    }

    fn read_blocks(&self, first: u64, buf: &mut [u8]) -> Result<(), BlockError> {
        disk::block::check_request(self, first, buf.len())?;
        let start = usize::try_from(first).unwrap() * 512;
        buf.copy_from_slice(&self.0[start..start + buf.len()]);
        Ok(())
    }
}

/// A device of 8 blocks, each filled with its number.
fn device() -> &'static MemoryDisk {
    Box::leak(Box::new(MemoryDisk(
        (0..8_u8).flat_map(|block| [block; 512]).collect(),
    )))
}

fn partition_path() -> DevicePathBuf {
    let mut path = DevicePathBuf::new();
    path.push_pci_root(0).unwrap();
    path.push_pci(3, 0).unwrap();
    let signature = HardDriveSignature::Gpt(PARTITION);
    path.push_hard_drive(&HardDrive {
        number: 1,
        start: 0x800,
        size: 8,
        signature,
    })
    .unwrap();
    path
}

#[test]
fn disks_are_read_by_blocks_and_by_bytes() {
    let machine = Machine::new();
    let path = partition_path();
    machine.firmware.add_disk(device(), path.as_path(), true).unwrap();
    let again = machine.firmware.add_disk(device(), path.as_path(), true);
    assert_eq!(again, Err(CoreStatus::ALREADY_STARTED));
    let block_io = locate::<BlockIoProtocol>(&machine, guids::BLOCK_IO).unwrap();
    // SAFETY: the interface is valid as long as the machine.
    let (interface, media) = unsafe { (&*block_io, &*(*block_io).media) };
    assert_eq!((media.block_size, media.last_block, media.io_align), (512, 7, 1));
    assert!(media.logical_partition.is_true() && media.read_only.is_true());
    let mut buffer = [0_u8; 1024];
    // SAFETY: the buffer has the size.
    let mut read = |media, block, size| unsafe {
        (interface.read_blocks)(block_io, media, block, size, buffer.as_mut_ptr().cast())
    };
    assert_eq!(read(1, 7, 1024), Status::INVALID_PARAMETER);
    assert_eq!(read(1, u64::MAX, 512), Status::INVALID_PARAMETER);
    assert_eq!(read(1, 0, 500), Status::BAD_BUFFER_SIZE);
    assert_eq!(read(2, 0, 512), Status::MEDIA_CHANGED);
    assert_eq!(read(1, 0, 0), Status::SUCCESS);
    assert_eq!(read(1, 6, 1024), Status::SUCCESS);
    assert_eq!((buffer[0], buffer[1023]), (6, 7));
    // SAFETY: the buffer has the size.
    let status = unsafe { (interface.write_blocks)(block_io, 1, 0, 512, buffer.as_ptr().cast()) };
    assert_eq!(status, Status::WRITE_PROTECTED);
    // SAFETY: an interface of nobody is refused.
    let status = unsafe { (interface.reset)(null_mut(), false.into()) };
    assert_eq!(status, Status::INVALID_PARAMETER);

    let disk_io = locate::<DiskIoProtocol>(&machine, guids::DISK_IO).unwrap();
    // SAFETY: the interface is valid, and the buffer has the size.
    let mut read = |offset, size| unsafe {
        ((*disk_io).read_disk)(disk_io, 1, offset, size, buffer.as_mut_ptr().cast())
    };
    assert_eq!(read(510, 4), Status::SUCCESS);
    assert_eq!(read(4095, 2), Status::INVALID_PARAMETER);
    assert_eq!(buffer[..4], [0, 0, 1, 1]);
}

/// A file by its interface.
struct File(*mut FileProtocolV1);

impl File {
    fn root(machine: &Machine) -> Self {
        let volume = locate::<SimpleFileSystemProtocol>(machine, guids::SIMPLE_FILE_SYSTEM).unwrap();
        let mut root = null_mut();
        // SAFETY: the interface and the pointer are valid.
        assert_eq!(
            unsafe { ((*volume).open_volume)(volume, &raw mut root) },
            Status::SUCCESS
        );
        Self(root)
    }

    fn interface(&self) -> &FileProtocolV1 {
        // SAFETY: the file is open.
        unsafe { &*self.0 }
    }

    fn open(&self, name: &str, mode: FileMode) -> Result<Self, Status> {
        let (mut file, name) = (null_mut(), text(name));
        let attributes = FileAttribute::empty();
        // SAFETY: the pointers are valid.
        let status =
            unsafe { (self.interface().open)(self.0, &raw mut file, name.as_ptr(), mode, attributes) };
        if status == Status::SUCCESS {
            Ok(Self(file))
        } else {
            Err(status)
        }
    }

    fn read(&self, room: usize) -> Result<Vec<u8>, Status> {
        let (mut size, mut buffer) = (room, vec![0; room]);
        // SAFETY: the buffer has the size.
        let status = unsafe { (self.interface().read)(self.0, &raw mut size, buffer.as_mut_ptr().cast()) };
        buffer.resize(size, 0);
        if status == Status::SUCCESS {
            Ok(buffer)
        } else {
            Err(status)
        }
    }

    fn info(&self, kind: Guid) -> Vec<u8> {
        let mut size = 0;
        // SAFETY: an empty buffer may be null.
        let get = |size: &mut usize, target: *mut u8| unsafe {
            (self.interface().get_info)(self.0, &raw const kind, size, target.cast())
        };
        assert_eq!(get(&mut size, null_mut()), Status::BUFFER_TOO_SMALL);
        let mut buffer = vec![0; size];
        assert_eq!(get(&mut size, buffer.as_mut_ptr()), Status::SUCCESS);
        buffer
    }

    fn seek(&self, position: u64) -> Status {
        // SAFETY: no pointers.
        unsafe { (self.interface().set_position)(self.0, position) }
    }

    fn close(self) -> Status {
        // SAFETY: the file is open, and is not used any more.
        unsafe { (self.interface().close)(self.0) }
    }
}

/// Name and attributes of a file info.
fn name_of(info: &[u8]) -> (String, u64, u64) {
    assert_eq!(info[..8], (info.len() as u64).to_le_bytes());
    let units: Vec<u16> = info[80..]
        .chunks(2)
        .map(|unit| u16::from_le_bytes([unit[0], unit[1]]))
        .collect();
    let word = |offset: usize| u64::from_le_bytes(info[offset..offset + 8].try_into().unwrap());
    (
        String::from_utf16(&units[..units.len() - 1]).unwrap(),
        word(8),
        word(72),
    )
}

unsafe extern "efiapi" fn entry(_: Handle, _: *mut SystemTable) -> Status {
    Status::END_OF_FILE
}

fn volume(machine: &Machine) {
    let boot = application(entry);
    let files: [(&str, &[u8]); 3] = [
        ("EFI/BOOT/BOOTX64.EFI", &boot),
        ("EFI/linux/vmlinuz", b"0123456789"),
        ("loader.conf", b"timeout 3"),
    ];
    let file_system = Box::leak(Box::new(MemoryFileSystem::new(&files)));
    let handle = machine
        .firmware
        .add_disk(device(), partition_path().as_path(), true)
        .unwrap();
    machine.firmware.add_volume(handle, file_system).unwrap();
    let again = machine.firmware.add_volume(handle, file_system);
    assert_eq!(again, Err(CoreStatus::INVALID_PARAMETER));
}

#[test]
fn files_are_read_and_never_written() {
    let machine = Machine::new();
    volume(&machine);
    let root = File::root(&machine);
    let kernel = root.open(r"\EFI\linux\vmlinuz", FileMode::READ).unwrap();
    assert_eq!(kernel.read(4).unwrap(), b"0123");
    assert_eq!(kernel.read(100).unwrap(), b"456789");
    assert_eq!(kernel.read(100).unwrap(), b"");
    assert_eq!(kernel.seek(u64::MAX), Status::SUCCESS);
    assert_eq!(kernel.read(1).unwrap(), b"");
    assert_eq!(kernel.seek(11), Status::SUCCESS);
    assert_eq!(kernel.read(1), Err(Status::DEVICE_ERROR));
    assert_eq!(kernel.seek(8), Status::SUCCESS);
    assert_eq!(kernel.read(1).unwrap(), b"8");
    let mut position = 0;
    // SAFETY: the pointer is valid.
    assert_eq!(
        unsafe { (kernel.interface().get_position)(kernel.0, &raw mut position) },
        Status::SUCCESS
    );
    assert_eq!(position, 9);
    assert_eq!(
        name_of(&kernel.info(guids::FILE_INFO)),
        ("vmlinuz".to_owned(), 10, 0)
    );
    let conf = kernel.open(r"..\..\loader.conf", FileMode::READ).unwrap();
    assert_eq!(conf.read(7).unwrap(), b"timeout");
    assert_eq!(
        kernel.open("missing", FileMode::READ).err(),
        Some(Status::NOT_FOUND)
    );
    let write = FileMode::READ | FileMode::WRITE;
    assert_eq!(
        root.open("loader.conf", write).err(),
        Some(Status::WRITE_PROTECTED)
    );
    assert_eq!(
        root.open("new", write | FileMode::CREATE).err(),
        Some(Status::WRITE_PROTECTED)
    );
    assert_eq!(
        root.open("loader.conf", FileMode::WRITE).err(),
        Some(Status::INVALID_PARAMETER)
    );
    let mut size = 1;
    // SAFETY: the buffer has the size.
    let status = unsafe { (conf.interface().write)(conf.0, &raw mut size, b"x".as_ptr().cast()) };
    assert_eq!(status, Status::WRITE_PROTECTED);
    let stale = File(conf.0);
    let interface = *std::mem::ManuallyDrop::new(std::ptr::NonNull::new(kernel.0).unwrap());
    assert_eq!(conf.close(), Status::SUCCESS);
    // SAFETY: a file that was closed is refused by its address, without an access.
    let status = unsafe { (interface.as_ref().close)(stale.0) };
    assert_eq!(status, Status::INVALID_PARAMETER);
}

#[test]
fn directories_are_lists_of_infos() {
    let machine = Machine::new();
    volume(&machine);
    let root = File::root(&machine);
    assert_eq!(root.read(10), Err(Status::BUFFER_TOO_SMALL));
    let list = || {
        let entries = std::iter::from_fn(|| Some(root.read(200).unwrap()).filter(|info| !info.is_empty()));
        entries.map(|info| name_of(&info)).collect::<Vec<_>>()
    };
    let expected = [("EFI".to_owned(), 0, 0x10), ("loader.conf".to_owned(), 9, 0)];
    assert_eq!(list(), expected);
    assert_eq!(list(), []);
    assert_eq!(root.seek(1), Status::UNSUPPORTED);
    assert_eq!(root.seek(0), Status::SUCCESS);
    assert_eq!(list(), expected);
    assert_eq!(name_of(&root.info(guids::FILE_INFO)).0, "");
    let info = root.info(guids::FILE_SYSTEM_INFO);
    assert_eq!(
        (info.len(), info[8], &info[32..36], &info[36..38]),
        (44, 1, &[0, 2, 0, 0][..], &b"E\0"[..])
    );
    assert_eq!(root.info(guids::FILE_SYSTEM_VOLUME_LABEL), b"E\0S\0P\0\0\0");
}

#[test]
fn images_start_from_files() {
    let machine = Machine::new();
    volume(&machine);
    let load = |path: &DevicePathBuf| machine.firmware.load_image(ImageSource::Path(path.as_path()));
    let mut whole = partition_path();
    whole.push_file_path(r"\EFI\BOOT\BOOTX64.EFI").unwrap();
    let mut short = DevicePathBuf::from(whole.as_path().from_node(|node| node.kind == 4).unwrap());
    for path in [&whole, &short] {
        let handle = load(path).unwrap();
        let exited = machine.firmware.start_image(handle).unwrap();
        assert_eq!(exited.status, CoreStatus::END_OF_FILE);
    }
    short.push_file_path("missing").unwrap();
    assert_eq!(load(&short), Err(CoreStatus::NOT_FOUND));
    let mut directory = partition_path();
    directory.push_file_path(r"\EFI").unwrap();
    assert_eq!(load(&directory), Err(CoreStatus::NOT_FOUND));
    let mut text = partition_path();
    text.push_file_path("loader.conf").unwrap();
    assert_eq!(load(&text), Err(CoreStatus::UNSUPPORTED));
    assert!(machine.output().contains("loader.conf: not a PE image"));
    machine.firmware.signal_ready_to_boot().unwrap();
}
