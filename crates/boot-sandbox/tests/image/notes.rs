//! Notes and their addresses.

use boot_core::{Arch, GuestRange};
use boot_sandbox::{GuestImage, GuestNote, GuestTable, NotePart, SegmentAccess};
use fmt_test::elf::EM_X86_64;
use fmt_test::guest::{BASE, CODE, CODE_PHDR, CONSTANTS_PHDR, DATA, Guest, VECTORS};

use crate::{File, guests, text};

#[test]
fn a_note_has_the_fields_of_the_descriptor() {
    for (arch, guest) in guests() {
        let note = GuestNote::parse(arch, &guest.descriptor()).unwrap();
        assert_eq!((note.minor, note.flags.bits()), (0, 0));
        assert_eq!([note.entry, note.vectors], [CODE, VECTORS]);
        assert_eq!(
            [note.part(NotePart::Entry), note.part(NotePart::Vectors)],
            [CODE, VECTORS]
        );
        assert_eq!(note.exports, GuestRange::new(BASE, 80).unwrap());
        assert_eq!(note.imports, GuestRange::new(BASE + 80, 40).unwrap());
        assert_eq!(note.table(GuestTable::Exports), note.exports);
        assert_eq!(note.table(GuestTable::Imports), note.imports);
        assert_eq!((note.min_heap, note.min_stack), (0x10_0000, 0x8000));
    }
    assert_eq!((GuestNote::OWNER, GuestNote::TYPE), ("VMSandbox", 1));
}

/// Parses a descriptor with `new` at `offset`.
#[track_caller]
fn check(arch: Arch, offset: usize, new: &[u8], expected: &str) {
    let mut descriptor = Guest::new(EM_X86_64).descriptor();
    descriptor[offset..offset + new.len()].copy_from_slice(new);
    let found = match GuestNote::parse(arch, &descriptor) {
        Ok(_) => String::new(),
        Err(error) => text(&error),
    };
    assert_eq!(found, expected, "{arch} {offset} {new:x?}");
}

#[test]
fn fields_of_a_descriptor_are_checked() {
    let x86 = |offset, new: &[u8], expected: &str| check(Arch::X86_64, offset, new, expected);
    let version = |found| format!("the guest needs version {found} of the interface, this host has 1.0");
    x86(0, &[2], &version("2.0"));
    x86(0, &[0], &version("0.0"));
    x86(1, &[1], &version("257.0"));
    x86(2, &[1], &version("1.1"));
    x86(4, &[1], "");
    x86(4, &[3], "");
    x86(4, &[7], "the note has the unknown flags 0x4");
    x86(7, &[0x80], "the note has the unknown flags 0x80000000");
    let reserved = "reserved bytes of the note are not zero";
    for offset in [72, 80, 95] {
        x86(offset, &[1], reserved);
    }
    let table = |table, start, end| {
        format!("the table of {table} is {start}..{end}, expected a multiple of 40 bytes")
    };
    x86(32, &[79], &table("exports", "0x40000000", "0x4000004f"));
    x86(
        32,
        &[0, 0, 0, 0x3f],
        &table("exports", "0x40000000", "0x3f000000"),
    );
    x86(48, &[0x79], &table("imports", "0x40000050", "0x40000079"));
    // 4,096 records, and one more.
    let end = |base: u64, records: u64| (base + 40 * records).to_le_bytes();
    x86(32, &end(BASE, 4096), "");
    x86(
        32,
        &end(BASE, 4097),
        "the table of exports has 4097 records, expected at most 4096",
    );
    x86(
        48,
        &end(BASE + 80, 4097),
        "the table of imports has 4097 records, expected at most 4096",
    );
    // No table.
    x86(24, &[0; 32], "");
}

#[test]
fn code_is_aligned_as_the_architecture_requires() {
    for (arch, entry, vectors) in [
        (Arch::X86_64, 1, 16),
        (Arch::Aarch64, 4, 0x800),
        (Arch::Riscv64, 2, 4),
    ] {
        for (part, offset, align) in [(NotePart::Entry, 8, entry), (NotePart::Vectors, 16, vectors)] {
            assert_eq!(part.align(arch), align);
            let mut addr = CODE + align;
            check(arch, offset, &addr.to_le_bytes(), "");
            if align > 1 {
                addr += align / 2;
                let expected =
                    format!("the address of the {part} is {addr:#x}, expected a multiple of {align}");
                check(arch, offset, &addr.to_le_bytes(), &expected);
            }
        }
    }
}

#[test]
fn descriptors_of_other_lengths_are_refused() {
    let mut descriptor = Guest::new(EM_X86_64).descriptor();
    let check = |descriptor: &[u8], expected: &str| {
        let error = GuestNote::parse(Arch::X86_64, descriptor).unwrap_err();
        assert_eq!(error.to_string(), expected);
        assert!(!error.is_unsupported());
    };
    check(&[], "the note has 0 bytes, expected 96");
    check(&descriptor[..3], "the note has 3 bytes, expected 96");
    check(&descriptor[..95], "the note has 95 bytes, expected 96");
    descriptor.push(0);
    check(&descriptor, "the note has 97 bytes, expected 96");
    // The version comes first.
    descriptor[0] = 3;
    let error = GuestNote::parse(Arch::X86_64, &descriptor).unwrap_err();
    assert!(error.is_unsupported(), "{error}");
    descriptor[0] = 1;
    descriptor[4] = 4;
    let error = GuestNote::parse(Arch::X86_64, &descriptor[..96]).unwrap_err();
    assert!(error.is_unsupported(), "{error}");
}

