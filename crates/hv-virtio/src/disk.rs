//! The content of a disk.

use std::fmt;

use boot_core::{ByteSource, GuestMemory as _, GuestRange, MemoryError, ReadError};
use guest_ram::GuestRam;

use crate::overlay::{Overlay, OverlayError};

/// Length of a sector in bytes, the unit of addresses and capacities whatever the block size (Virtio 1.2, section 5.2.4).
pub const SECTOR: u64 = 512;

/// Length of the identifier of a disk in bytes (`VIRTIO_BLK_ID_BYTES`).
pub(crate) const ID_LEN: usize = 20;

/// What happens to writes of the guest. The source itself is never written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum DiskMode {
    /// They fail.
    ReadOnly,
    /// They go to copies of the blocks in memory, which are lost with the disk.
    CopyOnWrite {
        /// Largest number of bytes of these copies. They take memory as the guest writes. Further writes fail.
        limit: u64,
    },
}

/// Configuration of a disk.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct DiskConfig {
    /// What happens to writes.
    pub mode: DiskMode,
    /// Size of a logical block in bytes: a power of two from 512 to 65,536.
    pub block_size: u32,
    /// Identifier, at most 20 bytes; Linux shows it as the serial number.
    pub id: String,
}

impl Default for DiskConfig {
    /// Read-only, blocks of 512 bytes, without an identifier.
    fn default() -> Self {
        Self {
            mode: DiskMode::ReadOnly,
            block_size: 512,
            id: String::new(),
        }
    }
}

impl DiskConfig {
    /// Sets what happens to writes.
    #[must_use]
    pub fn with_mode(self, mode: DiskMode) -> Self {
        Self { mode, ..self }
    }

    /// Sets the size of a logical block in bytes.
    #[must_use]
    pub fn with_block_size(self, block_size: u32) -> Self {
        Self { block_size, ..self }
    }

    /// Sets the identifier.
    #[must_use]
    pub fn with_id(self, id: impl Into<String>) -> Self {
        Self {
            id: id.into(),
            ..self
        }
    }
}

/// Reason why a source cannot be a disk.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DiskError {
    /// The length of the source cannot be read.
    #[error("the length of the disk cannot be read")]
    Source(#[source] ReadError),
    /// The source is empty.
    #[error("the disk is empty")]
    Empty,
    /// The length is not a multiple of the block size.
    #[error("the disk has {len} bytes, which is not a multiple of its block size {block_size}")]
    Length {
        /// Length in bytes.
        len: u64,
        /// Block size in bytes.
        block_size: u32,
    },
    /// The block size is not supported.
    #[error("the block size {found} is not a power of two from 512 to 65536")]
    BlockSize {
        /// Block size in bytes.
        found: u32,
    },
    /// The identifier is too long.
    #[error("the identifier of the disk has {len} bytes, but at most {ID_LEN} are possible")]
    Id {
        /// Length in bytes.
        len: usize,
    },
}

/// Why a transfer failed. The guest sees an I/O error.
#[derive(Debug, thiserror::Error)]
pub(crate) enum TransferError {
    /// The source cannot be read, or the guest's memory cannot be accessed.
    #[error(transparent)]
    Memory(#[from] MemoryError),
    /// A copied block cannot be kept.
    #[error(transparent)]
    Overlay(#[from] OverlayError),
    /// The disk is read-only.
    #[error("the disk is read-only")]
    ReadOnly,
}

/// A disk: a source of bytes, and the blocks that the guest wrote.
///
/// Reads go from the source straight into guest memory, with `pread` if it is a file. The source must keep its length: reads of bytes
/// that are gone fail.
pub struct Disk {
    source: Box<dyn ByteSource + Send>,
    len: u64,
    block_size: u32,
    id: [u8; ID_LEN],
    overlay: Option<Overlay>,
}

impl Disk {
    /// A disk with the bytes of `source`.
    ///
    /// # Errors
    ///
    /// [`DiskError`] if the length of the source is not a multiple of the block size, is zero or cannot be read, or if `config` is out of
    /// range.
    pub fn new(source: impl ByteSource + Send + 'static, config: &DiskConfig) -> Result<Self, DiskError> {
        let block_size = config.block_size;
        if !block_size.is_power_of_two() || !(512..=1 << 16).contains(&block_size) {
            return Err(DiskError::BlockSize { found: block_size });
        }
        let mut id = [0; ID_LEN];
        let name = config.id.as_bytes();
        id.get_mut(..name.len())
            .ok_or(DiskError::Id { len: name.len() })?
            .copy_from_slice(name);
        let len = source.len().map_err(DiskError::Source)?;
        if len == 0 {
            return Err(DiskError::Empty);
        }
        if !len.is_multiple_of(block_size.into()) {
            return Err(DiskError::Length { len, block_size });
        }
        let overlay = match config.mode {
            DiskMode::ReadOnly => None,
            DiskMode::CopyOnWrite { limit } => Some(Overlay::new(limit)),
        };
        Ok(Self {
            source: Box::new(source),
            len,
            block_size,
            id,
            overlay,
        })
    }

    /// Number of sectors of 512 bytes.
    #[must_use]
    pub fn sectors(&self) -> u64 {
        self.len.checked_div(SECTOR).unwrap_or_default()
    }

    /// Size of a logical block in bytes.
    #[must_use]
    pub fn block_size(&self) -> u32 {
        self.block_size
    }

    /// Whether writes fail.
    #[must_use]
    pub fn is_read_only(&self) -> bool {
        self.overlay.is_none()
    }

    pub(crate) fn id(&self) -> &[u8; ID_LEN] {
        &self.id
    }

    /// Offset in bytes of `len` bytes at sector `sector`; `None` if they are not whole sectors or extend past the end.
    pub(crate) fn offset(&self, sector: u64, len: u64) -> Option<u64> {
        let offset = sector.checked_mul(SECTOR)?;
        let end = offset.checked_add(len)?;
        (end <= self.len && len.is_multiple_of(SECTOR)).then_some(offset)
    }

    /// Reads the bytes from `offset` on into `range`.
    pub(crate) fn read(
        &self,
        ram: &mut GuestRam,
        offset: u64,
        range: GuestRange,
    ) -> Result<(), TransferError> {
        match &self.overlay {
            None => Ok(ram.copy_from(range, &*self.source, offset)?),
            Some(overlay) => Ok(overlay.read(&*self.source, ram, offset, range)?),
        }
    }

    /// Writes the bytes of `range` from `offset` on.
    pub(crate) fn write(
        &mut self,
        ram: &GuestRam,
        offset: u64,
        range: GuestRange,
    ) -> Result<(), TransferError> {
        let overlay = self.overlay.as_mut().ok_or(TransferError::ReadOnly)?;
        Ok(overlay.write(&*self.source, self.len, ram, offset, range)?)
    }
}

impl fmt::Debug for Disk {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Disk")
            .field("sectors", &self.sectors())
            .field("block_size", &self.block_size)
            .field("overlay", &self.overlay)
            .finish_non_exhaustive()
    }
}
