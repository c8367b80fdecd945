//! Virtio over MMIO (Virtio 1.2, section 4.2), versions 1 (legacy) and 2.
#![expect(unsafe_code, reason = "registers of devices")]

use core::ptr::NonNull;

use virtio_drivers::transport::mmio::{MmioError, MmioTransport, VirtIOHeader};
use virtio_drivers::transport::{DeviceType, Transport};

use crate::block::VirtioDisk;
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
/// The range is registers of a virtio device or of none, nothing else uses them, and they are mapped at their physical address as device
/// memory for the life of the program. So is all memory from the global allocator as normal memory, which the device sees as the CPU does.
pub unsafe fn mmio_disk(addr: u64, len: usize) -> Result<Option<VirtioDisk>, DeviceError> {
    let header = usize::try_from(addr)
        .ok()
        .and_then(|addr| NonNull::new(core::ptr::with_exposed_provenance_mut::<VirtIOHeader>(addr)))
        .filter(|header| header.is_aligned());
    let Some(header) = header else {
        return Ok(None);
    };
    // SAFETY: the caller guarantees what is needed; the pointer is aligned.
    let transport = match unsafe { MmioTransport::new(header, len) } {
        Ok(transport) => transport,
        // Device 0 is "no device" (4.2.2), and all ones are no registers.
        Err(MmioError::InvalidDeviceID(_) | MmioError::BadMagic(_)) => return Ok(None),
        Err(source) => return Err(DeviceError::Mmio(source)),
    };
    if transport.device_type() != DeviceType::Block {
        return Ok(None);
    }
    VirtioDisk::new(AnyTransport::Mmio(transport)).map(Some)
}
