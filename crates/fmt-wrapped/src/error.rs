//! Errors.

use boot_core::{FormatError, ReadError};
use decompress::{DecompressError, Problem};

/// A payload that cannot be unpacked.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum UnpackError {
    /// The source cannot be read.
    #[error("cannot read the payload")]
    Read(#[from] ReadError),
    /// The payload has no magic number of a known codec.
    #[error("the compression of the payload is unknown")]
    UnknownCodec,
    /// The payload cannot be decompressed.
    #[error(transparent)]
    Decompress(#[from] DecompressError),
    /// The wrapper declares a content that is longer than the limit.
    #[error("its declared length is {declared} bytes, more than the limit of {limit}")]
    TooLong {
        /// The length that the wrapper declares, in bytes.
        declared: u64,
        /// The limit in bytes.
        limit: usize,
    },
    /// The content has another length than the wrapper declares.
    #[error("its declared length is {declared} bytes, but it unpacks to {found}")]
    Length {
        /// The length that the wrapper declares, in bytes.
        declared: u64,
        /// The length of the content in bytes.
        found: usize,
    },
}

/// A file whose layers cannot be opened.
#[derive(Debug, thiserror::Error)]
#[error("layer {layer}{} cannot be opened", Name(*.wrapper))]
#[non_exhaustive]
pub struct OpenError {
    /// Number of the layer: 1 is the file.
    pub layer: usize,
    /// Name of its wrapper, where that is known.
    pub wrapper: Option<&'static str>,
    /// What is wrong.
    #[source]
    pub problem: OpenProblem,
}

impl OpenError {
    /// Whether the build has no decoder for the compression of the layer.
    #[must_use]
    pub fn is_not_built_in(&self) -> bool {
        matches!(
            &self.problem,
            OpenProblem::Unpack(UnpackError::Decompress(error)) if error.problem == Problem::NotBuiltIn
        )
    }
}

/// What is wrong with a layer.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OpenProblem {
    /// A wrapper recognised the layer, but its header is malformed or not supported.
    #[error(transparent)]
    Wrapper(FormatError),
    /// The content of the layer cannot be unpacked.
    #[error(transparent)]
    Unpack(UnpackError),
    /// There are more layers than the limit.
    #[error("there are more than {limit} layers")]
    TooDeep {
        /// The limit.
        limit: usize,
    },
}

/// The name of a wrapper in brackets.
struct Name(Option<&'static str>);

impl core::fmt::Display for Name {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        match self.0 {
            Some(name) => write!(f, " ({name})"),
            None => Ok(()),
        }
    }
}
