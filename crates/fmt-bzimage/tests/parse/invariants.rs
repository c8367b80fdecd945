//! Invariants of every accepted bzImage.

use boot_core::{EntryAbi, GuestRange, Placement};
use fmt_bzimage::BzImage;

/// Checks the invariants of `kernel`, which was parsed from `file`.
pub(crate) fn check(file: &[u8], kernel: &BzImage) {
    let len = file.len() as u64;
    let header = kernel.setup_header();
    let image = kernel.image();
    fmt_test::assert_valid_image(image, file.len());

    // The header has the bytes of the file, up to its own length.
    assert!((0x224..=0x281).contains(&kernel.setup_header_end()));
    let end = kernel.setup_header_end().min(0x26c) as usize;
    assert_eq!(header.bytes(), &file[0x1f1..end]);
    assert_eq!(
        (kernel.protocol_version().0 >> 8, header.header().loadflags & 1),
        (2, 1)
    );

    // The parts lie in the file, one after the other.
    let (setup, code) = (kernel.real_mode_code(), kernel.protected_mode_code());
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

    // The code is loaded, and zeros complete at most the last paragraph.
    assert_eq!(image.format(), "bzimage");
    let last = image.segments().last().expect("an image has a segment");
    assert_eq!(last.source, code);
    assert!(last.zero_part().len() < 16);
    assert!(last.range.start() >= 0x10_0000 || image.placement() != Placement::Fixed);
    for entry in image.entries() {
        assert!(
            image
                .segments()
                .iter()
                .any(|segment| segment.file_part().contains_addr(entry.addr)),
            "{entry:x?}"
        );
    }

    // The extent covers the memory that the kernel needs, at the address where it runs.
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
            let is_relocatable =
                header.is_relocatable() && header.kernel_alignment().is_some_and(u64::is_power_of_two);
            assert!(!is_relocatable && image.extent().contains(running));
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
