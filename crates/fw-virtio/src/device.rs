//! Virtio devices of any type.

use alloc::boxed::Box;

use disk::BlockDevice;
use virtio_drivers::transport::{DeviceType, Transport};

use crate::block::VirtioDisk;
use crate::console::{ByteConsole, VirtioConsole};
use crate::entropy::{EntropySource, VirtioEntropy};
use crate::error::DeviceError;
use crate::transport::AnyTransport;

/// A device whose driver was started.
pub enum VirtioDevice {
    /// A disk.
    Disk(Box<dyn BlockDevice>),
    /// A source of random bytes.
    Entropy(Box<dyn EntropySource>),
    /// A console.
    Console(Box<dyn ByteConsole>),
}

impl core::fmt::Debug for VirtioDevice {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str(match self {
            Self::Disk(_) => "Disk",
            Self::Entropy(_) => "Entropy",
            Self::Console(_) => "Console",
        })
    }
}

/// Starts the driver of the device behind `transport`; `None` if it has another type.
pub(crate) fn start(transport: AnyTransport) -> Result<Option<VirtioDevice>, DeviceError> {
    Ok(Some(match transport.device_type() {
        DeviceType::Block => VirtioDevice::Disk(Box::new(VirtioDisk::new(transport)?)),
        DeviceType::EntropySource => VirtioDevice::Entropy(Box::new(VirtioEntropy::new(transport)?)),
        DeviceType::Console => VirtioDevice::Console(Box::new(VirtioConsole::new(transport)?)),
        _ => return Ok(None),
    }))
}
