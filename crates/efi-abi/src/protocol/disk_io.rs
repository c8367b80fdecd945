//! `EFI_DISK_IO_PROTOCOL`, UEFI 2.10 section 13.7: reads of any bytes.
#![expect(unsafe_code, reason = "functions called by images")]

use core::ffi::c_void;

use boot_core::SizedSource;
use disk::BlockSource;
use efi_core::Status;
use uefi_raw::Status as RawStatus;
use uefi_raw::protocol::disk::DiskIoProtocol;

use super::block_io::device;
use crate::access::{bytes_mut, reply};

/// The interface.
pub(crate) fn interface() -> DiskIoProtocol {
    DiskIoProtocol {
        revision: DiskIoProtocol::REVISION,
        read_disk,
        write_disk,
    }
}

unsafe extern "efiapi" fn read_disk(
    this: *const DiskIoProtocol,
    media_id: u32,
    offset: u64,
    size: usize,
    buffer: *mut c_void,
) -> RawStatus {
    let result = device(this, media_id).and_then(|device| {
        let source = BlockSource::new(device);
        let source = SizedSource::new(&source).or(Err(Status::DEVICE_ERROR))?;
        let end = offset.checked_add(size as u64);
        if end.is_none_or(|end| end > source.len()) {
            return Err(Status::INVALID_PARAMETER);
        }
        // SAFETY: the caller passes a buffer of this size.
        let buffer = unsafe { bytes_mut(buffer.cast::<u8>(), size) }?;
        source.read_exact_at(offset, buffer).or(Err(Status::DEVICE_ERROR))
    });
    reply(result)
}

/// Writes of bytes are not supported; `EFI_BLOCK_IO_PROTOCOL` writes blocks.
unsafe extern "efiapi" fn write_disk(
    this: *mut DiskIoProtocol,
    media_id: u32,
    _: u64,
    _: usize,
    _: *const c_void,
) -> RawStatus {
    reply(device(this, media_id).and(Err::<(), _>(Status::WRITE_PROTECTED)))
}
