//! Block devices.

use alloc::boxed::Box;
use alloc::rc::Rc;
use core::error::Error;
use core::fmt;

use boot_core::arith;

/// Size of the logical blocks of a device in bytes: a power of two from 512 to 65,536.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct BlockSize(u32);

impl BlockSize {
    /// 512 bytes.
    pub const B512: Self = Self(512);
    /// 4,096 bytes.
    pub const B4096: Self = Self(4096);
    /// The smallest block size: 512 bytes.
    pub const MIN: Self = Self(512);
    /// The largest block size: 65,536 bytes.
    pub const MAX: Self = Self(65536);

    /// The block size of `bytes`; `None` if it is not a power of two from 512 to 65,536.
    #[must_use]
    pub const fn new(bytes: u32) -> Option<Self> {
        if bytes.is_power_of_two() && bytes >= Self::MIN.0 && bytes <= Self::MAX.0 {
            Some(Self(bytes))
        } else {
            None
        }
    }

    /// The size in bytes.
    #[must_use]
    pub const fn bytes(self) -> u32 {
        self.0
    }

    /// The size in bytes, for lengths of buffers.
    #[must_use]
    #[expect(
        clippy::as_conversions,
        reason = "at most 65,536; usize has 32 bits or more, see the assertion"
    )]
    pub const fn as_usize(self) -> usize {
        const _: () = assert!(size_of::<usize>() >= size_of::<u32>());
        self.0 as usize
    }

    /// The size in bytes, for byte offsets.
    #[must_use]
    #[expect(clippy::as_conversions, reason = "widening")]
    pub const fn as_u64(self) -> u64 {
        self.0 as u64
    }

    /// Number of whole blocks in `bytes`.
    #[must_use]
    pub const fn blocks_in(self, bytes: u64) -> u64 {
        bytes >> self.0.trailing_zeros()
    }

    /// Byte offset of a block; `None` if it is above `u64::MAX`.
    #[must_use]
    pub const fn offset_of(self, block: u64) -> Option<u64> {
        block.checked_mul(self.as_u64())
    }

    /// Whether `bytes` is a multiple of the block size.
    #[must_use]
    pub const fn is_aligned(self, bytes: u64) -> bool {
        bytes.trailing_zeros() >= self.0.trailing_zeros()
    }
}

impl fmt::Display for BlockSize {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

/// A disk that reads, and possibly writes, whole blocks. Methods take `&self`: drivers have interior mutability.
///
/// Implementations check each request with [`check_request`], so that no caller can reach past the end of the device.
pub trait BlockDevice {
    /// Size of a logical block.
    fn block_size(&self) -> BlockSize;

    /// Number of blocks.
    fn block_count(&self) -> u64;

    /// Fills `buf` with the blocks from `first` on. The length of `buf` is a multiple of the block size, and may be above
    /// [`max_transfer`](Self::max_transfer): the device then divides the request.
    ///
    /// # Errors
    ///
    /// [`BlockError`] if not all blocks could be read; the content of `buf` is then unspecified.
    fn read_blocks(&self, first: u64, buf: &mut [u8]) -> Result<(), BlockError>;

    /// Length in bytes up to which a read or write is one request to the device; 1 MiB by default.
    fn max_transfer(&self) -> usize {
        1 << 20
    }

    /// Whether [`write_blocks`](Self::write_blocks) always fails; by default it does.
    fn is_read_only(&self) -> bool {
        true
    }

    /// Writes `data` to the blocks from `first` on. The length of `data` is a multiple of the block size.
    ///
    /// # Errors
    ///
    /// [`BlockErrorKind::ReadOnly`] by default. [`BlockError`] if not all blocks could be written; the content of the blocks is
    /// then unspecified.
    fn write_blocks(&self, first: u64, data: &[u8]) -> Result<(), BlockError> {
        Err(BlockError::new(
            first,
            self.block_size().blocks_in(arith::to_u64(data.len())),
            BlockErrorKind::ReadOnly,
        ))
    }

