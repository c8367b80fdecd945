//! Limits of what is read.

/// Maximum number of fragments and holes of a file.
pub const MAX_PIECES: usize = 1 << 18;

/// Maximum number of blocks with extents, or numbers of blocks, that a file has: with blocks of 4 KiB enough for 16 GiB without extents.
pub const MAX_MAP_BLOCKS: usize = 4096;

/// Maximum length of a directory in bytes.
pub const MAX_DIRECTORY_LEN: u64 = 16 << 20;

/// Maximum number of symbolic links that are followed for a path.
pub const MAX_SYMLINKS: u32 = 16;

/// Maximum number of bytes of directories that are read to follow symbolic links, for one call.
pub(crate) const MAX_SYMLINK_WORK: u64 = 32 << 20;

/// Maximum number of blocks that a journal replaces, and of those that it revokes.
pub const MAX_JOURNAL_ENTRIES: usize = 1 << 17;

/// Maximum depth of a tree of extents (`ext4_extent_header.eh_depth`).
pub(crate) const MAX_DEPTH: u16 = 5;
