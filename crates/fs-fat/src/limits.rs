//! Limits of what is read.

/// Maximum number of fragments of a file: 8 MiB of memory, and a file of 128 MiB with clusters of 512 bytes that are all apart.
pub const MAX_PIECES: usize = 1 << 18;

/// Maximum length of a directory in bytes: 65,536 entries.
pub const MAX_DIRECTORY_LEN: u32 = 65536 * 32;
