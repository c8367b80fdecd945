//! PE headers, field by field.

use std::ops::Range;

use boot_core::SizedSource;
use fmt_pe::pe::{DirectoryEntry, Machine, PeFile, RvaRange, SectionFlags, SectionName, Subsystem};
use fmt_test::Fields;

use crate::file_writer::{File, PE_LEN, offset};
use crate::{check, check_pe, pe_summary};

#[test]
fn accepted() {
    let check = |file: File, expected: &str| check_pe(&file.build(), expected);
    check(
        File::pe(),
        "PE32+ EFI application for arm64
         stripped of relocations false
         image 0x4000 at 0x140000000
         headers 0x0..0x200
         entry 0x1000
         section .text 0x1000..0x1180 from 0x200..0x380
         section .data 0x2000..0x3000 from 0x400..0x600
         section .reloc 0x3000..0x3014 from 0x600..0x614
         base relocation table 0x3000 + 0x14
         relocation 0x2000 DIR64
         relocation 0x2008 DIR64
         relocation 0x2ff0 HIGHLOW
         relocation 0x2ff8 DIR64",
    );
    check(
        File::pe32(),
        "PE32 EFI application for x86
         image 0x4000 at 0x400000
         entry 0x1000
         section .reloc 0x3000..0x3014 from 0x600..0x614
         base relocation table 0x3000 + 0x14
         relocation 0x2000 DIR64",
    );
    for (machine, name) in [
        (0x8664, "x86_64"),
        (0x14c, "x86"),
        (0x1c2, "arm thumb"),
        (0x5032, "riscv32"),
        (0x5064, "riscv64"),
        (0x6232, "loongarch32"),
        (0x6264, "loongarch64"),
        (0x1234, "Machine 0x1234"),
    ] {
        let expected = format!("PE32+ EFI application for {name}");
        check(File::pe().u16(offset::MACHINE, machine), &expected);
    }
    check(
        File::pe().u16(offset::SUBSYSTEM, 99),
        "PE32+ Subsystem 0x63 for arm64",
    );
    check(
        File::pe().u16(offset::CHARACTERISTICS, 0x43),
        "stripped of relocations true",
    );
}

#[test]
fn sections() {
    let check = |file: File, expected: &str| check_pe(&file.build(), expected);
    let data = |name: &str, numbers| File::pe().section(offset::DATA, name, numbers, 0);
    // Only zeros.
    check(
        data(".bss", [0x1000, 0x2000, 0, 0]),
        "section .bss 0x2000..0x3000 from 0x0..0x0",
    );
    check(
        data(".bss", [0x1000, 0x2000, 0, u32::MAX]),
        "section .bss 0x2000..0x3000 from 0x0..0x0",
    );
    // Without an offset there is no content, whatever the length.
    check(
        data(".bss", [0x1000, 0x2000, 0x200, 0]),
        "section .bss 0x2000..0x3000 from 0x0..0x0",
    );
    check(
        data(".bss", [0, 0x2000, 0xfff, 0]),
        "section .bss 0x2000..0x2fff from 0x0..0x0",
    );
    // From the end of the headers on.
    check(
        data(".data", [0x1000, 0x2000, 0x200, 0x200]),
        "section .data 0x2000..0x3000 from 0x200..0x400",
    );
    check(
        data(".data", [0, 0x2000, 0x200, 0x400]),
        "section .data 0x2000..0x2200 from 0x400..0x600",
    );
    // Sections without bytes may be anywhere.
    check(
        data("empty", [0, 0x1000, 0, 0]),
        "section empty 0x1000..0x1000 from 0x0..0x0",
    );
    check(
        data("empty", [0, 0, 0, 0]),
        "section empty 0x0..0x0 from 0x0..0x0",
    );
    // In any order, adjacent, up to the last byte.
    check(
        data("full", [0x2800, 0x200, 0x200, 0x400]).section(
            offset::TEXT,
            "last",
            [0x600, 0x3a00, 0x600, 0x200],
            0,
        ),
        "section full 0x200..0x2a00 from 0x400..0x600
         section last 0x3a00..0x4000 from 0x200..0x800",
    );
    // Names are any eight bytes.
    check(
        data("12345678", [1, 0x2000, 0, 0]),
        "section 12345678 0x2000..0x2001 from 0x0..0x0",
    );
    check(
        data("a\u{1b}\0b\n", [1, 0x2000, 0, 0]),
        "section a??b? 0x2000..0x2001 from 0x0..0x0",
    );
    assert_eq!(SectionName(*b"\0\0\0\0\0\0\0\0").as_bytes(), b"");
    assert_eq!(SectionName(*b"ab\0c\0\0\0\0").as_bytes(), b"ab\0c");

    let file = File::pe().build();
    let pe = PeFile::parse(SizedSource::new(&file).unwrap()).unwrap().unwrap();
    let text = pe.section(b".text").unwrap().flags;
    assert_eq!(
        text,
        SectionFlags::CNT_CODE | SectionFlags::MEM_EXECUTE | SectionFlags::MEM_READ
    );
    assert_eq!(pe.section(b".data").unwrap().range.start(), 0x2000);
    assert!(pe.section(b".dat").is_none() && pe.section(b"").is_none());
}

