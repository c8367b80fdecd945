//! Notes, and the PVH entry point and relocation.

use crate::{X86_KERNEL, check, kernel_with_notes, patched, summary};
use fmt_test::elf::*;

const PVH_REST: &str = "elf64 0x100000, pvh 0x100008, 0x100000..0x101000=0xb0..0xd0";

#[test]
fn pvh_entry() {
    let with =
        |data: &[u8], align: u64, expected: &str| check(&kernel_with_notes(data, align).bytes(), expected);
    let accepted = format!("x86_64 little, fixed, {PVH_REST}");
    let without = X86_KERNEL.replace("0x80..0xa0", "0xb0..0xd0");
    let entry = words(&[0x10_0008]);
    let wide = 0x10_0008u64.to_le_bytes();
    let build_id = |align| note(align, "GNU", 3, &[7; 20]);
    for align in [4, 8] {
        with(&note(align, "Xen", 18, &entry), align as u64, &accepted);
        with(&note(align, "Xen", 18, &wide), align as u64, &accepted);
        let after = [build_id(align), note(align, "Xen", 18, &entry)].concat();
        with(&after, align as u64, &accepted);
        let before = [note(align, "Xen", 18, &wide), build_id(align)].concat();
        with(&before, align as u64, &accepted);
    }
    for align in [0, 1] {
        with(
            &[build_id(4), note(4, "Xen", 18, &entry)].concat(),
            align,
            &accepted,
        );
    }
    // The padding after the last descriptor may be missing, and after a name without a descriptor, too.
    let padded = note(8, "Xen", 18, &entry);
    assert_eq!(padded.len(), 24);
    with(&padded[..20], 8, &accepted);
    let nameless = note(4, "owner", 1, &[]);
    assert_eq!(nameless.len(), 20);
    with(&[&padded[..20], &nameless[..18]].concat(), 4, &accepted);
    // The same entry point twice is one.
    with(
        &[note(4, "Xen", 18, &entry), note(4, "Xen", 18, &wide)].concat(),
        4,
        &accepted,
    );
    // Notes of other names, other types, and bytes that are too short for a note.
    with(&note(4, "xen", 18, &entry), 4, &without);
    with(&note(4, "Xen.", 18, &entry), 4, &without);
    with(&note(4, "Xen", 17, &entry), 4, &without);
    with(&note(4, "XenXXXX", 18, &entry), 4, &without);
    with(&[0xff; 11], 4, &without);
    with(&[], 4, &without);

    // Without a valid entry, the file has the ELF entry point, and no other without that.
    let invalid = |data: &[u8], text: &str| {
        with(data, 4, &format!("{without}; a note is ignored: {text}"));
        let mut elf = kernel_with_notes(data, 4);
        elf.entry = 0;
        check(&elf.bytes(), text);
    };
    invalid(
        &note(4, "Xen", 18, &[0; 2]),
        "the PVH entry note at byte 0xe0 has a value of 2 bytes, expected 4 or 8",
    );
    let outside = |entry: u64| {
        format!(
            "the PVH entry point {entry:#x} (note value at byte 0xe0) is not a physical address below 4 GiB in any segment"
        )
    };
    invalid(&note(4, "Xen", 18, &words(&[0x10_1000])), &outside(0x10_1000));
    invalid(
        &note(4, "Xen", 18, &words(&[0x10_0008, 1])),
        &outside(0x1_0010_0008),
    );
    // A valid one after an invalid one, and the first one of two.
    let [small, second] = [
        note(4, "Xen", 18, &[0; 2]),
        note(4, "Xen", 18, &words(&[0x10_0010])),
    ];
    with(
        &[small, note(4, "Xen", 18, &entry)].concat(),
        4,
        &format!(
            "{accepted}; a note is ignored: the PVH entry note at byte 0xe0 has a value of 2 bytes, expected 4 or 8"
        ),
    );
    with(
        &[note(4, "Xen", 18, &entry), second.clone(), second].concat(),
        4,
        &format!(
            "{accepted}; a note is ignored: the file has two different PVH entry points: 0x100008 and 0x100010 (note value \
             at byte 0xf4) (and 1 more)"
        ),
    );

    // A PVH entry point alone is enough; notes of other architectures are ignored.
    let mut elf = kernel_with_notes(&note(4, "Xen", 18, &entry), 4);
    elf.entry = 0;
    check(&elf.bytes(), &accepted.replace("elf64 0x100000, ", ""));
    elf.entry = 0x10_0000;
    elf.machine = EM_AARCH64;
    check(&elf.bytes(), &without.replace("x86_64", "aarch64"));
    // A position-independent PVH kernel stays where 32-bit code reaches it.
    elf.machine = EM_X86_64;
    elf.e_type = ET_DYN;
    let expected = format!("x86_64 little, 0x100000+n*0x200000 in 0x100000..0x100000000, {PVH_REST}");
    check(&elf.bytes(), &expected);
}

