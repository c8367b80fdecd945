//! Arbitrary bytes through the ELF parser: it must not panic, and what it accepts must keep its promises.

#![no_main]

use boot_core::{GuestRange, KernelImage, SizedSource};
use fmt_elf::{ElfFile, raw};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let Ok(Some(image)) = fmt_elf::parse(&data) else {
        return;
    };
    assert_eq!(image.source_len(), data.len() as u64);
    assert!(!image.entries().is_empty());
    for entry in image.entries() {
        let mut segments = image.segments().iter();
        assert!(segments.any(|segment| segment.range.contains_addr(entry.addr)));
    }
    let mut end = 0;
    for segment in image.segments() {
        assert!(!segment.range.is_empty() && segment.range.start() >= end);
        assert!(image.extent().contains(segment.range));
        assert!(segment.source.len() <= segment.range.len());
        assert!(segment.source.end() <= image.source_len());
        end = segment.range.end();
    }
    segments_are_those_of_the_headers(&image, data);
});

fn segments_are_those_of_the_headers(image: &KernelImage, data: &[u8]) {
    let file = ElfFile::open(SizedSource::new(&data).unwrap()).unwrap().unwrap();
    let mut wanted: Vec<(GuestRange, u64)> = file
        .program_headers()
        .map(Result::unwrap)
        .filter(|header| header.p_type == raw::PT_LOAD && header.p_memsz > 0)
        .map(|header| {
            let range = GuestRange::new(header.p_paddr, header.p_memsz).unwrap();
            (range, header.p_filesz)
        })
        .collect();
    wanted.sort_unstable();
    let found: Vec<(GuestRange, u64)> = image
        .segments()
        .iter()
        .map(|segment| (segment.range, segment.source.len()))
        .collect();
    assert_eq!(found, wanted);
}
