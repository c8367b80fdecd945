//! Multiboot headers for generated images.

use boot_core::{ImageBuilder, KernelImage};
use boot_multiboot::v2::InfoTag;
use boot_multiboot::{
    Console, Framebuffer, InfoRequest, MULTIBOOT, MULTIBOOT2, Multiboot, Multiboot2, Relocatable, UnknownTag,
};

use crate::case::Dice;

/// The image with both Multiboot entry points and headers, unless the dice make one that [`ImageBuilder`] refuses.
pub(crate) fn add(dice: &mut Dice<'_>, image: &KernelImage) -> Option<KernelImage> {
    let mut builder = ImageBuilder::new("multiboot", image.arch(), image.endian(), image.source_len())
        .placement(image.placement())
        .entry(MULTIBOOT, image.entries().first()?.addr)
        .entry(MULTIBOOT2, image.entries().last()?.addr);
    if dice.one_in(2) {
        builder = builder.extent(image.extent());
    }
    for segment in image.segments() {
        builder = builder.segment(segment.source, segment.range);
    }
    if dice.one_in(2) {
        builder = builder.metadata(Multiboot::new(0, dice.pick(&[0, 3, 3, 1, 0x1_0003, 4, 0x100])));
    }
    if dice.one_in(2) {
        return builder.build().ok();
    }
    let mut header = Multiboot2::new(0, 0x100);
    for _ in 0..dice.byte() % 4 {
        let tag = InfoTag(dice.pick(&[1, 2, 3, 4, 6, 6, 5, 8, 9, 14, 15, 21, 22]));
        header.requests.push(InfoRequest::new(tag, dice.one_in(2)));
    }
    header.console = dice
        .one_in(8)
        .then(|| Console::new(dice.pick(&[1, 2, 3]), dice.one_in(2)));
    header.framebuffer = dice.one_in(8).then(|| Framebuffer::new(0, 0, 0, dice.one_in(2)));
    if dice.one_in(8) {
        header.unknown.push(UnknownTag::new(99, dice.one_in(2), 0));
    }
    header.relocatable = dice.one_in(2).then(|| {
        let (min, max) = (
            dice.pick(&[0, 0x10_0000, 0x4000_0000]),
            dice.pick(&[u32::MAX, u32::MAX, 0x3fff_ffff]),
        );
        Relocatable::new(
            min,
            max,
            1 << (dice.byte() % 24),
            dice.pick(&[0, 1, 2]),
            dice.one_in(2),
        )
    });
    builder.metadata(header).build().ok()
}
