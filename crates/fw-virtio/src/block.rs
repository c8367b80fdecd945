//! A virtio disk (Virtio 1.2, section 5.2) as a block device.

use alloc::boxed::Box;
use core::cell::{RefCell, RefMut};
use core::fmt;

use boot_core::arith;
use disk::block::check_request;
use disk::{BlockDevice, BlockError, BlockErrorKind, BlockSize};
use virtio_drivers::device::blk::{SECTOR_SIZE, VirtIOBlk};
use virtio_drivers::transport::Transport;

use crate::error::DeviceError;
use crate::hal::IdentityMapped;
use crate::transport::AnyTransport;

/// `VIRTIO_BLK_F_BLK_SIZE`: the configuration has the size of logical blocks.
const F_BLK_SIZE: u64 = 1 << 6;

/// Offset of `blk_size` in the configuration (5.2.4).
const BLK_SIZE_OFFSET: usize = 20;

/// Largest number of bytes that one request reads or writes.
const MAX_TRANSFER: usize = 1 << 20;

/// The driver of a disk.
type Driver = VirtIOBlk<IdentityMapped, AnyTransport>;

/// A virtio disk.
///
/// Each request waits until the device has carried it out.
pub struct VirtioDisk {
    driver: RefCell<Driver>,
    block_size: BlockSize,
    block_count: u64,
    read_only: bool,
}

impl VirtioDisk {
    /// Starts the driver of the device behind `transport`.
    pub(crate) fn new(mut transport: AnyTransport) -> Result<Self, DeviceError> {
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
        let mut driver = VirtIOBlk::new(transport).map_err(DeviceError::Virtio)?;
        // Requests are polled. A kernel that does not set up the interrupt controller of a PC first would get an interrupt that it does not expect.
        driver.disable_interrupts();
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

    /// The driver, for requests on `count` blocks from `first` on.
    fn driver(&self, first: u64, count: u64) -> Result<RefMut<'_, Driver>, BlockError> {
        let busy = self.driver.try_borrow_mut();
        busy.map_err(|busy| BlockError::new(first, count, BlockErrorKind::Device(Box::new(busy))))
    }
}

/// Reads the blocks from `first` on by `request`, which reads the blocks from its first argument on. If it fails, each half of them is read alone,
/// down to one block: an error names the first block that cannot be read.
fn read_parts(
    block_size: BlockSize,
    first: u64,
    buf: &mut [u8],
    request: &mut dyn FnMut(u64, &mut [u8]) -> virtio_drivers::Result,
) -> Result<(), BlockError> {
    let Err(source) = request(first, buf) else {
        return Ok(());
    };
    let half = block_size.blocks_in(arith::to_u64(buf.len())) >> 1;
    let len = usize::try_from(half)
        .ok()
        .and_then(|half| half.checked_mul(block_size.as_usize()))
        .filter(|len| *len != 0);
    let Some((left, right)) = len.and_then(|len| buf.split_at_mut_checked(len)) else {
        return Err(BlockError::new(
            first,
            1,
            BlockErrorKind::Device(Box::new(source)),
        ));
    };
    read_parts(block_size, first, left, request)?;
    read_parts(block_size, first.saturating_add(half), right, request)
}

impl BlockDevice for VirtioDisk {
    fn block_size(&self) -> BlockSize {
        self.block_size
    }

    fn block_count(&self) -> u64 {
        self.block_count
    }

    fn read_blocks(&self, first: u64, buf: &mut [u8]) -> Result<(), BlockError> {
        let count = check_request(self, first, buf.len())?;
        let mut driver = self.driver(first, count)?;
        let mut request = |block, part: &mut [u8]| {
            let sector = self.sector(block).ok_or(virtio_drivers::Error::InvalidParam)?;
            driver.read_blocks(sector, part)
        };
        let mut block = first;
        for part in buf.chunks_mut(MAX_TRANSFER) {
            read_parts(self.block_size, block, part, &mut request)?;
            block = block.saturating_add(self.block_size.blocks_in(arith::to_u64(part.len())));
        }
        Ok(())
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
        let mut driver = self.driver(first, count)?;
        let mut block = first;
        for part in data.chunks(MAX_TRANSFER) {
            let blocks = self.block_size.blocks_in(arith::to_u64(part.len()));
            let failed = |source| BlockError::new(block, blocks, BlockErrorKind::Device(Box::new(source)));
            let sector = self
                .sector(block)
                .ok_or_else(|| failed(virtio_drivers::Error::InvalidParam))?;
            driver.write_blocks(sector, part).map_err(failed)?;
            block = block.saturating_add(blocks);
        }
        Ok(())
    }

    fn flush(&self) -> Result<(), BlockError> {
        let failed = |source| BlockError::new(0, 0, BlockErrorKind::Device(Box::new(source)));
        self.driver(0, 0)?.flush().map_err(failed)
    }
}

impl fmt::Debug for VirtioDisk {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("VirtioDisk")
            .field("block_size", &self.block_size)
            .field("block_count", &self.block_count)
            .field("read_only", &self.read_only)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::string::ToString;
    use std::vec;
    use std::vec::Vec;

    use super::*;

    /// First block and number of blocks.
    type Blocks = (u64, u64);

    /// Reads 16 blocks from block 100 on, of which some cannot be read. Returns the error and the requests.
    fn read(broken: &[u64], times: usize) -> (Option<Blocks>, Vec<Blocks>) {
        let mut requests = Vec::new();
        let mut failures = 0;
        let mut buf = vec![0; 16 * 512];
        let result = read_parts(BlockSize::B512, 100, &mut buf, &mut |first, part| {
            let count = part.len() as u64 / 512;
            requests.push((first, count));
            if failures < times && broken.iter().any(|block| (first..first + count).contains(block)) {
                failures += 1;
                return Err(virtio_drivers::Error::IoError);
            }
            part.fill(1);
            Ok(())
        });
        assert!(result.is_err() || buf.iter().all(|byte| *byte == 1));
        let error = result.err().map(|error| {
            assert!(error.to_string().contains("error"), "{error}");
            (error.first, error.count)
        });
        (error, requests)
    }

    #[test]
    fn errors_name_the_first_block_that_cannot_be_read() {
        assert_eq!(read(&[], 99), (None, vec![(100, 16)]));
        for block in 100..116 {
            let (error, requests) = read(&[block, 115], 99);
            assert_eq!(error, Some((block, 1)));
            assert!(requests.len() <= 9, "{requests:?}");
        }
        // Errors that do not come again are none.
        let (error, requests) = read(&[107], 1);
        assert_eq!((error, requests), (None, vec![(100, 16), (100, 8), (108, 8)]));
    }
}
