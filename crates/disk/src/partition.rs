//! Partition tables: GPT (UEFI specification 2.10, chapter 5), MBR with extended partitions, and disks without a table.

mod boot_sector;
mod error;
mod gpt;
mod limits;
mod mbr;
pub mod raw;
mod reader;
mod table;
mod warning;

use boot_core::{ByteSource, ReadError, SizedSource};

use crate::block::BlockSize;
use reader::Disk;

pub use error::{GptError, GptErrorKind, PartitionError};
pub use limits::{MAX_ARRAY_LEN, MAX_ENTRY_SIZE, MAX_LOGICAL};
pub use table::{
    Partition, PartitionAttributes, PartitionSignature, PartitionTable, PartitionType, TableKind,
};
pub use warning::{ChainDefect, TableWarning};

/// Reads the partition table of a disk.
///
/// A GPT needs a protective MBR. If its primary header or entry array is invalid, the backup is used, with
/// [`TableWarning::BackupUsed`]; the backup is not read otherwise. A disk without a table, such as a bare FAT volume or an empty disk,
/// has [`TableKind::None`].
///
/// Reads are bounded: a GPT has at most [`MAX_ARRAY_LEN`] bytes of entries, an MBR [`MAX_LOGICAL`] logical partitions for each
/// extended partition.
///
/// # Errors
///
/// [`PartitionError::Read`] if the first block cannot be read, [`PartitionError::Gpt`] if the MBR is protective, but both
/// headers are invalid.
pub fn partitions(disk: &dyn ByteSource, block_size: BlockSize) -> Result<PartitionTable, PartitionError> {
    let disk = Disk {
        source: SizedSource::new(disk)?,
        block_size,
    };
    let mut table = match boot_sector::read(&disk)? {
        boot_sector::Content::Gpt { is_hybrid } => gpt::read(&disk, is_hybrid)?,
        boot_sector::Content::Mbr(mbr) => mbr::read(&disk, &mbr),
        boot_sector::Content::NoTable => PartitionTable::new(TableKind::None),
    };
    table.report_overlaps();
    Ok(table)
}

/// The block size of a disk image with a GPT, found by the place of its primary header: 512 or 4,096 bytes. `None` if there is no
/// header at either place.
///
/// # Errors
///
/// [`ReadError`] if the image cannot be read.
pub fn probe_block_size(disk: &dyn ByteSource) -> Result<Option<BlockSize>, ReadError> {
    let source = SizedSource::new(disk)?;
    for block_size in [BlockSize::B512, BlockSize::B4096] {
        let mut signature = [0; 8];
        let read = source.read_prefix_at(block_size.as_u64(), &mut signature)?;
        if read == size_of_val(&signature) && signature == raw::GPT_SIGNATURE {
            return Ok(Some(block_size));
        }
    }
    Ok(None)
}