#[test]
fn entry_and_handlers_are_in_the_file_and_only_executable() {
    let check = |arch, change: &dyn Fn(&mut File), expected: &str| {
        let (_, guest) = guests().into_iter().find(|(found, _)| *found == arch).unwrap();
        let mut file = File::new(arch, &guest);
        change(&mut file);
        let found = file
            .guest()
            .err()
            .map(|error| error.to_string())
            .unwrap_or_default();
        assert_eq!(found, expected);
    };
    let outside = |part, addr: u64, len| {
        format!(
            "the {part} at {addr:#x} ({len} bytes) is not in the file's part of a segment that is executable and not writable"
        )
    };
    let entry =
        |addr: u64| move |file: &mut File| file.descriptor[8..16].copy_from_slice(&addr.to_le_bytes());
    let vectors =
        |addr: u64| move |file: &mut File| file.descriptor[16..24].copy_from_slice(&addr.to_le_bytes());
    let len = 0x1000;
    for (arch, entry_len, vectors_len) in [
        (Arch::X86_64, 1, 0x200),
        (Arch::Aarch64, 4, 0x800),
        (Arch::Riscv64, 2, 2),
    ] {
        check(arch, &|_| {}, "");
        let last = CODE + len - entry_len;
        check(arch, &entry(last), "");
        check(
            arch,
            &entry(CODE + len),
            &outside("entry point", CODE + len, entry_len),
        );
        check(
            arch,
            &entry(CODE - 4),
            &outside("entry point", CODE - 4, entry_len),
        );
        check(arch, &entry(DATA), &outside("entry point", DATA, entry_len));
        check(arch, &entry(BASE), &outside("entry point", BASE, entry_len));
        let end = CODE + len;
        let last = (end - vectors_len) & !(NotePart::Vectors.align(arch) - 1);
        check(arch, &vectors(last), "");
        check(
            arch,
            &vectors(end),
            &outside("exception handlers", end, vectors_len),
        );
    }
    // A writable segment of code, and zeros after the file's part.
    let expected = outside("entry point", CODE, 1);
    let access = SegmentAccess {
        write: true,
        execute: true,
    };
    check(
        Arch::X86_64,
        &|file| file.segments[CODE_PHDR].access = access,
        &expected,
    );
    let shorten = |file: &mut File| {
        let segment = &mut file.segments[CODE_PHDR].segment;
        segment.source = boot_core::SourceRange::new(segment.source.offset(), 0x9ff).unwrap();
    };
    check(
        Arch::X86_64,
        &shorten,
        &outside("exception handlers", VECTORS, 0x200),
    );
    check(
        Arch::X86_64,
        &entry(u64::MAX),
        &outside("entry point", u64::MAX, 1),
    );
}

#[test]
fn the_entry_is_physical_and_constants_are_file_bytes() {
    let (arch, guest) = guests()[0].clone();
    let mut file = File::new(arch, &guest);
    for segment in &mut file.segments {
        segment.segment.range = segment
            .segment
            .range
            .moved_to(segment.virt - BASE + 0x8000)
            .unwrap();
    }
    file.segments.reverse();
    let image: GuestImage = file.guest().unwrap();
    assert_eq!(image.entry(), CODE - BASE + 0x8000);
    assert!(image.segments().is_sorted_by_key(|segment| segment.virt));
    let constants = image.segments()[CONSTANTS_PHDR];
    let (offset, len) = (constants.segment.source.offset(), constants.segment.source.len());
    let range = |addr, len| {
        image
            .constant(addr, len)
            .map(|range| (range.offset(), range.len()))
    };
    assert_eq!(range(BASE, len), Some((offset, len)));
    assert_eq!(range(BASE + 5, 7), Some((offset + 5, 7)));
    assert_eq!(range(BASE + len, 0), Some((offset + len, 0)));
    for (addr, len) in [
        (BASE, len + 1),
        (BASE - 1, 2),
        (BASE + 1, u64::MAX),
        (DATA, 1),
        (0, 1),
    ] {
        assert_eq!(range(addr, len), None, "{addr:#x} {len:#x}");
    }
}

#[test]
fn segments_print_as_in_readelf() {
    let (arch, guest) = guests()[0].clone();
    let segments = File::new(arch, &guest).segments;
    assert_eq!(
        segments[CODE_PHDR].to_string(),
        "segment 1 (R E, 0x40010000..0x40011000)"
    );
    let text = |access: SegmentAccess| access.to_string();
    let all = SegmentAccess {
        write: true,
        execute: true,
    };
    assert_eq!(
        [
            SegmentAccess::READ,
            SegmentAccess::WRITE,
            SegmentAccess::EXECUTE,
            all
        ]
        .map(text),
        ["R", "RW", "R E", "RWE"]
    );
    let mut last = segments[0];
    last.virt = u64::MAX - 1;
    assert_eq!(
        last.range(),
        GuestRange::from_bounds(u64::MAX - 1, u64::MAX).unwrap()
    );
}
