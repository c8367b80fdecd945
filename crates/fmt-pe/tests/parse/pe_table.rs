//! What the parser says about PE headers, field by field.

use std::ops::Range;

use boot_core::SizedSource;
use fmt_pe::pe::{Directory, Machine, PeFile, RvaRange, SectionName, Subsystem};

use crate::file::{File, PE_LEN, at};
use crate::{check, check_pe, describe_pe};

#[test]
fn accepted() {
    let check = |file: File, expected: &str| check_pe(&file.build(), expected);
    check(
        File::pe(),
        "PE32+ EFI application for arm64
         flags Characteristics(EXECUTABLE_IMAGE | LINE_NUMS_STRIPPED | LOCAL_SYMS_STRIPPED | LARGE_ADDRESS_AWARE | DEBUG_STRIPPED)
         loading flags DllCharacteristics(HIGH_ENTROPY_VA | DYNAMIC_BASE | NX_COMPAT)
         image 0x4000 at 0x140000000
         headers 0x0..0x200
         stack 0x100000
         made at 0x60000000
         version 3.0
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
         stack 0x100000
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
        check(File::pe().u16(at::MACHINE, machine), &expected);
    }
    check(
        File::pe().u16(at::SUBSYSTEM, 99),
        "PE32+ Subsystem 0x63 for arm64",
    );
    check(
        File::pe().u16(at::CHARACTERISTICS, 0x42),
        "flags Characteristics(EXECUTABLE_IMAGE | 0x40)",
    );
}

#[test]
fn sections() {
    let check = |file: File, expected: &str| check_pe(&file.build(), expected);
    let data = |name: &str, numbers| File::pe().section(at::DATA, name, numbers, 0);
    // Only zeros, and only what the file has.
    check(
        data(".bss", [0x1000, 0x2000, 0, 0]),
        "section .bss 0x2000..0x3000 from 0x0..0x0",
    );
    check(
        data(".bss", [0x1000, 0x2000, 0, u32::MAX]),
        "section .bss 0x2000..0x3000 from 0x0..0x0",
    );
    // No place in the file, so nothing of it, whatever the length says: and not the headers.
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
    // In any order, side by side, to the last byte.
    check(
        data("full", [0x2800, 0x200, 0x200, 0x400]).section(
            at::TEXT,
            "last",
            [0x600, 0x3a00, 0x600, 0x200],
            0,
        ),
        "section full 0x200..0x2a00 from 0x400..0x600
         section last 0x3a00..0x4000 from 0x200..0x800",
    );
    // Names are eight bytes of whatever.
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
    let pe = PeFile::open(SizedSource::new(&file).unwrap()).unwrap().unwrap();
    assert_eq!(pe.section(b".data").unwrap().range.start(), 0x2000);
    assert!(pe.section(b".dat").is_none() && pe.section(b"").is_none());
}

#[test]
fn headers_and_directories() {
    let check = |file: File, expected: &str| check_pe(&file.build(), expected);
    let none = |file: File, unexpected: &str| {
        let found = describe_pe(&file.build());
        assert!(
            found.starts_with("PE32+") && !found.contains(unexpected),
            "{found}"
        );
    };
    none(File::pe().u32(at::ENTRY, 0), "entry");
    none(File::pe().directory(5, 0x3000, 0), "base relocation");
    none(File::pe().u32(at::DIRECTORY_COUNT, 5), "base relocation");
    check(
        File::pe().directory(4, 0x700, 0x50),
        "certificate table 0x700 + 0x50",
    );
    check(File::pe().directory(14, 1, 2), "CLR runtime header 0x1 + 0x2");
    // Directories without a meaning are not read, but the optional header must have them.
    let more = File::pe()
        .u16(at::SECTIONS, 0)
        .u16(at::SIZE_OF_OPTIONAL_HEADER, 248);
    check(
        more.u32(at::DIRECTORY_COUNT, 17),
        "base relocation table 0x3000 + 0x14",
    );
    // The section table follows the optional header, however long that says it is.
    let shifted = File::pe()
        .u16(at::SIZE_OF_OPTIONAL_HEADER, 280)
        .u16(at::SECTIONS, 2);
    check(
        shifted,
        "section .data 0x2000..0x3000 from 0x400..0x600
         section .reloc 0x3000..0x3014 from 0x600..0x614",
    );
    check(File::pe().u32(at::ENTRY, 0x3fff), "entry 0x3fff");
    check(File::pe().u32(at::FILE_ALIGNMENT, 0x1000), "headers 0x0..0x200");
    check(
        File::pe()
            .u32(at::FILE_ALIGNMENT, 1)
            .u32(at::SECTION_ALIGNMENT, 1),
        "headers 0x0..0x200",
    );
    check(
        File::pe().u16(at::SECTIONS, 0).u32(at::SIZE_OF_HEADERS, 0x800),
        "headers 0x0..0x800",
    );
    // An image of nothing but headers.
    check(
        File::pe()
            .u16(at::SECTIONS, 0)
            .u32(at::ENTRY, 0x1ff)
            .u32(at::SIZE_OF_IMAGE, 0x200),
        "image 0x200 at 0x140000000",
    );
}