#[test]
fn headers_and_directories() {
    let check = |file: File, expected: &str| check_pe(&file.build(), expected);
    let none = |file: File, unexpected: &str| {
        let found = pe_summary(&file.build());
        assert!(
            found.starts_with("PE32+") && !found.contains(unexpected),
            "{found}"
        );
    };
    none(File::pe().u32(offset::ENTRY, 0), "entry");
    none(File::pe().directory(5, 0x3000, 0), "base relocation");
    none(File::pe().u32(offset::DIRECTORY_COUNT, 5), "base relocation");
    check(
        File::pe().directory(4, 0x700, 0x50),
        "certificate table 0x700 + 0x50",
    );
    check(File::pe().directory(15, 1, 2), "DirectoryEntry 0xf 0x1 + 0x2");
    // Directories beyond the sixteenth are ignored, but must fit the optional header.
    let more = File::pe()
        .u16(offset::SECTIONS, 0)
        .u16(offset::SIZE_OF_OPTIONAL_HEADER, 248);
    check(
        more.u32(offset::DIRECTORY_COUNT, 17),
        "base relocation table 0x3000 + 0x14",
    );
    // The section table follows SizeOfOptionalHeader bytes after the start of the optional header.
    let shifted = File::pe()
        .u16(offset::SIZE_OF_OPTIONAL_HEADER, 280)
        .u16(offset::SECTIONS, 2);
    check(
        shifted,
        "section .data 0x2000..0x3000 from 0x400..0x600
         section .reloc 0x3000..0x3014 from 0x600..0x614",
    );
    check(File::pe().u32(offset::ENTRY, 0x3fff), "entry 0x3fff");
    check(
        File::pe().u32(offset::FILE_ALIGNMENT, 0x1000),
        "headers 0x0..0x200",
    );
    check(
        File::pe()
            .u32(offset::FILE_ALIGNMENT, 1)
            .u32(offset::SECTION_ALIGNMENT, 1),
        "headers 0x0..0x200",
    );
    check(
        File::pe()
            .u16(offset::SECTIONS, 0)
            .u32(offset::SIZE_OF_HEADERS, 0x800),
        "headers 0x0..0x800",
    );
    // An image of headers only.
    check(
        File::pe()
            .u16(offset::SECTIONS, 0)
            .u32(offset::ENTRY, 0x1ff)
            .u32(offset::SIZE_OF_IMAGE, 0x200),
        "image 0x200 at 0x140000000",
    );
}

/// An image without base relocations may be relocated, unless they were stripped.
#[test]
fn an_image_may_be_relocated_unless_relocations_were_stripped() {
    let none = || File::pe().directory(5, 0, 0);
    for (file, is_stripped, relocations) in [
        (File::pe(), false, 4),
        // A kernel with an EFI stub: position-independent.
        (none().u16(offset::CHARACTERISTICS, 0x206), false, 0),
        (none().u16(offset::CHARACTERISTICS, 0x207), true, 0),
        (none().u16(offset::CHARACTERISTICS, 0x0001), true, 0),
        (none().u16(offset::CHARACTERISTICS, 0xfffe), false, 0),
        // The flag decides, not the table.
        (File::pe().u16(offset::CHARACTERISTICS, 0x207), true, 4),
        (File::pe32().u16(offset::CHARACTERISTICS, 0x103), true, 4),
    ] {
        let file = file.build();
        let pe = PeFile::parse(SizedSource::new(&file).unwrap()).unwrap().unwrap();
        let found = (pe.is_relocs_stripped(), pe.relocations().unwrap().count());
        assert_eq!(found, (is_stripped, relocations));
    }
}

