//! The error of a mapped file that became shorter.

/// A mapped file is shorter than its mapping, so the guest cannot access its last pages.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "the guest accessed a mapped file past its end: the file has {file_len:#x} bytes, and {len:#x} bytes from offset {offset:#x} on are mapped at \
     {address:#x}"
)]
#[non_exhaustive]
pub struct FileTruncated {
    /// Guest address of the mapping.
    pub address: u64,
    /// Length of the mapping in bytes.
    pub len: u64,
    /// Offset of the mapping in the file in bytes.
    pub offset: u64,
    /// Length of the file in bytes.
    pub file_len: u64,
}