/// Having no base relocations and having had them removed are two things.
#[test]
fn whether_an_image_may_be_moved() {
    let none = || File::pe().directory(5, 0, 0);
    for (file, is_fixed, relocations) in [
        (File::pe(), false, 4),
        // A kernel with an EFI stub: position-independent.
        (none().u16(at::CHARACTERISTICS, 0x206), false, 0),
        (none().u16(at::CHARACTERISTICS, 0x207), true, 0),
        (none().u16(at::CHARACTERISTICS, 0x0001), true, 0),
        (none().u16(at::CHARACTERISTICS, 0xfffe), false, 0),
        // The flag decides, whatever table there is.
        (File::pe().u16(at::CHARACTERISTICS, 0x207), true, 4),
        (File::pe32().u16(at::CHARACTERISTICS, 0x103), true, 4),
    ] {
        let file = file.build();
        let pe = PeFile::open(SizedSource::new(&file).unwrap()).unwrap().unwrap();
        let found = (pe.is_fixed(), pe.relocations().unwrap().count());
        assert_eq!(found, (is_fixed, relocations), "{:?}", pe.characteristics());
    }
}

/// The PE signature may be anywhere, even in the DOS header, whose other fields have no meaning.
#[test]
fn what_is_before_the_pe_signature() {
    let headers = File::pe().u32(at::FILE_ALIGNMENT, 4).build()[0x80..0x200].to_vec();
    for (offset, stub) in [
        (0x80, 0x40..0x80),
        (0x48, 0x40..0x48),
        (0x41, 0x40..0x41),
        (0x40, 0x40..0x40),
        // `e_lfanew` is BaseOfCode, too.
        (0x10, 0x40..0x40),
        // `e_lfanew` is SectionAlignment, too.
        (0x04, 0x40..0x40),
    ] {
        let file = File::pe()
            .bytes(offset, &headers)
            .u32(0x3c, offset as u32)
            .build();
        let pe = PeFile::open(SizedSource::new(&file).unwrap()).unwrap().unwrap();
        let found = pe.dos_stub();
        assert_eq!(pe.pe_offset(), offset as u64);
        assert_eq!(
            (found.offset(), found.end()),
            (stub.start, stub.end),
            "{offset:#x}"
        );
        crate::pe_promises::check(&file);
    }
}

