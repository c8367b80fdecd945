//! Multiboot headers for generated images.

use arbitrary::{Result, Unstructured};
use boot_core::{ImageBuilder, KernelImage};
use boot_multiboot::v2::InfoTag;
use boot_multiboot::{
    Console, Framebuffer, InfoRequest, MULTIBOOT, MULTIBOOT2, Multiboot2Metadata, MultibootMetadata,
    Relocatable, UnknownTag,
};

use crate::odds::{maybe, one_in, pick};

/// `image` with both Multiboot entry points and headers; `None` if [`ImageBuilder`] refuses the result.
///
/// # Errors
///
/// Those of [`Unstructured`].
///
/// # Panics
///
/// Never: every image has an entry point.
pub fn with_headers(u: &mut Unstructured<'_>, image: &KernelImage) -> Result<Option<KernelImage>> {
    let mut builder = ImageBuilder::new("multiboot", image.arch(), image.endian(), image.source_len())
        .placement(image.placement())
        .entry(MULTIBOOT, image.entries()[0].addr)
        .entry(MULTIBOOT2, image.entries()[image.entries().len() - 1].addr);
    if one_in(u, 2)? {
        builder = builder.extent(image.extent());
    }
    for segment in image.segments() {
        builder = builder.segment(segment.source, segment.range);
    }
    if one_in(u, 2)? {
        builder = builder.metadata(MultibootMetadata::new(
            0,
            pick(u, &[0, 3, 3, 1, 0x1_0003, 4, 0x100])?,
        ));
    }
    if one_in(u, 2)? {
        return Ok(builder.build().ok());
    }
    let mut header = Multiboot2Metadata::new(0, 0x100);
    for _ in 0..u.int_in_range(0..=3u8)? {
        let tag = InfoTag(pick(u, &[1, 2, 3, 4, 6, 6, 5, 8, 9, 14, 15, 21, 22])?);
        header.requests.push(InfoRequest::new(tag, one_in(u, 2)?));
    }
    header.console = maybe(u, 8, |u| Ok(Console::new(pick(u, &[1, 2, 3])?, one_in(u, 2)?)))?;
    header.framebuffer = maybe(u, 8, |u| Ok(Framebuffer::new(0, 0, 0, one_in(u, 2)?)))?;
    if one_in(u, 8)? {
        header.unknown.push(UnknownTag::new(99, one_in(u, 2)?, 0));
    }
    header.relocatable = maybe(u, 2, |u| {
        Ok(Relocatable::new(
            pick(u, &[0, 0x10_0000, 0x4000_0000])?,
            pick(u, &[u32::MAX, u32::MAX, 0x3fff_ffff])?,
            1 << u.int_in_range(0..=23u8)?,
            pick(u, &[0, 1, 2])?,
            one_in(u, 2)?,
        ))
    })?;
    Ok(builder.metadata(header).build().ok())
}