/// The PE signature may be anywhere, even in the DOS header, whose other fields have no meaning.
#[test]
fn the_pe_signature_may_be_anywhere() {
    let headers = File::pe().u32(offset::FILE_ALIGNMENT, 4).build()[0x80..0x200].to_vec();
    // At 0x10 and 0x04, `e_lfanew` is also BaseOfCode or SectionAlignment.
    for start in [0x80, 0x48, 0x41, 0x40, 0x10, 0x04] {
        let file = File::pe().bytes(start, &headers).u32(0x3c, start as u32).build();
        assert!(crate::pe_invariants::check(&file), "{start:#x}");
    }
    // A file of the DOS header alone.
    let file = File::pe().bytes(0x10, b"PE\0\0").u32(0x3c, 0x10).build();
    check_pe(
        &file[..64],
        "malformed: the magic number of the PE optional header at 0x28 is 0x0000, expected 0x10b or 0x20b",
    );
    check_pe(&file[..63], "something else");
}

/// Truncates a file of both kinds after every byte.
#[test]
fn a_file_may_end_anywhere() {
    for (file, fixed, table) in [(File::pe(), 0x108, 0x188), (File::pe32(), 0xf8, 0x178)] {
        let file = file.build();
        let check_up_to = |lens: Range<usize>, end: usize| {
            for len in lens {
                let sentence = format!(
                    "malformed: the PE headers end at {end:#x}, but the file has {len:#x} bytes; is the file truncated?"
                );
                check_pe(&file[..len], &sentence);
            }
        };
        for len in 0..0x84 {
            check_pe(&file[..len], "something else");
        }
        check_up_to(0x84..0x98, 0x98);
        check_up_to(0x98..0x9a, 0x9a);
        check_up_to(0x9a..fixed, fixed);
        for end in (fixed + 8..=table).step_by(8) {
            check_up_to(end - 8..end, end);
        }
        check_up_to(table..table + 120, table + 120);
        check_up_to(table + 120..0x200, 0x200);
        for len in 0x200..PE_LEN {
            let is_cut = pe_summary(&file[..len]).starts_with("malformed: the content of the PE section");
            assert_eq!(is_cut, len < 0x614, "{len:#x}");
        }
    }
}

#[test]
fn malformed() {
    let check = |file: File, expected: &str| check_pe(&file.build(), &format!("malformed: {expected}"));
    let new = File::pe;
    for magic in [0, 0x10c, 0x30b] {
        check(
            new().u16(offset::MAGIC, magic),
            &format!(
                "the magic number of the PE optional header at 0x98 is {magic:#06x}, expected 0x10b or 0x20b"
            ),
        );
    }
    for (size, directories, need) in [
        (239, 16, 240_u64),
        (240, 17, 248),
        (111, 0, 112),
        (u16::MAX, u32::MAX, 112 + 8 * 0xffff_ffff),
    ] {
        check(
            new()
                .u16(offset::SIZE_OF_OPTIONAL_HEADER, size)
                .u32(offset::DIRECTORY_COUNT, directories),
            &format!(
                "SizeOfOptionalHeader of the PE header is {size:#x}, but the optional header at 0x98 with its {directories} data directories has {need:#x} bytes"
            ),
        );
    }
    check(
        new().u16(offset::SECTIONS, 512),
        "the PE headers end at 0x5188, but the file has 0x800 bytes; is the file truncated?",
    );
    check(
        new().u32(offset::SIZE_OF_HEADERS, 0x801),
        "the PE headers end at 0x801, but the file has 0x800 bytes; is the file truncated?",
    );
    for (section, file) in [
        (0, 0),
        (0x1000, 0),
        (0, 0x200),
        (0x1800, 0x200),
        (0x1000, 0x201),
        (0x100, 0x200),
    ] {
        check(
            new()
                .u32(offset::SECTION_ALIGNMENT, section)
                .u32(offset::FILE_ALIGNMENT, file),
            &format!(
                "SectionAlignment {section:#x} and FileAlignment {file:#x} of the PE header must be powers of two, the first not below the second"
            ),
        );
    }
    for (headers, image) in [(0x1ff, 0x4000), (0, 0x4000), (0x200, 0x1ff), (0x200, 0)] {
        check(
            new()
                .u32(offset::SIZE_OF_HEADERS, headers)
                .u32(offset::SIZE_OF_IMAGE, image),
            &format!(
                "SizeOfHeaders of the PE header is {headers:#x}, expected at least 0x200, the end of the headers, and at most {image:#x}, the SizeOfImage"
            ),
        );
    }
    for entry in [0x4000, u32::MAX] {
        check(
            new().u32(offset::ENTRY, entry),
            &format!("the PE entry point is at RVA {entry:#x}, outside the image of 0x4000 bytes"),
        );
    }
}

