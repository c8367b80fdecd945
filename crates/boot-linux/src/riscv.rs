//! The riscv `Image` (Linux `Documentation/arch/riscv/boot-image-header.rst`).

/// Fields of the header of a riscv `Image`, except addresses and byte order. `fmt-pe` attaches this to the images that it
/// parses.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub struct ImageMetadata {
    /// `version` of the header: major and minor. Headers of one major version are compatible.
    pub version: (u16, u16),
}

impl ImageMetadata {
    /// Metadata of a header of this version: major and minor.
    #[must_use]
    pub const fn new(version: (u16, u16)) -> Self {
        Self { version }
    }
}
