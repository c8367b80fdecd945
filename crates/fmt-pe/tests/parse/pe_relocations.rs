//! Base relocations, block by block.

use boot_core::SizedSource;
use fmt_pe::pe::{PeFile, RelocationType};
use fmt_test::Fields;

use crate::file_writer::{File, PE_LEN, offset};
use crate::{pe_invariants, pe_summary};

/// Checks that the lines about base relocations are exactly those of `expected`.
#[track_caller]
fn check(file: File, expected: &str) {
    let file = file.build();
    pe_invariants::check(&file);
    let found = pe_summary(&file);
    let found: Vec<&str> = found
        .lines()
        .filter(|line| line.starts_with("relocation"))
        .collect();
    let expected: Vec<&str> = expected.lines().map(str::trim).collect();
    assert_eq!(found, expected);
}

/// A file with a table of `size` bytes, all of them zero at first.
fn table(size: u32) -> File {
    File::pe()
        .section(offset::RELOC, ".reloc", [0x200, 0x3000, 0x200, 0x600], 0)
        .bytes(offset::BLOCK, &[0; 0x200])
        .directory(5, 0x3000, size)
}

#[test]
fn blocks() {
    let two = table(28).block(0, 0x1000, &[0xa000, 0x3008]);
    check(
        two.block(12, 0x2000, &[0x1001, 0x0000, 0x2ffe, 0xaff8]),
        "relocation 0x1000 DIR64
         relocation 0x1008 HIGHLOW
         relocation 0x2001 HIGH
         relocation 0x2ffe LOW
         relocation 0x2ff8 DIR64",
    );
    // Blocks without entries, and one of padding.
    let empty = table(36)
        .block(0, 0x1000, &[])
        .block(8, 0, &[])
        .block(16, 0, &[0, 0]);
    check(empty.block(28, 0x3000, &[]), "");
    // After a block whose size is not a multiple of four, the next one begins at such a multiple. In x86 Linux it is the last.
    let odd = table(22).block(0, 0x1000, &[0xa000]);
    check(
        odd.block(12, 0x2000, &[0xa000]),
        "relocation 0x1000 DIR64
         relocation 0x2000 DIR64",
    );
    check(table(10).block(0, 0, &[0]), "");
    // The page may be any address.
    check(
        table(12).block(0, 0x1ffc, &[0xa004, 0x3fff]),
        "relocation 0x2000 DIR64\nrelocation 0x2ffb HIGHLOW",
    );
}

#[test]
fn a_long_block() {
    for len in [123, 124, 125, 126, 200] {
        let entries: Vec<u16> = (0..len).map(|n| 0xa000 + 8 * n).collect();
        let file = table(8 + 2 * u32::from(len)).block(0, 0x1000, &entries).build();
        let pe = PeFile::parse(SizedSource::new(&file).unwrap()).unwrap().unwrap();
        let found: Vec<u32> = pe.relocations().unwrap().map(|r| r.unwrap().rva).collect();
        let expected: Vec<u32> = (0..u32::from(len)).map(|n| 0x1000 + 8 * n).collect();
        assert_eq!(found, expected);
    }
}

/// The types of single machines are not supported, wherever the relocation is.
#[test]
fn unsupported_types() {
    for number in [4, 5, 6, 7, 8, 9, 11, 12, 13, 14, 15] {
        for page in [0x2000, 0x9000] {
            let (entry, rva) = (number << 12 | 4, page + 4);
            check(
                table(12).block(0, page, &[0, entry]),
                &format!(
                    "relocation unsupported: the base relocation of the field at RVA {rva:#x} has the unsupported type {number}"
                ),
            );
        }
    }
}

#[test]
fn absent_tables() {
    check(File::pe().directory(5, 0, 0), "");
    check(File::pe().directory(5, 0x3000, 0), "");
    for (start, size) in [
        (0x3000, 0x15),
        (0x2100, 0x101),
        (0x1f00, 8),
        (0x4000, 8),
        (0x100, 0x101),
        (0x3000, u32::MAX),
        (u32::MAX, 8),
    ] {
        check(
            File::pe().directory(5, start, size),
            &format!(
                "relocations malformed: the PE base relocation table ({size:#x} bytes from RVA {start:#x}) is not in the file"
            ),
        );
    }
}

