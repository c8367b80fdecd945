//! `EFI_BLOCK_IO_PROTOCOL`, UEFI 2.10 section 13.9.
#![expect(unsafe_code, reason = "functions called by images")]

use core::ffi::c_void;

use disk::{BlockDevice, BlockError, BlockErrorKind};
use efi_core::{Result, Status};
use uefi_raw::protocol::block::{BlockIoMedia, BlockIoProtocol};
use uefi_raw::{Boolean, Status as RawStatus};

use crate::access::{address, bytes, bytes_mut, raw, reply};
use crate::state::with;

/// The only medium of a device.
pub(crate) const MEDIA_ID: u32 = 1;

/// The medium of a device.
pub(crate) fn media(device: &dyn BlockDevice, is_partition: bool) -> BlockIoMedia {
    BlockIoMedia {
        media_id: MEDIA_ID,
        removable_media: Boolean::FALSE,
        media_present: Boolean::TRUE,
        logical_partition: is_partition.into(),
        read_only: device.is_read_only().into(),
        write_caching: (!device.is_read_only()).into(),
        block_size: device.block_size().bytes(),
        io_align: 1,
        last_block: device.block_count().saturating_sub(1),
        lowest_aligned_lba: 0,
        logical_blocks_per_physical_block: 1,
        optimal_transfer_length_granularity: 0,
    }
}

/// The interface of a medium.
pub(crate) fn interface(media: *const BlockIoMedia) -> BlockIoProtocol {
    BlockIoProtocol {
        revision: BlockIoProtocol::REVISION_3,
        media,
        reset,
        read_blocks,
        write_blocks,
        flush_blocks,
    }
}

/// The status of a failed request.
pub(crate) fn status_of(error: &BlockError) -> Status {
    match error.kind {
        BlockErrorKind::PastEnd { .. } => Status::INVALID_PARAMETER,
        BlockErrorKind::Unaligned { .. } => Status::BAD_BUFFER_SIZE,
        BlockErrorKind::ReadOnly => Status::WRITE_PROTECTED,
        BlockErrorKind::MediaChanged => Status::MEDIA_CHANGED,
        _ => Status::DEVICE_ERROR,
    }
}

/// The device of an interface, if the caller means its medium.
pub(crate) fn device<T>(this: *const T, media_id: u32) -> Result<&'static dyn BlockDevice> {
    let device = with(|state| state.storage.disk(address(this)))?;
    if media_id == MEDIA_ID {
        Ok(device)
    } else {
        Err(Status::MEDIA_CHANGED)
    }
}

unsafe extern "efiapi" fn reset(this: *mut BlockIoProtocol, _: Boolean) -> RawStatus {
    reply(device(this, MEDIA_ID))
}

unsafe extern "efiapi" fn read_blocks(
    this: *const BlockIoProtocol,
    media_id: u32,
    block: u64,
    size: usize,
    buffer: *mut c_void,
) -> RawStatus {
    let result = device(this, media_id).and_then(|device| {
        // SAFETY: the caller passes a buffer of this size.
        let buffer = unsafe { bytes_mut(buffer.cast::<u8>(), size) }?;
        device
            .read_blocks(block, buffer)
            .map_err(|error| status_of(&error))
    });
    reply(result)
}

unsafe extern "efiapi" fn write_blocks(
    this: *mut BlockIoProtocol,
    media_id: u32,
    block: u64,
    size: usize,
    buffer: *const c_void,
) -> RawStatus {
    let result = device(this, media_id).and_then(|device| {
        if device.is_read_only() {
            return Err(Status::WRITE_PROTECTED);
        }
        // SAFETY: the caller passes a buffer of this size.
        let data = unsafe { bytes(buffer.cast::<u8>(), size) }?;
        device
            .write_blocks(block, data)
            .map_err(|error| status_of(&error))
    });
    reply(result)
}

unsafe extern "efiapi" fn flush_blocks(this: *mut BlockIoProtocol) -> RawStatus {
    match device(this, MEDIA_ID).and_then(|device| device.flush().map_err(|error| status_of(&error))) {
        Ok(()) => RawStatus::SUCCESS,
        Err(status) => raw(status),
    }
}
