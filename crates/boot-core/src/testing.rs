//! An image for tests of what uses images.

use crate::{Arch, Endian, EntryAbi, GuestRange, ImageBuilder, KernelImage, SourceRange};

/// A kernel of four bytes that is loaded to the start of `range` and entered there.
pub(crate) fn image(range: GuestRange, entry: EntryAbi) -> KernelImage {
    ImageBuilder::new("test", Arch::X86_64, Endian::Little, 4)
        .segment(SourceRange::whole(4), range)
        .entry(entry, range.start())
        .build()
        .unwrap()
}
