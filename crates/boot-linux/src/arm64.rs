//! The arm64 `Image` (Linux `Documentation/arch/arm64/booting.rst`, "Call the kernel image").

/// Fields of the header of an arm64 `Image`, except addresses and byte order. `fmt-pe` attaches this to the images that it
/// parses.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub struct ImageMetadata {
    /// Page size of the kernel in bytes, 4, 16 or 64 KiB, which the CPU must support (`flags`, bits 1 and 2). `None` if the
    /// header does not specify it.
    pub page_size: Option<u32>,
    /// True if the kernel may be placed anywhere in RAM (`flags`, bit 3). If false, it should be placed as close to the
    /// start of RAM as possible, because it cannot use the RAM below its load address.
    pub is_placed_anywhere: bool,
}

impl ImageMetadata {
    /// Metadata with this page size in bytes and this placement flag.
    #[must_use]
    pub const fn new(page_size: Option<u32>, is_placed_anywhere: bool) -> Self {
        Self {
            page_size,
            is_placed_anywhere,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::ImageMetadata;

    #[test]
    fn metadata_has_what_it_was_made_of() {
        let metadata = ImageMetadata::new(Some(0x4000), true);
        assert_eq!(
            (metadata.page_size, metadata.is_placed_anywhere),
            (Some(0x4000), true)
        );
        assert_eq!(crate::riscv::ImageMetadata::new((0, 2)).version, (0, 2));
    }
}
