//! Virtio over MMIO (Virtio 1.2, section 4.2), versions 1 (legacy) and 2.
#![expect(unsafe_code, reason = "registers of devices")]

use core::ptr::NonNull;

use virtio_drivers::transport::mmio::{MmioError, MmioTransport, VirtIOHeader};
use virtio_drivers::transport::{DeviceType, Transport};

use crate::block::VirtioDisk;
use crate::device::{self, VirtioDevice};
use crate::error::DeviceError;
use crate::transport::AnyTransport;

/// Starts the driver of the disk whose registers are the `len` bytes at the physical address `addr`. `None` if no device, or one of another
/// type, is there.
///
/// # Errors
///
/// [`DeviceError`] if the device is a disk that cannot be used.
///
/// # Safety
///
/// Those of [`mmio_device`].
pub unsafe fn mmio_disk(addr: u64, len: usize) -> Result<Option<VirtioDisk>, DeviceError> {
    // SAFETY: as the caller guarantees.
    let transport = unsafe { transport(addr, len) }?;
    let disk = transport.filter(|transport| transport.device_type() == DeviceType::Block);
    disk.map(|transport| VirtioDisk::new(AnyTransport::Mmio(transport)))
        .transpose()
}

/// Starts the driver of the device whose registers are the `len` bytes at the physical address `addr`. `None` if no device, or one of a type
/// without a driver here, is there.
///
/// # Errors
///
/// [`DeviceError`] if the device cannot be used.
///
/// # Safety
///
/// The range is registers of a virtio device or of none, nothing else uses them, and they are mapped at their physical address as device
/// memory for the life of the program. So is all memory from the global allocator as normal memory, which the device sees as the CPU does.
pub unsafe fn mmio_device(addr: u64, len: usize) -> Result<Option<VirtioDevice>, DeviceError> {
    // SAFETY: as the caller guarantees.
    let transport = unsafe { transport(addr, len) }?;
    transport.map_or(Ok(None), |transport| device::start(AnyTransport::Mmio(transport)))
}

/// The registers at an address; `None` if there is no device.
///
/// # Safety
///
/// Those of [`mmio_device`].
unsafe fn transport(addr: u64, len: usize) -> Result<Option<MmioTransport<'static>>, DeviceError> {
    let header = usize::try_from(addr)
        .ok()
        .and_then(|addr| NonNull::new(core::ptr::with_exposed_provenance_mut::<VirtIOHeader>(addr)))
        .filter(|header| header.is_aligned());
    let Some(header) = header else {
        return Ok(None);
    };
    // SAFETY: the caller guarantees what is needed; the pointer is aligned.
    match unsafe { MmioTransport::new(header, len) } {
        Ok(transport) => Ok(Some(transport)),
        // Device 0 is "no device" (4.2.2), and all ones are no registers.
        Err(MmioError::InvalidDeviceID(_) | MmioError::BadMagic(_)) => Ok(None),
        Err(source) => Err(DeviceError::Mmio(source)),
    }
}
