//! Base relocations, block by block.

use boot_core::SizedSource;
use fmt_pe::pe::{Machine, PeFile, RelocationType};

use crate::file::{File, PE_LEN, at};
use crate::{describe_pe, pe_promises};

/// Checks that the lines about base relocations are exactly those of `expected`.
#[track_caller]
fn check(file: File, expected: &str) {
    let file = file.build();
    pe_promises::check(&file);
    let found = describe_pe(&file);
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
        .section(at::RELOC, ".reloc", [0x200, 0x3000, 0x200, 0x600], 0)
        .bytes(at::BLOCK, &[0; 0x200])
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
    // A block whose size is no multiple of four: the next one still begins at one. As in x86 Linux, it may be the last.
    let odd = table(22).block(0, 0x1000, &[0xa000]);
    check(
        odd.block(12, 0x2000, &[0xa000]),
        "relocation 0x1000 DIR64
         relocation 0x2000 DIR64",
    );
    check(table(10).block(0, 0, &[0]), "");
    // The page may be any address: offsets count from it.
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
        let pe = PeFile::open(SizedSource::new(&file).unwrap()).unwrap().unwrap();
        let found: Vec<u32> = pe.relocations().unwrap().map(|r| r.unwrap().rva).collect();
        let expected: Vec<u32> = (0..u32::from(len)).map(|n| 0x1000 + 8 * n).collect();
        assert_eq!(found, expected);
    }
}

/// Some take two entries, also where the parser has to read on in between.
#[test]
fn an_adjusted_relocation_has_a_second_entry() {
    check(
        table(16).block(0, 0x2000, &[0x4004, 0xa123, 0xa008, 0]),
        "relocation 0x2004 HIGHADJ 0xa123\nrelocation 0x2008 DIR64",
    );
    for before in 126..130 {
        let mut entries = vec![0; before];
        entries.extend([0x4000, 0x0bad, 0xa010]);
        let size = 8 + 2 * entries.len() as u32;
        check(
            table(size).block(0, 0x2000, &entries),
            "relocation 0x2000 HIGHADJ 0xbad\nrelocation 0x2010 DIR64",
        );
    }
    check(
        table(24)
            .block(0, 0x2000, &[0, 0x4004])
            .block(12, 0x2000, &[0x1234, 0]),
        "relocation malformed: the base relocation of RVA 0x2004 needs a second entry, but its block ends",
    );
}

#[test]
fn tables_that_are_not_there() {
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
                "relocations malformed: the PE base relocation table takes {size:#x} bytes from RVA {start:#x} on, which the file does not fill"
            ),
        );
    }
}

