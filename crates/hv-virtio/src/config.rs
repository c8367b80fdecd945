//! Features and configuration of a block device (Virtio 1.2, sections 5.2.3 and 5.2.4).

use std::mem::offset_of;

use virtio_bindings::virtio_blk::{
    VIRTIO_BLK_F_BLK_SIZE, VIRTIO_BLK_F_FLUSH, VIRTIO_BLK_F_RO, VIRTIO_BLK_F_SEG_MAX, VIRTIO_BLK_F_SIZE_MAX,
    virtio_blk_config,
};
use virtio_bindings::virtio_config::VIRTIO_F_VERSION_1;
use virtio_bindings::virtio_ring::VIRTIO_RING_F_INDIRECT_DESC;

use crate::Disk;

/// Largest number of segments of a request (`seg_max`).
pub(crate) const SEG_MAX: usize = 126;

/// Largest size of a segment in bytes (`size_max`).
const SIZE_MAX: u32 = 1 << 20;

/// Largest number of descriptors of the queue.
pub(crate) const QUEUE_SIZE: u16 = 256;

/// Length of the configuration: the fields that exist whatever is negotiated, and zeros.
const CONFIG_LEN: usize = size_of::<virtio_blk_config>();

/// The features that a device with `disk` offers.
pub(crate) fn features(disk: &Disk) -> u64 {
    let bits = [
        VIRTIO_F_VERSION_1,
        VIRTIO_RING_F_INDIRECT_DESC,
        VIRTIO_BLK_F_SIZE_MAX,
        VIRTIO_BLK_F_SEG_MAX,
        VIRTIO_BLK_F_BLK_SIZE,
        VIRTIO_BLK_F_FLUSH,
    ];
    let read_only = disk.is_read_only().then_some(VIRTIO_BLK_F_RO);
    bits.into_iter()
        .chain(read_only)
        .fold(0, |set, bit| set | 1 << bit)
}

/// The configuration of a device.
#[derive(Debug)]
pub(crate) struct Config([u8; CONFIG_LEN]);

impl Config {
    pub(crate) fn of(disk: &Disk) -> Self {
        let mut config = Self([0; CONFIG_LEN]);
        config.set(
            offset_of!(virtio_blk_config, capacity),
            &disk.sectors().to_le_bytes(),
        );
        config.set(offset_of!(virtio_blk_config, size_max), &SIZE_MAX.to_le_bytes());
        let segments = u32::try_from(SEG_MAX).unwrap_or(1);
        config.set(offset_of!(virtio_blk_config, seg_max), &segments.to_le_bytes());
        config.set(
            offset_of!(virtio_blk_config, blk_size),
            &disk.block_size().to_le_bytes(),
        );
        config
    }

    fn set(&mut self, offset: usize, value: &[u8]) {
        for (byte, value) in self.0.iter_mut().skip(offset).zip(value) {
            *byte = *value;
        }
    }

    /// Fills `data` with the bytes from `offset` on, and with zeros past the end.
    pub(crate) fn read(&self, offset: u64, data: &mut [u8]) {
        let offset = usize::try_from(offset).unwrap_or(usize::MAX);
        let bytes = self.0.iter().copied().skip(offset).chain(std::iter::repeat(0));
        for (byte, value) in data.iter_mut().zip(bytes) {
            *byte = value;
        }
    }
}
