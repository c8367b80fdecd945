//! Errors of virtio devices.

use disk::BlockSize;
use virtio_drivers::transport::mmio::MmioError;
use virtio_drivers::transport::pci::VirtioPciError;

/// Why a device cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DeviceError {
    /// The registers of a device on the PCI bus are malformed.
    #[error("the PCI device cannot be used")]
    Pci(#[source] VirtioPciError),
    /// The registers of an MMIO device are malformed.
    #[error("the MMIO device cannot be used")]
    Mmio(#[source] MmioError),
    /// The device did not accept the driver.
    #[error("the virtio device cannot be used")]
    Virtio(#[source] virtio_drivers::Error),
    /// A block size that is not supported.
    #[error(
        "the disk has blocks of {found} bytes; a power of two from {} to {} is supported",
        BlockSize::MIN,
        BlockSize::MAX
    )]
    BlockSize {
        /// The size in bytes.
        found: u32,
    },
}
