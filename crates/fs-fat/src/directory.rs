//! Directories (section 6).

use alloc::string::String;
use alloc::vec;
use core::ops::ControlFlow;

use boot_core::{ByteSource, ReadError, arith};
use disk::{Attributes, DirPosition, Extents, Metadata, Node, NodeId, NodeKind};
use zerocopy::{FromBytes, IntoBytes};

use crate::geometry::{FatKind, Geometry};
use crate::long_name::LongName;
use crate::name;
use crate::raw::{ATTR_LONG_NAME, ATTR_LONG_NAME_MASK, ATTR_VOLUME_ID, DirectoryEntry, LongNameEntry};
use crate::time;

/// Length of the reads of a directory, a multiple of an entry.
const CHUNK: usize = 16 << 10;

/// Length of an entry.
const ENTRY_LEN: usize = size_of::<DirectoryEntry>();

/// An entry of a directory.
pub(crate) enum Entry {
    /// The label of the volume.
    Label(String),
    /// A file or directory.
    File(FileEntry),
}

/// A file or directory with its names.
pub(crate) struct FileEntry {
    /// Short name; empty if the entry has none.
    pub(crate) short_name: String,
    pub(crate) long_name: Option<String>,
    pub(crate) node: Node,
    /// Position after the entry.
    pub(crate) next: DirPosition,
}

impl FileEntry {
    /// The name that people see.
    pub(crate) fn name(&self) -> &str {
        self.long_name.as_deref().unwrap_or(&self.short_name)
    }

    /// Whether the file has this name, long or short.
    pub(crate) fn is_called(&self, name: &str) -> bool {
        name::equal(self.name(), name) || name::equal(&self.short_name, name)
    }
}

/// Calls `visit` for each entry from a position on, until it breaks or the directory ends.
pub(crate) fn for_each(
    source: &dyn ByteSource,
    geometry: &Geometry,
    extents: &Extents,
    from: DirPosition,
    visit: &mut dyn FnMut(Entry) -> ControlFlow<()>,
) -> Result<(), ReadError> {
    let len = extents.len();
    let mut position = from
        .0
        .checked_next_multiple_of(arith::to_u64(ENTRY_LEN))
        .unwrap_or(u64::MAX);
    let mut long_name = LongName::new();
    let mut chunk = vec![0; usize::try_from(len).unwrap_or(CHUNK).min(CHUNK)];
    while position < len {
        let take = usize::try_from(len.saturating_sub(position))
            .unwrap_or(CHUNK)
            .min(CHUNK);
        let Some(bytes) = chunk.get_mut(..take) else {
            break;
        };
        extents.read(source, position, bytes)?;
        for bytes in bytes.chunks_exact(ENTRY_LEN) {
            let Ok(entry) = DirectoryEntry::read_from_bytes(bytes) else {
                break;
            };
            let start = position;
            position = position.saturating_add(arith::to_u64(ENTRY_LEN));
            match entry.name.first() {
                // All entries after it are unused.
                Some(0) | None => return Ok(()),
                // An unused entry, or a name that begins with a dot: `.` and `..`.
                Some(0xe5 | b'.') => {
                    long_name.clear();
                    continue;
                }
                Some(_) => {}
            }
            if entry.attr & ATTR_LONG_NAME_MASK == ATTR_LONG_NAME {
                match LongNameEntry::read_from_bytes(entry.as_bytes()) {
                    Ok(part) => long_name.add(&part),
                    Err(_) => long_name.clear(),
                }
                continue;
            }
            let long_name = long_name.take(name::checksum(&entry.name));
            let entry = if entry.attr & ATTR_VOLUME_ID != 0 {
                name::label(&entry.name).map(Entry::Label)
            } else {
                let offset = offset_of(extents, start);
                file(geometry, &entry, long_name, offset, DirPosition(position)).map(Entry::File)
            };
            if let Some(entry) = entry {
                if visit(entry).is_break() {
                    return Ok(());
                }
            }
        }
        if take < ENTRY_LEN {
            break;
        }
    }
    Ok(())
}

/// Offset on the partition of a position in a directory.
fn offset_of(extents: &Extents, position: u64) -> u64 {
    let pieces = extents.pieces();
    let index = pieces
        .partition_point(|piece| piece.start <= position)
        .saturating_sub(1);
    let piece = pieces.get(index).and_then(|piece| {
        let skip = position.checked_sub(piece.start)?;
        piece.source?.checked_add(skip)
    });
    piece.unwrap_or_default()
}

/// The file or directory of an entry; `None` if it has no name.
fn file(
    geometry: &Geometry,
    entry: &DirectoryEntry,
    long_name: Option<String>,
    offset: u64,
    next: DirPosition,
) -> Option<FileEntry> {
    let short_name = name::short(entry);
    if short_name.is_empty() && long_name.is_none() {
        return None;
    }
    let attributes = Attributes::from_bits_truncate(entry.attr);
    let is_directory = attributes.contains(Attributes::DIRECTORY);
    let high = match geometry.kind {
        FatKind::Fat32 => entry.fst_clus_hi.get(),
        FatKind::Fat12 | FatKind::Fat16 => 0,
    };
    let first = u32::from(high) << 16 | u32::from(entry.fst_clus_lo.get());
    let mut metadata = Metadata::default();
    metadata.attributes = attributes;
    if !is_directory {
        metadata.len = entry.file_size.get().into();
    }
    time::set(&mut metadata, entry);
    let kind = if is_directory {
        NodeKind::Directory
    } else {
        NodeKind::File
    };
    let id = NodeId(offset, first.into());
    Some(FileEntry {
        short_name,
        long_name,
        node: Node { kind, metadata, id },
        next,
    })
}
