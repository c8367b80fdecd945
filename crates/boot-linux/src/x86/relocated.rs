//! Mark of a vmlinux that its loader has moved.

/// Metadata of a vmlinux whose virtual addresses its loader has changed (KASLR). The zero page of its boot has
/// [`KASLR_FLAG`](super::loadflags::KASLR_FLAG), which the decompressor of a bzImage sets otherwise.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Relocated {
    offset: u64,
}

impl Relocated {
    /// The kernel runs `offset` bytes above the virtual addresses it is linked at.
    #[must_use]
    pub const fn new(offset: u64) -> Self {
        Self { offset }
    }

    /// The distance in bytes.
    #[must_use]
    pub const fn offset(self) -> u64 {
        self.offset
    }
}