    /// Waits until all written blocks are on stable storage.
    ///
    /// # Errors
    ///
    /// [`BlockErrorKind::Device`].
    fn flush(&self) -> Result<(), BlockError> {
        Ok(())
    }
}

macro_rules! forward_to_pointee {
    ($($ty:ty),*) => {$(
        impl<T: BlockDevice + ?Sized> BlockDevice for $ty {
            fn block_size(&self) -> BlockSize {
                (**self).block_size()
            }

            fn block_count(&self) -> u64 {
                (**self).block_count()
            }

            fn read_blocks(&self, first: u64, buf: &mut [u8]) -> Result<(), BlockError> {
                (**self).read_blocks(first, buf)
            }

            fn max_transfer(&self) -> usize {
                (**self).max_transfer()
            }

            fn is_read_only(&self) -> bool {
                (**self).is_read_only()
            }

            fn write_blocks(&self, first: u64, data: &[u8]) -> Result<(), BlockError> {
                (**self).write_blocks(first, data)
            }

            fn flush(&self) -> Result<(), BlockError> {
                (**self).flush()
            }
        }
    )*};
}

forward_to_pointee!(&T, Box<T>, Rc<T>);

/// Checks a read or write of `len` bytes from block `first`. Returns the number of blocks.
///
/// # Errors
///
/// [`BlockErrorKind::Unaligned`] if `len` is not a multiple of the block size, [`BlockErrorKind::PastEnd`] if the last block
/// is past the end of the device.
pub fn check_request(
    device: &(impl BlockDevice + ?Sized),
    first: u64,
    len: usize,
) -> Result<u64, BlockError> {
    let (block_size, block_count) = (device.block_size(), device.block_count());
    let len = arith::to_u64(len);
    let count = block_size.blocks_in(len);
    if !block_size.is_aligned(len) {
        return Err(BlockError::new(
            first,
            count,
            BlockErrorKind::Unaligned { len, block_size },
        ));
    }
    match first.checked_add(count) {
        Some(end) if end <= block_count => Ok(count),
        _ => Err(BlockError::new(
            first,
            count,
            BlockErrorKind::PastEnd { block_count },
        )),
    }
}

/// A failed request to a [`BlockDevice`].
#[derive(Debug)]
#[non_exhaustive]
pub struct BlockError {
    /// First block of the request.
    pub first: u64,
    /// Number of whole blocks of the request.
    pub count: u64,
    /// Reason of the failure.
    pub kind: BlockErrorKind,
}

/// Reason why a request to a [`BlockDevice`] failed.
#[derive(Debug)]
#[non_exhaustive]
pub enum BlockErrorKind {
    /// The last block of the request is past the end of the device.
    PastEnd {
        /// Number of blocks of the device.
        block_count: u64,
    },
    /// The length of the request is not a multiple of the block size.
    Unaligned {
        /// Length of the request in bytes.
        len: u64,
        /// Block size of the device.
        block_size: BlockSize,
    },
    /// The device cannot be written.
    ReadOnly,
    /// The device was removed or replaced: `EFI_NO_MEDIA` and `EFI_MEDIA_CHANGED` of the UEFI specification.
    MediaChanged,
    /// The device reported an error, or did not answer.
    Device(Box<dyn Error + Send + Sync>),
}

impl BlockError {
    /// A failed request for `count` blocks from block `first`.
    #[must_use]
    pub const fn new(first: u64, count: u64, kind: BlockErrorKind) -> Self {
        Self { first, count, kind }
    }
}

impl fmt::Display for BlockError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { first, count, kind } = self;
        match count {
            1 => write!(f, "block {first}: ")?,
            _ => write!(f, "{count} blocks from block {first}: ")?,
        }
        match kind {
            BlockErrorKind::PastEnd { block_count } => {
                write!(f, "past the end of the device, which has {block_count} blocks")
            }
            BlockErrorKind::Unaligned { len, block_size } => {
                write!(
                    f,
                    "a request of {len} bytes is not a multiple of the block size, {block_size} bytes"
                )
            }
            BlockErrorKind::ReadOnly => write!(f, "the device is read-only"),
            BlockErrorKind::MediaChanged => write!(f, "the medium was removed or replaced"),
            BlockErrorKind::Device(_) => write!(f, "the device reported an error"),
        }
    }
}

impl Error for BlockError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match &self.kind {
            BlockErrorKind::Device(source) => Some(&**source),
            _ => None,
        }
    }
}
