//! A virtio disk (Virtio 1.2, section 5.2) as a block device.

use alloc::boxed::Box;
use core::cell::RefCell;
use core::fmt;

use boot_core::arith;
use disk::block::check_request;
use disk::{BlockDevice, BlockError, BlockErrorKind, BlockSize};
use virtio_drivers::device::blk::{SECTOR_SIZE, VirtIOBlk};
use virtio_drivers::transport::Transport;

use crate::error::DeviceError;
use crate::hal::IdentityMapped;

/// `VIRTIO_BLK_F_BLK_SIZE`: the configuration has the size of logical blocks.
const F_BLK_SIZE: u64 = 1 << 6;

/// Offset of `blk_size` in the configuration (5.2.4).
const BLK_SIZE_OFFSET: usize = 20;

/// Largest number of bytes that one request reads or writes.
const MAX_TRANSFER: usize = 1 << 20;

/// A virtio disk.
///
/// Each request waits until the device has carried it out.
pub struct VirtioDisk<T: Transport> {
    driver: RefCell<VirtIOBlk<IdentityMapped, T>>,
    block_size: BlockSize,
    block_count: u64,
    read_only: bool,
}

impl<T: Transport> VirtioDisk<T> {
    /// Starts the driver of the device behind `transport`.
    pub(crate) fn new(mut transport: T) -> Result<Self, DeviceError> {
        // The compiler must not drop the upper half of the features: it would load that to x0 on riscv64. KVM (Linux 6.12) keeps the value of
        // such a load from a device, and stores it when zero is written to a register of a device.
        let features = core::hint::black_box(transport.read_device_features());
        let block_size = if features & F_BLK_SIZE == 0 {
            BlockSize::B512
        } else {
            let found = transport
                .read_config_space(BLK_SIZE_OFFSET)
                .map_err(DeviceError::Virtio)?;
            BlockSize::new(found).ok_or(DeviceError::BlockSize { found })?
        };
        let driver = VirtIOBlk::new(transport).map_err(DeviceError::Virtio)?;
        // The capacity is in units of 512 bytes, whatever the block size.
        let sectors_per_block = block_size.as_u64() >> BlockSize::B512.bytes().trailing_zeros();
        let block_count = driver.capacity().checked_div(sectors_per_block);
        Ok(Self {
            read_only: driver.readonly(),
            block_size,
            block_count: block_count.unwrap_or_default(),
            driver: RefCell::new(driver),
        })
    }

    /// Number of the first sector of 512 bytes of block `block`.
    fn sector(&self, block: u64) -> Option<usize> {
        let shift = self
            .block_size
            .bytes()
            .trailing_zeros()
            .saturating_sub(SECTOR_SIZE.trailing_zeros());
        usize::try_from(block.checked_mul(1 << shift)?).ok()
    }

    /// Carries out `request` on the blocks from `first` on: with the number of the first sector and each part of `parts`.
    fn requests<P>(
        &self,
        first: u64,
        count: u64,
        parts: impl Iterator<Item = P>,
        len: impl Fn(&P) -> usize,
        request: impl Fn(&mut VirtIOBlk<IdentityMapped, T>, usize, P) -> virtio_drivers::Result,
    ) -> Result<(), BlockError> {
        let failed = |source| BlockError::new(first, count, BlockErrorKind::Device(source));
        let mut driver = self
            .driver
            .try_borrow_mut()
            .map_err(|busy| failed(Box::new(busy)))?;
        let mut block = first;
        for part in parts {
            let sector = self
                .sector(block)
                .ok_or_else(|| failed(Box::new(virtio_drivers::Error::InvalidParam)))?;
            let blocks = self.block_size.blocks_in(arith::to_u64(len(&part)));
            request(&mut driver, sector, part).map_err(|source| failed(Box::new(source)))?;
            block = block.saturating_add(blocks);
        }
        Ok(())
    }
}

impl<T: Transport> BlockDevice for VirtioDisk<T> {
    fn block_size(&self) -> BlockSize {
        self.block_size
    }

    fn block_count(&self) -> u64 {
        self.block_count
    }

    fn read_blocks(&self, first: u64, buf: &mut [u8]) -> Result<(), BlockError> {
        let count = check_request(self, first, buf.len())?;
        let parts = buf.chunks_mut(MAX_TRANSFER);
        self.requests(first, count, parts, |part| part.len(), VirtIOBlk::read_blocks)
    }

    fn max_transfer(&self) -> usize {
        MAX_TRANSFER
    }

    fn is_read_only(&self) -> bool {
        self.read_only
    }

    fn write_blocks(&self, first: u64, data: &[u8]) -> Result<(), BlockError> {
        let count = check_request(self, first, data.len())?;
        if self.read_only {
            return Err(BlockError::new(first, count, BlockErrorKind::ReadOnly));
        }
        let parts = data.chunks(MAX_TRANSFER);
        self.requests(first, count, parts, |part| part.len(), VirtIOBlk::write_blocks)
    }

    fn flush(&self) -> Result<(), BlockError> {
        let failed = |source| BlockError::new(0, 0, BlockErrorKind::Device(source));
        let mut driver = self
            .driver
            .try_borrow_mut()
            .map_err(|busy| failed(Box::new(busy)))?;
        driver.flush().map_err(|source| failed(Box::new(source)))
    }
}

impl<T: Transport> fmt::Debug for VirtioDisk<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("VirtioDisk")
            .field("block_size", &self.block_size)
            .field("block_count", &self.block_count)
            .field("read_only", &self.read_only)
            .finish_non_exhaustive()
    }
}
