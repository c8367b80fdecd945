//! Inodes.

use boot_core::ByteSource;
use disk::{Attributes, Metadata, Node, NodeId, NodeKind, Timestamp};
use zerocopy::{FromBytes, FromZeros, IntoBytes};

use crate::blocks::Blocks;
use crate::error::{Ext4Error, InodeDefect};
use crate::raw::{self, GroupDescriptor, INODE_MIN, file_type, inode_flags};

/// An inode.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Inode {
    pub(crate) number: u32,
    pub(crate) raw: raw::Inode,
}

impl<S: ByteSource> Blocks<S> {
    /// Reads an inode.
    pub(crate) fn inode(&self, number: u32) -> Result<Inode, Ext4Error> {
        let error = |defect| Ext4Error::Inode {
            inode: number,
            defect,
        };
        let geometry = &self.geometry;
        let max = geometry.inode_count;
        let index = number.checked_sub(1).filter(|index| *index < max);
        let index = index.ok_or(error(InodeDefect::NoInode { max }))?;
        let group = index.checked_div(geometry.inodes_per_group).unwrap_or_default();
        let index = index.checked_rem(geometry.inodes_per_group).unwrap_or_default();
        let table = self.inode_table(group)?;
        let outside = error(InodeDefect::Table { block: table });
        let offset = u64::from(index).saturating_mul(geometry.inode_size.into());
        let block_size = u64::from(geometry.block_size);
        let block = offset
            .checked_div(block_size)
            .and_then(|blocks| table.checked_add(blocks))
            .filter(|_| table != 0);
        let within = offset.checked_rem(block_size).unwrap_or_default();
        let bytes = match block {
            Some(block) => self.block(block)?,
            None => None,
        };
        let Some(bytes) = bytes else {
            return Err(outside);
        };
        let start = usize::try_from(within).unwrap_or_default();
        let bytes = bytes.get(start..).unwrap_or_default();
        let bytes = bytes.get(..usize::from(geometry.inode_size)).unwrap_or_default();
        Ok(Inode {
            number,
            raw: parse(bytes),
        })
    }

    /// First block of the inode table of a group.
    fn inode_table(&self, group: u32) -> Result<u64, Ext4Error> {
        let Some((block, offset)) = self.geometry.descriptor_place(group) else {
            return Ok(0);
        };
        let Some(bytes) = self.block(block)? else {
            return Ok(0);
        };
        let start = usize::try_from(offset).unwrap_or_default();
        let size = usize::from(self.geometry.descriptor_size);
        let bytes = bytes.get(start..).unwrap_or_default();
        let bytes = bytes.get(..size).unwrap_or_default();
        let mut raw = GroupDescriptor::new_zeroed();
        let len = bytes.len().min(size_of::<GroupDescriptor>());
        if let Some((to, from)) = raw.as_mut_bytes().get_mut(..len).zip(bytes.get(..len)) {
            to.copy_from_slice(from);
        }
        Ok(u64::from(raw.inode_table_hi.get()) << 32 | u64::from(raw.inode_table_lo.get()))
    }
}

/// The fields that an inode of these bytes has; the others are zero.
fn parse(bytes: &[u8]) -> raw::Inode {
    let extra = bytes
        .get(INODE_MIN..)
        .and_then(|extra| zerocopy::little_endian::U16::read_from_prefix(extra).ok())
        .map_or(0, |(len, _)| usize::from(len.get()));
    let len = INODE_MIN
        .saturating_add(extra)
        .min(bytes.len())
        .min(size_of::<raw::Inode>());
    let mut raw = raw::Inode::new_zeroed();
    if let Some((to, from)) = raw.as_mut_bytes().get_mut(..len).zip(bytes.get(..len)) {
        to.copy_from_slice(from);
    }
    raw
}

impl Inode {
    pub(crate) const fn error(&self, defect: InodeDefect) -> Ext4Error {
        Ext4Error::Inode {
            inode: self.number,
            defect,
        }
    }

    pub(crate) fn has(&self, flag: u32) -> bool {
        self.raw.flags.get() & flag != 0
    }

    fn file_type(&self) -> u16 {
        self.raw.mode.get() & file_type::MASK
    }

    pub(crate) fn is_directory(&self) -> bool {
        self.file_type() == file_type::DIRECTORY
    }

    pub(crate) fn is_symlink(&self) -> bool {
        self.file_type() == file_type::SYMLINK
    }

    /// Length in bytes.
    pub(crate) fn len(&self) -> u64 {
        u64::from(self.raw.size_high.get()) << 32 | u64::from(self.raw.size_lo.get())
    }

    /// The target of a symbolic link, if it is in the inode.
    pub(crate) fn short_target(&self) -> Option<&[u8]> {
        if self.has(inode_flags::EXTENTS) {
            return None;
        }
        let len = usize::try_from(self.len()).ok()?;
        // Of 60 bytes, one is a NUL.
        self.raw.block.get(..len).filter(|_| len < 60)
    }

    /// The inode as a file, directory, or something else.
    pub(crate) fn node(&self) -> Node {
        let kind = match self.file_type() {
            file_type::DIRECTORY => NodeKind::Directory,
            file_type::REGULAR => NodeKind::File,
            _ => NodeKind::Other,
        };
        let raw = &self.raw;
        let mut metadata = Metadata::default();
        if kind == NodeKind::File {
            metadata.len = self.len();
        }
        if kind == NodeKind::Directory {
            metadata.attributes |= Attributes::DIRECTORY;
        }
        if raw.mode.get() & 0o222 == 0 {
            metadata.attributes |= Attributes::READ_ONLY;
        }
        metadata.created = Some(raw.crtime.get())
            .filter(|time| *time != 0)
            .and_then(|time| timestamp(time, raw.crtime_extra.get()));
        metadata.accessed = timestamp(raw.atime.get(), raw.atime_extra.get());
        metadata.modified = timestamp(raw.mtime.get(), raw.mtime_extra.get());
        Node {
            kind,
            metadata,
            id: NodeId(self.number.into(), 0),
        }
    }
}

/// What a number refers to that is no inode of the volume, or one that cannot be read.
pub(crate) fn unusable(number: u32) -> Node {
    Node {
        kind: NodeKind::Other,
        metadata: Metadata::default(),
        id: NodeId(number.into(), 0),
    }
}

/// A time: signed seconds since 1970, with two further bits and nanoseconds in `extra`.
fn timestamp(seconds: u32, extra: u32) -> Option<Timestamp> {
    let seconds = i64::from(i32::from_le_bytes(seconds.to_le_bytes()));
    let epoch = i64::from(extra & 3).checked_shl(32)?;
    Timestamp::from_unix(seconds.checked_add(epoch)?, extra >> 2)
}
