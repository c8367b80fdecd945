//! Tests of the conversions, and the ELF64 that the tests of other modules convert.

use object::elf::{ProgramFlags, ProgramType};

use super::*;

/// A program header: type, flags, offset, physical address, file size, memory size.
pub(crate) type TestSegment = (u32, u32, u64, u64, u64, u64);

/// A head, read-only bytes, variables with zeros behind them, zeros alone, and a note inside the read-only bytes.
pub(crate) const SAMPLE: [TestSegment; 5] = [
    (1, 7, 0x1000, 0x10_0000, 0x1000, 0x1000),
    (1, 4, 0x2000, 0x10_1000, 0x123, 0x123),
    (1, 6, 0x3000, 0x10_2000, 0x45, 0x1001),
    (1, 6, 0x4000, 0x10_4000, 0, 0x2000),
    (4, 4, 0x2100, 0x10_1100, 0x20, 0x20),
];

/// Offset of the entry point from the lowest address in what [`elf64`] makes.
pub(crate) const ENTRY: u64 = 0x200;

/// An ELF64 for x86_64 with these segments, and its entry at [`ENTRY`].
pub(crate) fn elf64(segments: &[TestSegment]) -> Vec<u8> {
    elf64_for(ElfTarget::X86_64, segments, ENTRY)
}

/// An ELF64 with these segments, and its entry `entry` bytes past the lowest address. Behind the headers, each byte is the
/// low byte of its offset.
pub(crate) fn elf64_for(target: ElfTarget, segments: &[TestSegment], entry: u64) -> Vec<u8> {
    let mut out = Vec::new();
    let mut writer = Writer::new(target.endianness, true, &mut out);
    writer.reserve_file_header();
    writer.reserve_program_headers(u32::try_from(segments.len()).unwrap());
    let headers = writer.reserved_len();
    writer
        .write_file_header(&FileHeader {
            e_type: target.e_type,
            e_machine: target.e_machine,
            e_entry: segments.iter().map(|s| s.3).min().unwrap_or(0) + entry,
            ..FileHeader::default()
        })
        .unwrap();
    writer.write_align_program_headers();
    for &(p_type, p_flags, p_offset, p_paddr, p_filesz, p_memsz) in segments {
        writer.write_program_header(&ProgramHeader {
            p_type: ProgramType(p_type),
            p_flags: ProgramFlags(p_flags),
            p_offset,
            p_vaddr: 0xffff_ffff_8000_0000 + p_paddr,
            p_paddr,
            p_filesz,
            p_memsz,
            p_align: 0x1000,
        });
    }
    let end = segments.iter().map(|s| s.2 + s.4).max().unwrap_or(0).max(0x400);
    let content: Vec<u8> = (headers..end).map(|offset| offset.to_le_bytes()[0]).collect();
    writer.write(&content);
    out
}

#[test]
fn a_stripped_file_has_the_program_headers_and_their_bytes() {
    let whole = elf64(&SAMPLE);
    let mut elf = whole.clone();
    // A table of sections behind the last segment.
    elf.extend_from_slice(&[7; 0x200]);
    elf[0x28..0x30].copy_from_slice(&u64::try_from(whole.len()).unwrap().to_le_bytes());
    elf[0x3c..0x40].copy_from_slice(&[8, 0, 1, 0]);
    let parsed = GuestElf::parse(&elf, ElfTarget::X86_64).unwrap();
    assert_eq!(parsed.code_len(), 0x1000);
    let stripped = parsed.strip();
    assert_eq!(stripped.len(), 0x4000);
    assert_eq!(stripped[..0x28], whole[..0x28]);
    assert_eq!(
        (&stripped[0x28..0x30], &stripped[0x3c..0x40]),
        (&[0; 8][..], &[0; 4][..])
    );
    assert_eq!(stripped[0x40..], whole[0x40..0x4000]);
    let again = GuestElf::parse(&stripped, ElfTarget::X86_64).unwrap();
    assert_eq!(again.strip(), stripped);
}

#[test]
fn a_flat_image_is_what_a_loader_makes() {
    let elf = elf64(&SAMPLE);
    let flat = GuestElf::parse(&elf, ElfTarget::X86_64)
        .unwrap()
        .flatten()
        .unwrap();
    assert_eq!(
        (flat.base, flat.entry, flat.bytes.len(), flat.file_len),
        (0x10_0000, 0x10_0200, 0x6000, 0x2045)
    );
    assert_eq!(flat.bytes[..0x1000], elf[0x1000..0x2000]);
    assert_eq!(flat.bytes[0x1000..0x1123], elf[0x2000..0x2123]);
    assert_eq!(flat.bytes[0x2000..0x2045], elf[0x3000..0x3045]);
    assert!(
        flat.bytes[0x1123..0x2000]
            .iter()
            .chain(&flat.bytes[0x2045..])
            .all(|byte| *byte == 0)
    );
    assert_eq!(
        (flat.read_only.first(), flat.read_only.len()),
        (Some(&(0x1000..0x1123)), 1)
    );
}