#[test]
fn malformed_sections() {
    let check = |name: &str, numbers: [u32; 4], expected: &str| {
        let file = File::pe().section(offset::DATA, name, numbers, 0);
        let expected = expected.replace("NAME", &format!("the PE section \"{name}\""));
        check_pe(&file.build(), &format!("malformed: {expected}"));
    };
    for (size, start, raw, need) in [
        (0x1001, 0x3000, 0, 0x1001_u32),
        (1, 0x4000, 0, 1),
        (u32::MAX, 0x2000, 0, u32::MAX),
        (0x200, u32::MAX, 0, 0x200),
        (0, 0x3f00, 0x200, 0x200),
    ] {
        check(
            ".data",
            [size, start, raw, 0x400],
            &format!("NAME takes {need:#x} bytes from RVA {start:#x}, outside the image of 0x4000 bytes"),
        );
    }
    for (size, raw, offset, data) in [
        (0x1000, 0x201, 0x600, "0x600..0x801"),
        (0x1000, 1, 0x800, "0x800..0x801"),
        (0x1000, u32::MAX, 0x400, "0x400..0x1400"),
        (0x1000, 0x200, u32::MAX, "0xffffffff..0x1000001ff"),
    ] {
        check(
            "x",
            [size, 0x2000, raw, offset],
            &format!(
                "the content of NAME is at bytes {data}, but the file has 0x800 bytes; is the file truncated?"
            ),
        );
    }
    for offset in [1, 0x80, 0x1ff] {
        for raw in [1, 0x200, u32::MAX] {
            check(
                ".bss",
                [0x1000, 0x2000, raw, offset],
                &format!(
                    "the content of NAME is at byte {offset:#x}, inside the headers, which end at 0x200"
                ),
            );
        }
    }
    check(
        ".data",
        [1, 0x117f, 0, 0],
        "NAME at RVAs 0x117f..0x1180 overlaps another section or the headers at 0x1000..0x1180",
    );
    check(
        ".data",
        [0x1000, 0x1ff, 0, 0],
        "NAME at RVAs 0x1ff..0x11ff overlaps another section or the headers at 0x0..0x200",
    );
    // Of two that overlap, the error names the one with the higher address.
    let file = File::pe().section(offset::DATA, "early", [0x801, 0x800, 0, 0], 0);
    check_pe(
        &file.build(),
        "malformed: the PE section \".text\" at RVAs 0x1000..0x1180 overlaps another section or the headers at 0x800..0x1001",
    );
}

#[test]
fn unsupported() {
    check_pe(
        &File::pe().u16(offset::MAGIC, 0x107).build(),
        "unsupported: the file is a PE ROM image; only PE32 and PE32+ are supported",
    );
    for sections in [513, u16::MAX] {
        check_pe(
            &File::pe().u16(offset::SECTIONS, sections).build(),
            &format!("unsupported: the file has {sections} PE sections; at most 512 are supported"),
        );
    }
    check_pe(&File::pe().u16(0, 0x4d5b).build(), "something else");
}

