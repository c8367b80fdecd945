//! What every accepted bzImage keeps, whatever bytes it was made of.

use boot_core::{EntryAbi, GuestRange, Placement};
use fmt_bzimage::BzImage;

/// Checks every promise on `kernel`, which was read from `file`.
pub(crate) fn check(file: &[u8], kernel: &BzImage) {
    let len = file.len() as u64;
    let header = kernel.setup_header();
    let image = kernel.image();

    // The header is what the file says, up to its own length.
    assert!((0x224..=0x281).contains(&kernel.header_end()));
    let end = kernel.header_end().min(0x26c) as usize;
    assert_eq!(header.bytes(), &file[0x1f1..end]);
    assert_eq!((kernel.version().0 >> 8, header.header().loadflags & 1), (2, 1));

    // The parts lie in the file, one after the other.
    let (setup, code) = (kernel.setup(), kernel.code());
    assert_eq!((setup.offset(), setup.end()), (0, code.offset()));
    assert!(!code.is_empty() && code.end() <= len);
    for part in [
        kernel.payload().map(|payload| payload.source),
        kernel.kernel_info().map(|info| info.fixed),
        kernel.kernel_info().map(|info| info.variable),
    ]
    .into_iter()
    .flatten()
    {
        assert!(code.offset() <= part.offset() && part.end() <= code.end());
    }
    if let Some(version) = kernel.kernel_version() {
        assert!(!version.is_empty() && version.len() < 512);
        assert!(version.bytes().all(|byte| (0x20..0x7f).contains(&byte)));
    }

    // The segments are what the file holds, and at most one paragraph's rest is zeroed.
    assert_eq!((image.source_len(), image.format()), (len, "bzimage"));
    let last = image.segments().last().expect("an image has a segment");
    assert_eq!(last.source, code);
    assert!(last.zero_part().len() < 16);
    assert!(last.range.start() >= 0x10_0000 || image.placement() != Placement::Fixed);
    let mut end = 0;
    for segment in image.segments() {
        assert!(!segment.range.is_empty() && segment.range.start() >= end);
        assert!(image.extent().contains(segment.range));
        assert!(segment.source.end() <= len);
        end = segment.range.end();
    }
    for entry in image.entries() {
        let inside = |segment: &&boot_core::Segment| segment.file_part().contains_addr(entry.addr);
        assert!(
            image.segments().iter().any(|segment| inside(&segment)),
            "{entry:x?}"
        );
    }

    // The kernel gets the memory it asks for, where it will run.
    if image.entry(EntryAbi::LINUX_X86_16).is_some() {
        assert_eq!((image.segments().len(), image.entries().len()), (2, 1));
        assert_eq!(image.placement(), Placement::Fixed);
        return;
    }
    assert_eq!(image.segments().len(), 1);
    let need = header.init_size().unwrap_or(0).max(last.range.len());
    let preferred = header.pref_address().filter(|addr| *addr != 0);
    match image.placement() {
        Placement::Fixed => {
            let runs_at = preferred.unwrap_or(last.range.start());
            let running = GuestRange::new(runs_at, need).expect("checked by the parser");
            assert!(!header.is_relocatable() && image.extent().contains(running));
        }
        Placement::Relocatable(rule) => {
            assert!(header.is_relocatable() && image.extent().len() >= need);
            assert_eq!(image.extent().start(), last.range.start());
            assert_eq!(header.kernel_alignment(), Some(rule.align));
            assert!(rule.min >= 0x10_0000 && rule.min >= preferred.unwrap_or(0));
            assert!(rule.max <= 1 << 32 || header.xloadflags() & 3 == 3);
        }
    }
}
