//! Report of a kernel inside a file.

use std::fmt;

use boot_core::{ByteCount, Codec, KernelImage};
use fmt_wrapped::Layer;
use serde::{Deserialize, Serialize};

use super::Hex;

/// A layer of a file: what a compressed file, bzImage, zboot, uImage or FIT file has inside.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct LayerReport {
    /// Name of the wrapper, such as `bzimage` or `compressed`.
    pub wrapper: String,
    /// Name of the compression format, such as `zstd`.
    pub codec: Option<String>,
    /// Offset of the compressed data in the layer before, or in the file.
    pub offset: Hex,
    /// Compressed length in bytes.
    pub len: u64,
    /// Length of the content in bytes.
    pub content_len: u64,
    /// Name of the format of the content, if it is a kernel image.
    pub format: Option<String>,
    /// Name of its architecture.
    pub arch: Option<String>,
}

impl LayerReport {
    /// The report on `layer`, whose content is `image`.
    #[must_use]
    pub fn new(layer: &Layer, image: Option<&KernelImage>) -> Self {
        Self {
            wrapper: layer.wrapper.to_owned(),
            codec: layer.payload.codec.map(Codec::name).map(ToOwned::to_owned),
            offset: Hex(layer.payload.source.offset()),
            len: layer.payload.source.len(),
            content_len: u64::try_from(layer.content.len()).unwrap_or(u64::MAX),
            format: image.map(|image| image.format().to_owned()),
            arch: image.map(|image| image.arch().name().to_owned()),
        }
    }
}

/// One line, without the format.
impl fmt::Display for LayerReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let codec = self.codec.as_deref().unwrap_or("unknown");
        write!(
            f,
            "{}, from {} ({codec}, {} at {})",
            ByteCount(self.content_len),
            self.wrapper,
            ByteCount(self.len),
            self.offset
        )
    }
}
