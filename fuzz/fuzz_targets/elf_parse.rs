//! Parses arbitrary bytes as an ELF file: no panic, every accepted image is valid and has the segments of the headers, and errors have texts.

#![no_main]

use boot_core::{GuestRange, KernelImage, SizedSource};
use fmt_elf::{ElfFile, raw};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    match fmt_elf::parse(&data) {
        Ok(None) => {}
        Ok(Some(image)) => {
            fmt_test::assert_valid_image(&image, data.len());
            check_segments(&image, data);
        }
        Err(error) => fmt_test::assert_has_text(&error),
    }
});

fn check_segments(image: &KernelImage, data: &[u8]) {
    let file = ElfFile::parse(SizedSource::new(&data).unwrap()).unwrap().unwrap();
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