#[test]
fn malformed_blocks() {
    for size in [0, 7, 9, 0x15, 0x16, u32::MAX] {
        check(
            table(0x14).u32(at::BLOCK + 4, size),
            &format!(
                "relocation malformed: the block of base relocations at RVA 0x3000 claims {size:#x} bytes; it must be an even number from 8 on and end with the table, at 0x3014"
            ),
        );
    }
    // What follows the last block is too short to be one.
    for rest in 1..8 {
        check(
            table(12 + rest).block(0, 0x2000, &[0xa000, 0]),
            &format!(
                "relocation 0x2000 DIR64
                 relocation malformed: the block of base relocations at RVA 0x300c claims 0x0 bytes; it must be an even number from 8 on and end with the table, at {:#x}",
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
        (0x3000, 0x4fff, 0x3fff, "HIGHADJ"),
        (0x4000, 0xf000, 0x4000, "type 15"),
        (u32::MAX, 0xafff, 0x1_0000_0ffe, "DIR64"),
    ] {
        check(
            table(12).block(0, page, &[entry, 0]),
            &format!(
                "relocation malformed: the base relocation ({kind}) of RVA {rva:#x} is outside the image of 0x4000 bytes"
            ),
        );
    }
    check(
        table(12).block(0, 0x3000, &[0xaff8, 0x1ffe]),
        "relocation 0x3ff8 DIR64\nrelocation 0x3ffe HIGH",
    );
}

/// After an error there is nothing more to come.
#[test]
fn an_error_ends_it() {
    let file = table(24)
        .block(0, 0x9000, &[0xa000, 0xa000])
        .block(12, 0x2000, &[0xa000, 0])
        .build();
    let pe = PeFile::open(SizedSource::new(&file).unwrap()).unwrap().unwrap();
    let mut relocations = pe.relocations().unwrap();
    assert!(matches!(relocations.next(), Some(Err(_))));
    assert!(relocations.next().is_none() && relocations.next().is_none());
}

/// Microsoft's "Base Relocation Types": every number, on every machine that gives it a meaning.
#[test]
fn every_type_has_a_name() {
    let arms = [Machine::ARM, Machine::THUMB, Machine::ARMNT];
    let riscvs = [Machine::RISCV32, Machine::RISCV64, Machine::RISCV128];
    let everywhere = ["ABSOLUTE", "HIGH", "LOW", "HIGHLOW", "HIGHADJ"];
    let known = arms.into_iter().chain(riscvs).chain([
        Machine::AMD64,
        Machine::ARM64,
        Machine::I386,
        Machine::LOONGARCH32,
        Machine::LOONGARCH64,
        Machine::R4000,
    ]);
    for machine in known {
        let (is_arm, is_riscv) = (arms.contains(&machine), riscvs.contains(&machine));
        for number in 0..16 {
            let expected = match number {
                0..5 => Some((
                    everywhere[usize::from(number)],
                    [0, 2, 2, 4, 2][usize::from(number)],
                )),
                5 if is_arm => Some(("ARM_MOV32", 8)),
                5 if is_riscv => Some(("RISCV_HIGH20", 4)),
                5 if machine == Machine::R4000 => Some(("MIPS_JMPADDR", 4)),
                7 if is_arm => Some(("THUMB_MOV32", 8)),
                7 if is_riscv => Some(("RISCV_LOW12I", 4)),
                8 if is_riscv => Some(("RISCV_LOW12S", 4)),
                8 if machine == Machine::LOONGARCH32 => Some(("LOONGARCH32_MARK_LA", 8)),
                8 if machine == Machine::LOONGARCH64 => Some(("LOONGARCH64_MARK_LA", 16)),
                9 if machine == Machine::R4000 => Some(("MIPS_JMPADDR16", 4)),
                10 => Some(("DIR64", 8)),
                _ => None,
            };
            let kind = RelocationType(number);
            let found = kind.name(machine).map(|name| (name, kind.width(machine)));
            assert_eq!(found, expected, "{kind:?} on {machine}");
            assert!(found.is_some() || kind.width(machine) == 1);
        }
    }
}

/// A table of many blocks, each longer than what is read at a time.
#[test]
fn a_long_table() {
    let entries = [0x3000; 200];
    let file = table(0x1000).resize(PE_LEN + 0x1000).section(
        at::RELOC,
        ".reloc",
        [0x1000, 0x3000, 0x1000, PE_LEN as u32],
        0,
    );
    let step = 8 + 2 * entries.len();
    let blocks = 0x1000 / step;
    let file = (0..blocks).fold(file, |file, n| {
        file.block(PE_LEN - at::BLOCK + n * step, 0x1000, &entries)
    });
    let file = file.directory(5, 0x3000, (blocks * step) as u32).build();
    let pe = PeFile::open(SizedSource::new(&file).unwrap()).unwrap().unwrap();
    let found: Result<Vec<_>, _> = pe.relocations().unwrap().collect();
    assert_eq!(found.unwrap().len(), blocks * entries.len());
}

/// What a firmware does: copies headers and sections, and moves the image from its base to where there is room.
#[test]
fn an_application_is_loaded_and_moved() {
    let file = File::pe()
        .u64(0x400, 0x1_4000_1000)
        .u64(0x408, 0xffff_ffff_ffff_ffff)
        .build();
    let source = SizedSource::new(&file).unwrap();
    let pe = PeFile::open(source).unwrap().unwrap();
    let header = pe.optional_header();
    let mut image = vec![0; header.size_of_image as usize];
    let sections = pe.sections().iter().map(|s| (s.data, s.range.start()));
    for (data, rva) in sections.chain([(pe.headers(), 0)]) {
        let to = &mut image[rva as usize..][..data.len() as usize];
        source.read_exact_at(data.offset(), to).unwrap();
    }
    let base = 0x4000_0000_u64;
    let distance = base.wrapping_sub(header.image_base);
    for relocation in pe.relocations().unwrap().map(Result::unwrap) {
        let field = &mut image[relocation.rva as usize..];
        if relocation.kind == RelocationType::DIR64 {
            let field = field.first_chunk_mut().unwrap();
            *field = u64::from_le_bytes(*field).wrapping_add(distance).to_le_bytes();
        } else {
            assert_eq!(relocation.kind, RelocationType::HIGHLOW);
            let field = field.first_chunk_mut().unwrap();
            *field = u32::from_le_bytes(*field)
                .wrapping_add(distance as u32)
                .to_le_bytes();
        }
    }
    let word = |at: usize| u64::from_le_bytes(*image[at..].first_chunk().unwrap());
    assert_eq!(
        (&image[..0x200], &image[0x1000..0x1180]),
        (&file[..0x200], &file[0x200..0x380])
    );
    assert_eq!((word(0x2000), word(0x2008)), (0x4000_1000, distance - 1));
    assert_eq!(&image[0x2010..0x2200], &file[0x410..0x600]);
    // Zeros but for what was relocated; and the padding of sections in the file is not in memory.
    assert_eq!((word(0x2ff0), word(0x2ff8)), (distance & 0xffff_ffff, distance));
    assert!(
        image[0x1180..0x2000]
            .iter()
            .chain(&image[0x2200..0x2ff0])
            .all(|byte| *byte == 0)
    );
    assert_eq!(pe.entry_point(), Some(0x1000));
}
