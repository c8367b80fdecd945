//! Arbitrary bytes through the ELF parser: it must not panic, and what it accepts must keep its promises.

#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let Ok(Some(image)) = fmt_elf::parse(&data) else {
        return;
    };
    assert_eq!(image.source_len(), data.len() as u64);
    assert!(!image.segments().is_empty() && !image.entries().is_empty());
    let mut end = 0;
    for segment in image.segments() {
        assert!(!segment.range.is_empty() && segment.range.start() >= end);
        assert!(image.extent().contains(segment.range));
        assert!(segment.source.len() <= segment.range.len());
        assert!(segment.source.end() <= image.source_len());
        end = segment.range.end();
    }
    for entry in image.entries() {
        assert!(image.segments().iter().any(|segment| segment.range.contains_addr(entry.addr)));
    }
});