/// PE files that are not kernels.
#[test]
fn programs() {
    let check = |file: File, expected: &str| check(&file.build(), expected);
    check(
        File::pe(),
        "unsupported pe: it is an EFI application for arm64, which only UEFI firmware can run",
    );
    check(
        File::pe32().u16(offset::SUBSYSTEM, 12),
        "unsupported pe: it is an EFI runtime driver for x86, which only UEFI firmware can run",
    );
    check(
        File::pe().section(offset::DATA, ".linux", [0x1000, 0x2000, 0x200, 0x400], 0),
        "unsupported pe: it is a unified kernel image for arm64, an EFI application, which only UEFI firmware can run; extract the kernel with \"objcopy -O binary --only-section=.linux FILE OUTPUT\" and boot OUTPUT",
    );
    check(
        File::pe().u16(offset::SUBSYSTEM, 3).u16(offset::MACHINE, 0x8664),
        "unsupported pe: the file is a program (Windows console program) for x86_64, not a kernel",
    );
    check(
        File::pe().u32(offset::ENTRY, 0x4000),
        "malformed pe: the PE entry point is at RVA 0x4000, outside the image of 0x4000 bytes",
    );
}

#[test]
fn file_ranges_of_addresses() {
    let file = File::pe().build();
    let pe = PeFile::parse(SizedSource::new(&file).unwrap()).unwrap().unwrap();
    let check = |start: u32, len: u32, expected: Option<(u64, u64)>| {
        let found = pe.data_at(RvaRange::new(start, len).unwrap());
        let found = found.map(|data| (data.offset(), data.end()));
        assert_eq!(found, expected, "{start:#x} + {len:#x}");
    };
    check(0, 0x200, Some((0, 0x200)));
    check(0, 0x201, None);
    check(0x1000, 0x180, Some((0x200, 0x380)));
    check(0x1001, 0x17f, Some((0x201, 0x380)));
    // File padding is not in memory, and zeros are not in the file.
    check(0x1000, 0x181, None);
    check(0x2000, 0x200, Some((0x400, 0x600)));
    check(0x2000, 0x201, None);
    check(0x2fff, 1, None);
    check(0x1fff, 2, None);
    check(0x3fff, 1, None);
    check(u32::MAX, 0, None);
}

/// Contribution of each part of the file. The invariants compare every checksum with one computed word by word.
#[test]
fn checksums() {
    let sum = |file: File| {
        let file = file.build();
        let pe = PeFile::parse(SizedSource::new(&file).unwrap()).unwrap().unwrap();
        (pe.check_sum_offset(), pe.compute_check_sum().unwrap())
    };
    let (offset, plain) = sum(File::pe());
    assert_eq!(offset, offset::CHECK_SUM as u64);
    // The field does not count; the length does.
    assert_eq!(sum(File::pe().u32(offset::CHECK_SUM, u32::MAX)).1, plain);
    assert_eq!(sum(File::pe().resize(PE_LEN + 1)).1, plain + 1);
    assert_eq!(sum(File::pe().resize(PE_LEN + 0x10_0000)).1, plain + 0x10_0000);
    // Another word adds to the sum of words, and a last byte counts as a word with a zero.
    let more = |bytes: &[u8]| sum(File::pe().resize(PE_LEN + bytes.len()).bytes(PE_LEN, bytes)).1;
    let carried = |sum: u32| (sum & 0xffff) + (sum >> 16);
    let words = plain - PE_LEN as u32;
    assert_eq!(more(&[0x34, 0x12]), carried(words + 0x1234) + PE_LEN as u32 + 2);
    assert_eq!(more(&[0xff]), carried(words + 0xff) + PE_LEN as u32 + 1);
    assert_eq!(more(&[0xff, 0xff]), words + PE_LEN as u32 + 2);
    // The file is read in chunks, and a chunk does not count twice. A word of ones adds only its carry.
    for len in [0x17ff, 0x1800, 0x1801, 0x2801] {
        let expected = match len % 2 {
            0 => words,
            _ => carried(words + 0xff),
        };
        assert_eq!(more(&vec![0xff; len]), expected + (PE_LEN + len) as u32);
    }
}

#[test]
fn constants_have_names() {
    assert_eq!(
        format!("{} {:?}", Machine::ARM64, Machine::ARM64),
        "arm64 Machine(0xaa64: arm64)"
    );
    assert_eq!(format!("{} {0:?}", Machine(1)), "Machine 0x1 Machine(0x1)");
    assert_eq!(DirectoryEntry::CERTIFICATE.to_string(), "certificate table");
    let efi: Vec<u16> = (0..100).filter(|n| Subsystem(*n).is_efi()).collect();
    assert_eq!(efi, [10, 11, 12, 13]);
}