/// Cuts a file of both kinds after every byte.
#[test]
fn a_file_may_end_anywhere() {
    for (file, fixed, table) in [(File::pe(), 0x108, 0x188), (File::pe32(), 0xf8, 0x178)] {
        let file = file.build();
        let check_up_to = |lens: Range<usize>, end: usize| {
            for len in lens {
                let sentence = format!(
                    "malformed: the PE headers reach to {end:#x}, but the file has {len:#x} bytes; is it complete?"
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
            let is_cut = describe_pe(&file[..len]).starts_with("malformed: the PE section");
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
            new().u16(at::MAGIC, magic),
            &format!(
                "the magic number of the PE optional header at 0x98 is {magic:#06x}, neither 0x10b nor 0x20b"
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
                .u16(at::SIZE_OF_OPTIONAL_HEADER, size)
                .u32(at::DIRECTORY_COUNT, directories),
            &format!(
                "SizeOfOptionalHeader of the PE header is {size:#x}, but the optional header at 0x98 with its {directories} data directories has {need:#x} bytes"
            ),
        );
    }
    check(
        new().u16(at::SECTIONS, 512),
        "the PE headers reach to 0x5188, but the file has 0x800 bytes; is it complete?",
    );
    check(
        new().u32(at::SIZE_OF_HEADERS, 0x801),
        "the PE headers reach to 0x801, but the file has 0x800 bytes; is it complete?",
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
                .u32(at::SECTION_ALIGNMENT, section)
                .u32(at::FILE_ALIGNMENT, file),
            &format!(
                "SectionAlignment {section:#x} and FileAlignment {file:#x} of the PE header must be powers of two, and the first not below the second"
            ),
        );
    }
    for (headers, image) in [(0x1ff, 0x4000), (0, 0x4000), (0x200, 0x1ff), (0x200, 0)] {
        check(
            new()
                .u32(at::SIZE_OF_HEADERS, headers)
                .u32(at::SIZE_OF_IMAGE, image),
            &format!(
                "SizeOfHeaders of the PE header is {headers:#x}, but the headers end at 0x200 and the image, by SizeOfImage, at {image:#x}"
            ),
        );
    }
    for entry in [0x4000, u32::MAX] {
        check(
            new().u32(at::ENTRY, entry),
            &format!("the PE entry point is at RVA {entry:#x}, outside the image of 0x4000 bytes"),
        );
    }
}

#[test]
fn malformed_sections() {
    let check = |name: &str, numbers: [u32; 4], expected: &str| {
        let file = File::pe().section(at::DATA, name, numbers, 0);
        check_pe(
            &file.build(),
            &format!("malformed: the PE section \"{name}\" {expected}"),
        );
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
            &format!("takes {need:#x} bytes from RVA {start:#x} on, outside the image of 0x4000 bytes"),
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
            &format!("fills bytes {data} of the file, which has 0x800 bytes; is it complete?"),
        );
    }
    for offset in [1, 0x80, 0x1ff] {
        for raw in [1, 0x200, u32::MAX] {
            check(
                ".bss",
                [0x1000, 0x2000, raw, offset],
                &format!(
                    "is filled from byte {offset:#x} of the file on, inside the headers, which end at 0x200"
                ),
            );
        }
    }
    check(
        ".data",
        [1, 0x117f, 0, 0],
        "at RVAs 0x117f..0x1180 overlaps what is at 0x1000..0x1180",
    );
    check(
        ".data",
        [0x1000, 0x1ff, 0, 0],
        "at RVAs 0x1ff..0x11ff overlaps what is at 0x0..0x200",
    );
    // Of two that overlap, the later one is named.
    let file = File::pe().section(at::DATA, "early", [0x801, 0x800, 0, 0], 0);
    check_pe(
        &file.build(),
        "malformed: the PE section \".text\" at RVAs 0x1000..0x1180 overlaps what is at 0x800..0x1001",
    );
}

#[test]
fn unsupported() {
    check_pe(
        &File::pe().u16(at::MAGIC, 0x107).build(),
        "unsupported: it is a PE ROM image; only PE32 and PE32+ are supported",
    );
    for sections in [513, u16::MAX] {
        check_pe(
            &File::pe().u16(at::SECTIONS, sections).build(),
            &format!("unsupported: it has {sections} PE sections; this crate takes up to 512"),
        );
    }
    check_pe(&File::pe().u16(0, 0x4d5b).build(), "something else");
}

/// What the plugin says about PE files that are no kernel.
#[test]
fn programs() {
    let check = |file: File, expected: &str| check(&file.build(), expected);
    check(
        File::pe(),
        "unsupported pe: it is an EFI application for arm64, which needs a firmware to run it",
    );
    check(
        File::pe32().u16(at::SUBSYSTEM, 12),
        "unsupported pe: it is an EFI runtime driver for x86, which needs a firmware to run it",
    );
    check(
        File::pe().section(at::DATA, ".linux", [0x1000, 0x2000, 0x200, 0x400], 0),
        "unsupported pe: it is a unified kernel image for arm64: an EFI application, which needs a firmware, with a kernel inside; take that out (\"objcopy --dump-section .linux=FILE\" does) and boot it",
    );
    check(
        File::pe().u16(at::SUBSYSTEM, 3).u16(at::MACHINE, 0x8664),
        "unsupported pe: it is a program (Windows console program) for x86_64 and no kernel",
    );
    check(
        File::pe().u32(at::ENTRY, 0x4000),
        "malformed pe: the PE entry point is at RVA 0x4000, outside the image of 0x4000 bytes",
    );
}

#[test]
fn where_an_address_is_in_the_file() {
    let file = File::pe().build();
    let pe = PeFile::open(SizedSource::new(&file).unwrap()).unwrap().unwrap();
    let check = |start: u32, len: u32, expected: Option<(u64, u64)>| {
        let found = pe.data_at(RvaRange::new(start, len).unwrap());
        let found = found.map(|data| (data.offset(), data.end()));
        assert_eq!(found, expected, "{start:#x} + {len:#x}");
    };
    check(0, 0x200, Some((0, 0x200)));
    check(0, 0x201, None);
    check(0x1000, 0x180, Some((0x200, 0x380)));
    check(0x1001, 0x17f, Some((0x201, 0x380)));
    // Padding of the file is not in memory, and zeros are not in the file.
    check(0x1000, 0x181, None);
    check(0x2000, 0x200, Some((0x400, 0x600)));
    check(0x2000, 0x201, None);
    check(0x2fff, 1, None);
    check(0x1fff, 2, None);
    check(0x3fff, 1, None);
    check(u32::MAX, 0, None);
}

/// What each part of the file adds. The promises compare every sum with one made word by word.
#[test]
fn checksums() {
    let sum = |file: File| {
        let file = file.build();
        let pe = PeFile::open(SizedSource::new(&file).unwrap()).unwrap().unwrap();
        (pe.check_sum_offset(), pe.compute_check_sum().unwrap())
    };
    let (offset, plain) = sum(File::pe());
    assert_eq!(offset, at::CHECK_SUM as u64);
    // The field does not count, and the length does.
    assert_eq!(sum(File::pe().u32(at::CHECK_SUM, u32::MAX)).1, plain);
    assert_eq!(sum(File::pe().resize(PE_LEN + 1)).1, plain + 1);
    assert_eq!(sum(File::pe().resize(PE_LEN + 0x10_0000)).1, plain + 0x10_0000);
    // Another word adds to the sum of words, and a last byte counts as a word with a zero.
    let more = |bytes: &[u8]| sum(File::pe().resize(PE_LEN + bytes.len()).bytes(PE_LEN, bytes)).1;
    let carried = |sum: u32| (sum & 0xffff) + (sum >> 16);
    let words = plain - PE_LEN as u32;
    assert_eq!(more(&[0x34, 0x12]), carried(words + 0x1234) + PE_LEN as u32 + 2);
    assert_eq!(more(&[0xff]), carried(words + 0xff) + PE_LEN as u32 + 1);
    assert_eq!(more(&[0xff, 0xff]), words + PE_LEN as u32 + 2);
    // A file is read in pieces, and what is left of one does not count in the next.
    // A word of ones adds nothing but its carry.
    for len in [0x17ff, 0x1800, 0x1801, 0x2801] {
        let expected = match len % 2 {
            0 => words,
            _ => carried(words + 0xff),
        };
        assert_eq!(more(&vec![0xff; len]), expected + (PE_LEN + len) as u32);
    }
}

#[test]
fn codes_have_names() {
    assert_eq!(
        format!("{} {:?}", Machine::ARM64, Machine::ARM64),
        "arm64 Machine(0xaa64: arm64)"
    );
    assert_eq!(format!("{} {0:?}", Machine(1)), "Machine 0x1 Machine(0x1)");
    assert_eq!(Directory::CERTIFICATE.to_string(), "certificate table");
    let efi: Vec<u16> = (0..100).filter(|n| Subsystem(*n).is_efi()).collect();
    assert_eq!(efi, [10, 11, 12, 13]);
}
