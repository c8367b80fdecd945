//! Properties that hold for any bytes.

use boot_core::{DetectError, FormatErrorKind, SizedSource, detect};
use fmt_pe::pe::{PeError, PeFile};
use fmt_test::{Change, Fields, apply, change};
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::select;

use crate::file_writer::{File, image_samples, offset, pe_samples};
use crate::{image_invariants, pe_invariants, pe_load_invariants};

/// Parses `file` with every parser and checks the invariants of accepted files. True if one parser accepted it.
fn parse(file: &[u8]) -> bool {
    match detect(&fmt_pe::FORMATS, &file) {
        Err(DetectError::Format(error)) => assert_ne!(error.kind, FormatErrorKind::Read, "{error:?}"),
        Err(DetectError::Read(error)) => panic!("a slice can be read: {error}"),
        _ => {}
    }
    if let Err(PeError::Read(error)) = PeFile::parse(SizedSource::new(&file).unwrap()) {
        panic!("a slice can be read: {error}");
    }
    let is_image = image_invariants::check_all(file);
    let is_pe = pe_invariants::check(file);
    pe_load_invariants::check(file, 0x1_4000_0000);
    pe_load_invariants::check(file, 0x20_0000);
    is_image || is_pe
}

fn bytes(words: &[u64]) -> Vec<u8> {
    words.iter().flat_map(|word| word.to_le_bytes()).collect()
}

fn changes() -> impl Strategy<Value = Vec<Change>> {
    let fields = [
        0x08,
        0x0c,
        0x10,
        0x14,
        0x18,
        0x20,
        0x30,
        0x38,
        0x3c,
        offset::MACHINE,
        offset::SECTIONS,
        offset::SIZE_OF_OPTIONAL_HEADER,
        offset::MAGIC,
        offset::ENTRY,
        offset::SECTION_ALIGNMENT,
        offset::FILE_ALIGNMENT,
        offset::SIZE_OF_IMAGE,
        offset::SIZE_OF_HEADERS,
        offset::SUBSYSTEM,
        offset::DIRECTORY_COUNT,
        0x130,
        0x134,
        offset::TEXT + 8,
        offset::TEXT + 12,
        offset::TEXT + 16,
        offset::TEXT + 20,
        offset::DATA + 8,
        offset::DATA + 12,
        offset::DATA + 16,
        offset::DATA + 20,
        offset::RELOC + 8,
        offset::RELOC + 12,
        offset::RELOC + 16,
        offset::RELOC + 20,
        offset::BLOCK,
        offset::BLOCK + 4,
        offset::BLOCK + 8,
        offset::BLOCK + 12,
    ];
    let values = [
        0,
        3,
        0x80,
        0x200,
        0x400,
        0x800,
        0x1000,
        0x3000,
        0x4000,
        0x20_0000,
        1 << 31,
    ];
    vec(change(&fields, &values), 1..6)
}

fn samples() -> Vec<Vec<u8>> {
    let all = image_samples().into_iter().chain(pe_samples());
    all.map(|(_, file)| file).collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(10_000))]

    #[test]
    fn arbitrary_bytes_never_panic(words in vec(any::<u64>(), 0..0x50), cut in 0..8_usize) {
        let file = bytes(&words);
        parse(&file[..file.len().saturating_sub(cut)]);
    }

    /// Arbitrary bytes, except for magic numbers and fields where nearly every value is refused.
    #[test]
    fn arbitrary_images_never_panic_and_give_valid_files(
        words in vec(any::<u64>(), 8..0x40),
        is_riscv in any::<bool>(),
        (version, offset_shift, size_shift) in (0..4_u32, 0..64_u32, 0..64_u32),
    ) {
        let header = bytes(&words);
        let len = header.len();
        let new = if is_riscv { File::riscv() } else { File::arm64() };
        let magics = new.clone().build();
        let align = if is_riscv { 0x1f_ffff } else { 3 };
        let file = new
            .resize(len)
            .bytes(0, &header)
            .u64(0x08, (words[1] >> offset_shift) & !align)
            .u64(0x10, words[2] >> size_shift)
            .u32(0x20, version)
            .bytes(0x30, &magics[0x30..0x3c])
            .build();
        parse(&file);
    }

    /// Sections and base relocations of arbitrary sizes and places, most of them inside the image.
    #[test]
    fn arbitrary_pe_tables_never_panic_and_give_valid_files(
        numbers in vec((0..0x1100_u32, 0..0x4400_u32, 0..0x300_u32, 0..0x900_u32), 3),
        machine in select(vec![0x8664_u16, 0x14c, 0xaa64, 0x5064, 0x6264, 0x1c4, 0x166]),
        table in (0..0x4000_u32, 0..0x200_u32),
        entries in vec(any::<u16>(), 0..100),
        (pages, size) in ((0..0x4000_u32, 0..0x4000_u32), 0..0x100_u32),
    ) {
        let headers = [offset::TEXT, offset::DATA, offset::RELOC].into_iter().zip(numbers);
        let file = File::pe()
            .u16(offset::MACHINE, machine)
            .directory(5, table.0, table.1)
            .block(0x100, pages.1, &[])
            .block(0, pages.0, &entries)
            .u32(offset::BLOCK + 4, size);
        let file = headers.fold(file.clone(), |file, (header, (size, start, raw, pointer))| {
            file.section(header, "x", [size, start, raw, pointer], 0)
        });
        parse(&file.build());
        // The same table inside a section.
        let file = File::pe()
            .u16(offset::MACHINE, machine)
            .section(offset::RELOC, ".reloc", [0x200, 0x3000, 0x200, 0x600], 0)
            .directory(5, 0x3000, table.1)
            .block(0x100, pages.1, &[])
            .block(0, pages.0, &entries)
            .u32(offset::BLOCK + 4, size);
        prop_assert!(parse(&file.build()));
    }

    #[test]
    fn changed_files_never_panic_and_give_valid_files(
        mut file in select(samples()),
        changes in changes(),
    ) {
        apply(&mut file, &(0..0x200), &changes);
        parse(&file);
    }
}