#[test]
fn an_elf32_holds_the_same_segments() {
    let elf = elf64(&SAMPLE);
    let out = GuestElf::parse(&elf, ElfTarget::X86_64)
        .unwrap()
        .to_elf32()
        .unwrap();
    // The bytes are read here without the crate that wrote them.
    let word = |at: usize| u32::from_le_bytes(out[at..at + 4].try_into().unwrap());
    assert_eq!(out[..16], *b"\x7fELF\x01\x01\x01\0\0\0\0\0\0\0\0\0");
    assert_eq!(word(16), 0x3_0002, "e_type and e_machine");
    assert_eq!(
        (word(20), word(24), word(28)),
        (1, 0x10_0000, 52),
        "e_version, e_entry, e_phoff"
    );
    assert_eq!((word(32), word(36)), (0, 0), "e_shoff and e_flags");
    assert_eq!((word(40), word(44)), (0x20_0034, 5), "e_ehsize to e_shentsize");
    assert_eq!(word(48), 0, "e_shnum and e_shstrndx");
    for (index, (p_type, flags, offset, paddr, filesz, memsz)) in SAMPLE.iter().enumerate() {
        let at = 52 + index * 32;
        let found: Vec<_> = (0..8).map(|field| u64::from(word(at + field * 4))).collect();
        let (p_type, flags) = (u64::from(*p_type), u64::from(*flags));
        assert_eq!(
            found,
            [p_type, *offset, *paddr, *paddr, *filesz, *memsz, flags, 0x1000]
        );
    }
    assert!(out[52 + 5 * 32..0x1000].iter().all(|byte| *byte == 0));
    assert_eq!(out[0x1000..], elf[0x1000..0x3045]);
}

#[test]
fn a_big_endian_elf_holds_the_same_image() {
    let little = elf64_for(ElfTarget::AARCH64, &SAMPLE, ENTRY);
    let flat = GuestElf::parse(&little, ElfTarget::AARCH64)
        .unwrap()
        .flatten()
        .unwrap();
    let big = elf64_for(ElfTarget::AARCH64_BE, &SAMPLE, ENTRY);
    assert_eq!(big[16..20], [0, 3, 0, 183]);
    let other = GuestElf::parse(&big, ElfTarget::AARCH64_BE)
        .unwrap()
        .flatten()
        .unwrap();
    assert_eq!((flat.base, flat.entry), (other.base, other.entry));
    assert!(flat.bytes == other.bytes && flat.read_only == other.read_only);
    let error = GuestElf::parse(&big, ElfTarget::AARCH64).unwrap_err();
    assert_eq!(
        error,
        GuestElfError::Header {
            field: "e_ident[EI_DATA]",
            found: 2,
            expected: 1,
        }
    );
}

#[test]
fn an_et_exec_differs_in_its_type_alone() {
    for target in [ElfTarget::AARCH64, ElfTarget::AARCH64_BE, ElfTarget::RISCV64] {
        let elf = elf64_for(target, &SAMPLE, ENTRY);
        let exec = GuestElf::parse(&elf, target).unwrap().to_et_exec();
        let target = ElfTarget {
            e_type: ET_EXEC,
            ..target
        };
        assert!(GuestElf::parse(&exec, target).is_ok());
        let differ = elf.iter().zip(&exec).filter(|(one, other)| one != other).count();
        assert_eq!((differ, exec.len()), (1, elf.len()));
    }
}

/// Reads and converts `elf`, and expects `error`.
fn check(elf: &[u8], expected: GuestElfError) {
    let found = GuestElf::parse(elf, ElfTarget::X86_64)
        .and_then(|elf| elf.flatten().and_then(|_| elf.to_elf32()))
        .err();
    assert_eq!(found, Some(expected));
}

/// The error for a file that `object` refuses to read.
fn check_unreadable(elf: &[u8]) {
    let found = GuestElf::parse(elf, ElfTarget::X86_64).err();
    assert!(matches!(found, Some(GuestElfError::Read(_))), "{found:?}");
}

#[test]
fn files_that_are_no_complete_elf64_are_refused() {
    let elf = elf64(&SAMPLE);
    check_unreadable(&[]);
    check_unreadable(&elf[..63]);
    check_unreadable(&elf[..64 + 5 * 56 - 1]);
    for (offset, value) in [(0, 0), (4, 1), (5, 3), (6, 2), (54, 57)] {
        let mut elf = elf.clone();
        elf[offset] = value;
        check_unreadable(&elf);
    }
    check(
        &elf[..0x3000],
        GuestElfError::Truncated {
            index: 2,
            offset: 0x3000,
            len: 0x45,
        },
    );
}

#[test]
fn what_the_linker_does_not_write_is_refused() {
    check(&elf64(&[]), GuestElfError::NoSegments);
    check(&elf64(&SAMPLE[4..]), GuestElfError::NoSegments);
    let disorder = |index, address| GuestElfError::Disorder { index, address };
    let changed = |index: usize, change: fn(&mut TestSegment)| {
        let mut segments = SAMPLE;
        change(&mut segments[index]);
        elf64(&segments)
    };
    check(
        &changed(1, |segment| segment.3 = 0x10_0fff),
        disorder(1, 0x10_0fff),
    );
    check(&changed(1, |segment| segment.5 = 0x122), disorder(1, 0x10_1000));
    check(
        &changed(3, |segment| segment.5 = u64::MAX),
        disorder(3, 0x10_4000),
    );
    check(
        &changed(3, |segment| segment.5 = 1 << 32),
        GuestElfError::TooHigh {
            index: 3,
            end: 0x1_0010_4000,
        },
    );
    check(
        &elf64(&[(1, 7, 64, 0x1000, 1, 1)]),
        GuestElfError::NoRoom {
            headers: 84,
            content: 64,
        },
    );
    let mut elf = elf64(&SAMPLE);
    elf[18] = 3;
    check(
        &elf,
        GuestElfError::Header {
            field: "e_machine",
            found: 3,
            expected: 62,
        },
    );
}
