//! The arm64 `Image` (Linux `Documentation/arch/arm64/booting.rst`, "Call the kernel image").

/// Metadata of an arm64 `Image`, beside addresses and byte order. `fmt-pe` attaches it to the images that it parses.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub struct ImageMetadata {
    /// Page size that the kernel was built for, in bytes: 4, 16 or 64 KiB. A CPU without it cannot run the kernel.
    /// `None` where the header does not specify it.
    pub page_size: Option<u32>,
    /// Whether the kernel may be placed anywhere in RAM (flags, bit 3). Otherwise it cannot use the RAM below it and
    /// should be as near to the start of RAM as possible.
    pub is_placed_anywhere: bool,
}

impl ImageMetadata {
    /// Metadata from the `flags` field, decoded.
    #[must_use]
    pub const fn new(page_size: Option<u32>, is_placed_anywhere: bool) -> Self {
        Self {
            page_size,
            is_placed_anywhere,
        }
    }
}
