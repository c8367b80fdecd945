//! Files of volumes that an image provides: its `EFI_SIMPLE_FILE_SYSTEM_PROTOCOL` and `EFI_FILE_PROTOCOL` are called without a borrow.
#![expect(unsafe_code, reason = "functions of interfaces of images are called")]

use alloc::vec;
use alloc::vec::Vec;
use core::ffi::c_void;
use core::mem::offset_of;
use core::ptr::null_mut;

use efi_core::guids::FILE_INFO;
use efi_core::memory::{MemoryType, PAGE_SIZE, Placement};
use efi_core::{Guid, Result, Status};
use uefi_raw::Status as RawStatus;
use uefi_raw::protocol::file_system::{FileProtocolV1 as File, SimpleFileSystemProtocol};

use crate::access::{field, pointer, read};
use crate::state::with;

type OpenVolume = unsafe extern "efiapi" fn(*mut SimpleFileSystemProtocol, *mut *mut File) -> RawStatus;
type Open = unsafe extern "efiapi" fn(*mut File, *mut *mut File, *const u16, u64, u64) -> RawStatus;
type Close = unsafe extern "efiapi" fn(*mut File) -> RawStatus;
type Read = unsafe extern "efiapi" fn(*mut File, *mut usize, *mut c_void) -> RawStatus;
type GetInfo = unsafe extern "efiapi" fn(*mut File, *const Guid, *mut usize, *mut c_void) -> RawStatus;

/// `EFI_FILE_MODE_READ`.
const MODE_READ: u64 = 1;
/// Attribute of directories.
const DIRECTORY: u64 = 0x10;
/// Longest `EFI_FILE_INFO`: its numbers and a long name.
const MAX_INFO: usize = 64 * 1024;

/// A function of an interface.
fn function<T, F: Copy>(interface: *mut T, offset: usize) -> Result<F> {
    // SAFETY: who installed the interface keeps it; callers ask for fields of it by their types.
    unsafe { read(field(interface, offset)) }
}

fn check(status: RawStatus) -> Result<()> {
    if status == RawStatus::SUCCESS {
        Ok(())
    } else {
        Err(Status(status.0))
    }
}

/// An open file, which is closed at the end.
struct Opened(*mut File);

impl Drop for Opened {
    fn drop(&mut self) {
        if let Ok(close) = function::<_, Close>(self.0, offset_of!(File, close)) {
            // SAFETY: the contract of the protocol; the file is not used any more. Nothing depends on the status.
            let _ = unsafe { close(self.0) };
        }
    }
}

/// A file that was opened; an image that returns success and no file breaks its contract.
fn opened(status: RawStatus, file: *mut File) -> Result<Opened> {
    check(status)?;
    if file.is_null() {
        return Err(Status::DEVICE_ERROR);
    }
    Ok(Opened(file))
}

/// Pages with the content of a file, which are freed at the end.
pub(super) struct Content {
    pub(super) start: u64,
    pub(super) len: usize,
    pages: u64,
}

impl Drop for Content {
    fn drop(&mut self) {
        // The pages were allocated here; without a firmware there is nothing to free.
        let _ = with(|state| state.memory.map.free(self.start, self.pages));
    }
}

/// Reads a file of the volume with this interface. The name is a text with NUL.
pub(super) fn read_file(interface: u64, name: &[u16]) -> Result<Content> {
    let volume = pointer::<SimpleFileSystemProtocol>(interface);
    let open_volume: OpenVolume = function(volume, offset_of!(SimpleFileSystemProtocol, open_volume))?;
    let mut root = null_mut();
    // SAFETY: the contract of the protocol.
    let status = unsafe { open_volume(volume, &raw mut root) };
    let root = opened(status, root)?;
    let open: Open = function(root.0, offset_of!(File, open))?;
    let mut file = null_mut();
    // SAFETY: the contract of the protocol; the name ends with NUL.
    let status = unsafe { open(root.0, &raw mut file, name.as_ptr(), MODE_READ, 0) };
    let file = opened(status, file)?;
    let size = file_size(&file)?;
    let size = usize::try_from(size).or(Err(Status::OUT_OF_RESOURCES))?;
    let pages = (size as u64).div_ceil(PAGE_SIZE);
    let kind = MemoryType::BOOT_SERVICES_DATA;
    let start = with(|state| state.memory.map.allocate(Placement::Any, kind, pages))?;
    let mut content = Content { start, len: 0, pages };
    let read: Read = function(file.0, offset_of!(File, read))?;
    while content.len < size {
        let mut len = size - content.len;
        let target = pointer::<c_void>(start + content.len as u64);
        // SAFETY: the contract of the protocol: the buffer has this size.
        check(unsafe { read(file.0, &raw mut len, target) })?;
        if len == 0 || len > size - content.len {
            return Err(Status::LOAD_ERROR);
        }
        content.len += len;
    }
    Ok(content)
}

/// Length of a file; directories are not found.
fn file_size(file: &Opened) -> Result<u64> {
    let get_info: GetInfo = function(file.0, offset_of!(File, get_info))?;
    let mut info: Vec<u64> = vec![0; 64];
    loop {
        let mut len = info.len() * 8;
        // SAFETY: the contract of the protocol: the buffer has this size.
        let status = unsafe { get_info(file.0, &FILE_INFO, &raw mut len, info.as_mut_ptr().cast()) };
        if status == RawStatus::BUFFER_TOO_SMALL && len > info.len() * 8 && len <= MAX_INFO {
            info.resize(len.div_ceil(8), 0);
            continue;
        }
        check(status)?;
        // Size of the structure, size of the file, size on the disk, three times of 16 bytes, attributes.
        let number = |index: usize| info.get(index).copied().unwrap_or(0);
        return match (number(1), number(9) & DIRECTORY) {
            (_, DIRECTORY) => Err(Status::NOT_FOUND),
            (0, _) => Err(Status::LOAD_ERROR),
            (size, _) => Ok(size),
        };
    }
}