#[test]
fn the_notes_of_every_segment_count() {
    let pvh = notes(&note(4, "Xen", 18, &words(&[0x10_0008])), 4);
    let code = || load(0x10_0000, &[0x90; 0x20], 0x1000);
    let build_id = notes(&note(4, "GNU", 3, &[7; 20]), 4);
    let damaged = notes(&[0xff; 16], 4);
    let expected = format!(
        "x86_64 little, fixed, {}",
        PVH_REST.replace("0xb0..0xd0", "0xf0..0x110")
    );
    let with = |phdrs, expected: &str| check(&Elf::new(EM_X86_64, 0x10_0000, phdrs).bytes(), expected);
    with(vec![code(), build_id.clone(), pvh.clone()], &expected);
    with(vec![code(), pvh.clone(), build_id], &expected);
    // An error in one segment does not hide the others.
    let warning =
        "a note is ignored: the note at byte 0x110 ends past its PT_NOTE segment, which ends at byte 0x120";
    with(vec![code(), damaged, pvh], &format!("{expected}; {warning}"));
}

#[test]
fn pvh_in_a_32_bit_file() {
    let mut elf = Elf::new(
        EM_386,
        0x10_0000,
        vec![
            load(0x10_0000, &[0; 16], 16),
            notes(&note(4, "Xen", 18, &words(&[0x10_0004])), 4),
        ],
    );
    let expected = "x86_64 little, fixed, elf32 0x100000, pvh 0x100004, 0x100000..0x100010=0x80..0x90";
    check(&elf.bytes(), expected);
    elf.phdrs.swap(0, 1);
    check(&elf.bytes(), &expected.replace("0x80..0x90", "0x90..0xa0"));
}

#[test]
fn a_damaged_note_is_ignored_with_a_warning() {
    let without = X86_KERNEL.replace("0x80..0xa0", "0xb0..0xd0");
    let with = |data: &[u8], expected: &str| {
        check(
            &kernel_with_notes(data, 4).bytes(),
            &format!("{without}; a note is ignored: {expected}"),
        );
    };
    let past = "the note at byte 0xd0 ends past its PT_NOTE segment, which ends at byte";
    let bytes = note(4, "Xen", 18, &words(&[0x10_0008]));
    with(&bytes[..19], &format!("{past} 0xe3"));
    with(&bytes[..12], &format!("{past} 0xdc"));
    // `n_namesz`, then `n_descsz`.
    with(&patched(&bytes, 0, &[0xff; 4]), &format!("{past} 0xe4"));
    with(&patched(&bytes, 4, &[0xff; 4]), &format!("{past} 0xe4"));
    // The segment may not be extended by the bytes after it.
    let mut elf = kernel_with_notes(&bytes, 4);
    elf.phdrs.push(load(0x20_0000, &[0xff; 64], 64));
    let mut short = elf.bytes();
    let p_filesz = 64 + 56 + 32;
    assert_eq!(short[p_filesz], 20);
    short[p_filesz] = 18;
    let found = summary(&fmt_elf::parse(&short).unwrap().unwrap());
    let expected =
        "; a note is ignored: the note at byte 0x110 ends past its PT_NOTE segment, which ends at byte 0x122";
    assert!(found.ends_with(expected), "{found}");
    // The limit on the number of notes.
    let many = vec![0; 12 * 4096];
    check(&kernel_with_notes(&many, 4).bytes(), &without);
    with(
        &[many, vec![0; 12]].concat(),
        "the file has more than 4096 notes; those from byte 0xc0dc on are not read",
    );
}

#[test]
fn good_notes_before_a_damaged_one_count() {
    let accepted = format!("x86_64 little, fixed, {PVH_REST}");
    let pvh = note(4, "Xen", 18, &words(&[0x10_0008]));
    let mut long = note(4, "GNU", 3, &[0xaa; 16]);
    long[4..8].copy_from_slice(&0x100_u32.to_le_bytes());
    check(
        &kernel_with_notes(&[pvh.clone(), long].concat(), 4).bytes(),
        &format!(
            "{accepted}; a note is ignored: the note at byte 0xe4 ends past its PT_NOTE segment, which ends at byte 0x104"
        ),
    );
    // A segment that the file ends in, between notes, inside one, or before.
    let whole = kernel_with_notes(&pvh, 4).bytes();
    let cut = |p_offset: u64, p_filesz: u64, expected: &str| {
        let bytes = patched(&whole, 64 + 56 + 8, &p_offset.to_le_bytes());
        let bytes = patched(&bytes, 64 + 56 + 32, &p_filesz.to_le_bytes());
        let text = format!(
            "a note is ignored: the PT_NOTE segment of program header 1 ends past the end of the file: {p_filesz:#x} bytes \
             at offset {p_offset:#x} of a file of 0xe4 bytes"
        );
        check(&bytes, &format!("{expected}; {text}"));
    };
    let without = X86_KERNEL.replace("0x80..0xa0", "0xb0..0xd0");
    cut(0xd0, 21, &accepted);
    cut(0xd0, u64::MAX, &accepted);
    cut(0xd4, 20, &without);
    cut(0xe4, 1, &without);
    cut(u64::MAX, 1, &without);
}

