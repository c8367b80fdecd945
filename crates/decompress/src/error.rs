//! Errors of decompression.

use alloc::string::String;

use boot_core::Codec;

/// Data that cannot be decompressed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{codec} data, at byte {position}: {problem}")]
#[non_exhaustive]
pub struct DecompressError {
    /// The codec.
    pub codec: Codec,
    /// Position in the input: where the decoder stopped, or the start of the part that is wrong.
    pub position: usize,
    /// What is wrong.
    pub problem: Problem,
}

/// What is wrong with compressed data.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Problem {
    /// The decoder of this codec is not part of the build.
    #[error("no decoder for it is built in")]
    NotBuiltIn,
    /// The input does not start with the magic number of the codec.
    #[error("the magic number is missing")]
    Magic,
    /// The data ends in the middle.
    #[error("the data ends too early")]
    Truncated,
    /// The data is malformed.
    #[error("malformed ({0})")]
    Malformed(String),
    /// The data uses an option of the format that is not supported.
    #[error("not supported ({0})")]
    Unsupported(String),
    /// A checksum does not match.
    #[error("the checksum is {found:#x}, but the data has {computed:#x}")]
    Checksum {
        /// The checksum in the input.
        found: u32,
        /// The checksum of the decompressed data.
        computed: u32,
    },
    /// The decompressed data is longer than the caller allows.
    #[error("the decompressed data is longer than the limit of {limit} bytes")]
    TooLong {
        /// The limit in bytes.
        limit: usize,
    },
    /// The decoder would need too much memory: a window or dictionary of more than [`MAX_WINDOW`](crate::MAX_WINDOW), or more than there is.
    #[error("it needs more memory than {limit} bytes, or than there is")]
    Memory {
        /// The limit in bytes.
        limit: u64,
    },
}

/// A problem, and its position in the input.
#[cfg(any(
    feature = "bzip2",
    feature = "gzip",
    feature = "lz4",
    feature = "lzo",
    feature = "lzma",
    feature = "xz",
    feature = "zstd"
))]
pub(crate) type At = (usize, Problem);