#[test]
fn malformed_blocks() {
    for size in [0, 7, 9, 0x15, 0x16, u32::MAX] {
        check(
            table(0x14).u32(offset::BLOCK + 4, size),
            &format!(
                "relocation malformed: the block of base relocations at RVA 0x3000 has a size of {size:#x} bytes; it must be even, at least 8, and not exceed the table, which ends at 0x3014"
            ),
        );
    }
    // The bytes after the last block are too short for a block.
    for rest in 1..8 {
        check(
            table(12 + rest).block(0, 0x2000, &[0xa000, 0]),
            &format!(
                "relocation 0x2000 DIR64
                 relocation malformed: the block of base relocations at RVA 0x300c has a size of 0x0 bytes; it must be even, at least 8, and not exceed the table, which ends at {:#x}",
                0x300c + rest
            ),
        );
    }
}

#[test]
fn relocations_outside_the_image() {
    for (page, entry, rva, kind) in [
        (0x3000, 0xaff9, 0x3ff9_u64, "DIR64"),
        (0x3000, 0x3ffd, 0x3ffd, "HIGHLOW"),
        (0x3000, 0x1fff, 0x3fff, "HIGH"),
        (0x3000, 0x2fff, 0x3fff, "LOW"),
        (0x4000, 0x3000, 0x4000, "HIGHLOW"),
        (u32::MAX, 0xafff, 0x1_0000_0ffe, "DIR64"),
    ] {
        check(
            table(12).block(0, page, &[entry, 0]),
            &format!(
                "relocation malformed: the {kind} base relocation of the field at RVA {rva:#x} is outside the image of 0x4000 bytes"
            ),
        );
    }
    check(
        table(12).block(0, 0x3000, &[0xaff8, 0x1ffe]),
        "relocation 0x3ff8 DIR64\nrelocation 0x3ffe HIGH",
    );
}

#[test]
fn the_iterator_ends_after_an_error() {
    let file = table(24)
        .block(0, 0x9000, &[0xa000, 0xa000])
        .block(12, 0x2000, &[0xa000, 0])
        .build();
    let pe = PeFile::parse(SizedSource::new(&file).unwrap()).unwrap().unwrap();
    let mut relocations = pe.relocations().unwrap();
    assert!(matches!(relocations.next(), Some(Err(_))));
    assert!(relocations.next().is_none() && relocations.next().is_none());
}

/// Names and widths of all sixteen types (Microsoft "Base Relocation Types").
#[test]
fn names_and_widths_of_types() {
    let known = [
        (0, "ABSOLUTE", 0),
        (1, "HIGH", 2),
        (2, "LOW", 2),
        (3, "HIGHLOW", 4),
        (10, "DIR64", 8),
    ];
    for number in 0..16 {
        let expected = known.iter().find(|(known, ..)| *known == number);
        let found = RelocationType(number);
        assert_eq!(found.name(), expected.map(|(_, name, _)| *name));
        assert_eq!(found.width(), expected.map(|(_, _, width)| *width));
    }
}

/// A table of many blocks, each longer than what is read at a time.
#[test]
fn a_long_table() {
    let entries = [0x3000; 200];
    let file = table(0x1000).resize(PE_LEN + 0x1000).section(
        offset::RELOC,
        ".reloc",
        [0x1000, 0x3000, 0x1000, PE_LEN as u32],
        0,
    );
    let step = 8 + 2 * entries.len();
    let blocks = 0x1000 / step;
    let file = (0..blocks).fold(file, |file, n| {
        file.block(PE_LEN - offset::BLOCK + n * step, 0x1000, &entries)
    });
    let file = file.directory(5, 0x3000, (blocks * step) as u32).build();
    let pe = PeFile::parse(SizedSource::new(&file).unwrap()).unwrap().unwrap();
    let found: Result<Vec<_>, _> = pe.relocations().unwrap().collect();
    assert_eq!(found.unwrap().len(), blocks * entries.len());
}

/// Loads an image as firmware does: copies headers and sections, and relocates it to another address.
#[test]
fn an_application_is_loaded_and_relocated() {
    let file = File::pe()
        .u64(0x400, 0x1_4000_1000)
        .u64(0x408, 0xffff_ffff_ffff_ffff)
        .build();
    let source = SizedSource::new(&file).unwrap();
    let pe = PeFile::parse(source).unwrap().unwrap();
    let header = pe.optional_header();
    let mut image = vec![0; header.size_of_image as usize];
    let sections = pe.sections().iter().map(|s| (s.data, s.range.start()));
    for (data, rva) in sections.chain([(pe.headers(), 0)]) {
        let to = &mut image[rva as usize..][..data.len() as usize];
        source.read_exact_at(data.offset(), to).unwrap();
    }
    let base = 0x4000_0000_u64;
    let delta = base.wrapping_sub(header.image_base);
    for relocation in pe.relocations().unwrap().map(Result::unwrap) {
        let field = &mut image[relocation.rva as usize..];
        if relocation.relocation_type == RelocationType::DIR64 {
            let field = field.first_chunk_mut().unwrap();
            *field = u64::from_le_bytes(*field).wrapping_add(delta).to_le_bytes();
        } else {
            assert_eq!(relocation.relocation_type, RelocationType::HIGHLOW);
            let field = field.first_chunk_mut().unwrap();
            *field = u32::from_le_bytes(*field)
                .wrapping_add(delta as u32)
                .to_le_bytes();
        }
    }
    let word = |at: usize| u64::from_le_bytes(*image[at..].first_chunk().unwrap());
    assert_eq!(
        (&image[..0x200], &image[0x1000..0x1180]),
        (&file[..0x200], &file[0x200..0x380])
    );
    assert_eq!((word(0x2000), word(0x2008)), (0x4000_1000, delta - 1));
    assert_eq!(&image[0x2010..0x2200], &file[0x410..0x600]);
    // Zeros but for what was relocated; and the padding of sections in the file is not in memory.
    assert_eq!((word(0x2ff0), word(0x2ff8)), (delta & 0xffff_ffff, delta));
    assert!(
        image[0x1180..0x2000]
            .iter()
            .chain(&image[0x2200..0x2ff0])
            .all(|byte| *byte == 0)
    );
    assert_eq!(pe.entry_point(), Some(0x1000));
}