#[test]
fn notes_are_read_by_the_alignment_of_their_content() {
    let accepted = format!("x86_64 little, fixed, {PVH_REST}");
    let pvh = |align| note(align, "Xen", 18, &words(&[0x10_0008]));
    let property = |align| note(align, "GNU", 5, &[0; 16]);
    let linux = |align| note(align, "Linux", 0x100, &[0; 4]);
    let found = |data: &[u8], p_align| {
        let image = fmt_elf::parse(&kernel_with_notes(data, p_align).bytes())
            .unwrap()
            .unwrap();
        summary(&image)
    };
    for p_align in [0, 4, 8] {
        for align in [4, 8] {
            // Sections of one alignment. The value of a note named "Linux" is at a different offset with each.
            for data in [
                [pvh(align), property(align)].concat(),
                [property(align), pvh(align)].concat(),
                [pvh(align), linux(align), property(align)].concat(),
                [linux(align), linux(align), pvh(align)].concat(),
                [linux(align), pvh(align), linux(align)].concat(),
            ] {
                assert_eq!(found(&data, p_align), accepted, "{p_align} {align} {data:02x?}");
            }
        }
        // A section of 4-byte steps before one of 8-byte steps, with padding between them.
        let mut mixed = [linux(4), pvh(4)].concat();
        mixed.resize(mixed.len().next_multiple_of(8), 0);
        mixed.extend([property(8), linux(8), pvh(8)].concat());
        assert_eq!(found(&mixed, p_align), accepted, "{p_align} {mixed:02x?}");
    }
}

#[test]
fn pvh_relocation() {
    let entry = note(4, "Xen", 18, &words(&[0x10_0008]));
    let with = |p_align: u64, reloc: &[u32]| {
        let mut elf = kernel_with_notes(&[note(4, "Xen", 19, &words(reloc)), entry.clone()].concat(), 4);
        elf.phdrs[0].align = p_align;
        match fmt_elf::parse(&elf.bytes()) {
            Ok(image) => match summary(&image.unwrap()).split_once(", elf64") {
                Some((rule, _)) => rule.replace("x86_64 little, ", ""),
                None => unreachable!(),
            },
            Err(error) => error.to_string(),
        }
    };
    // `elfnote.h`: 2 MiB, unless the note specifies another alignment or `p_align` is at least 4 KiB.
    assert_eq!(with(16, &[]), "0x0+n*0x200000 in 0x0..0x100000000");
    assert_eq!(with(0x1000, &[]), "0x0+n*0x1000 in 0x0..0x100000000");
    assert_eq!(with(0x1000, &[0x100_0000]), "0x0+n*0x1000000 in 0x0..0x100000000");
    assert_eq!(
        with(16, &[0x20_0000, 0x100_0000]),
        "0x0+n*0x200000 in 0x1000000..0x100000000"
    );
    // The last byte may lie at the maximum; further values of a longer note have no meaning.
    let full = "0x0+n*0x200000 in 0x1000000..0x40000000";
    assert_eq!(with(16, &[0x20_0000, 0x100_0000, 0x3fff_ffff]), full);
    assert_eq!(with(16, &[0x20_0000, 0x100_0000, 0x3fff_ffff, 7]), full);
    // Invalid constraints are ignored: the kernel can run at its link address.
    let fixed = |reloc: &[u32], text: &str| {
        let data = [note(4, "Xen", 19, &words(reloc)), entry.clone()].concat();
        check(
            &kernel_with_notes(&data, 4).bytes(),
            &format!("x86_64 little, fixed, {PVH_REST}; a note is ignored: {text}"),
        );
    };
    let align = "the alignment in the PVH relocation note at byte 0xe0 is";
    fixed(&[3], &format!("{align} 0x3, expected a power of two"));
    fixed(&[0], &format!("{align} 0x0, expected a power of two"));
    fixed(
        &[1, 9, 8],
        "the image does not fit between 0x9 and 0x9, the limits in the PVH relocation note",
    );

    // Notes of the same type by another name are ignored.
    let foreign = [note(4, "xen", 19, &[]), entry.clone()].concat();
    check(
        &kernel_with_notes(&foreign, 4).bytes(),
        &format!("x86_64 little, fixed, {PVH_REST}"),
    );
    // Without a PVH entry point the note has no effect.
    let lone = note(4, "Xen", 19, &[]);
    check(
        &kernel_with_notes(&lone, 4).bytes(),
        &X86_KERNEL.replace("0x80..0xa0", "0xb0..0xd0"),
    );
    // The same constraints twice, and others.
    check(
        &kernel_with_notes(&[lone.clone(), lone.clone()].concat(), 4).bytes(),
        &X86_KERNEL.replace("0x80..0xa0", "0xb0..0xd0"),
    );
    let narrow = note(4, "Xen", 19, &words(&[0x1000]));
    check(
        &kernel_with_notes(&[narrow, lone, entry].concat(), 4).bytes(),
        &format!(
            "x86_64 little, 0x0+n*0x1000 in 0x0..0x100000000, {PVH_REST}; a note is ignored: there is a second PVH \
             relocation note at byte 0xf4 with another value"
        ),
    );
}
