//! Notes, and the PVH entry point and relocation.

use crate::elf_writer::*;
use crate::{X86_KERNEL, check, kernel_with_notes, patched, summary};

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

    with(
        &note(4, "Xen", 18, &[0; 2]),
        4,
        "the PVH entry note at byte 0xe0 has a value of 2 bytes, expected 4 or 8",
    );
    let outside = |entry: u64| {
        format!(
            "the PVH entry point {entry:#x} (note value at byte 0xe0) is not a physical address below 4 GiB in any segment"
        )
    };
    with(&note(4, "Xen", 18, &words(&[0x10_1000])), 4, &outside(0x10_1000));
    with(
        &note(4, "Xen", 18, &words(&[0x10_0008, 1])),
        4,
        &outside(0x1_0010_0008),
    );
    with(
        &[
            note(4, "Xen", 18, &entry),
            note(4, "Xen", 18, &words(&[0x10_0010])),
        ]
        .concat(),
        4,
        "the file has two different PVH entry points: 0x100008 and 0x100010 (note value at byte 0xf4)",
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
fn notes_stay_inside_their_segment() {
    let with = |data: &[u8], expected: &str| check(&kernel_with_notes(data, 4).bytes(), expected);
    let past = "the note at byte 0xd0 ends past its PT_NOTE segment, which ends at byte";
    let bytes = note(4, "Xen", 18, &words(&[0x10_0008]));
    with(&bytes[..19], &format!("{past} 0xe3"));
    with(&bytes[..12], &format!("{past} 0xdc"));
    // `n_namesz`, then `n_descsz`.
    with(&patched(&bytes, 0, &[0xff; 4]), &format!("{past} 0xe4"));
    with(&patched(&bytes, 4, &[0xff; 4]), &format!("{past} 0xe4"));
    let mut elf = kernel_with_notes(&bytes, 4);
    elf.phdrs.push(load(0x20_0000, &[0xff; 64], 64));
    let mut short = elf.bytes();
    let p_filesz = 64 + 56 + 32;
    assert_eq!(short[p_filesz], 20);
    short[p_filesz] = 18;
    check(
        &short,
        "the note at byte 0x110 ends past its PT_NOTE segment, which ends at byte 0x122",
    );
    short[p_filesz + 6] = 1;
    check(
        &short,
        "the segment of program header 1 ends past the end of the file: 0x1000000000012 bytes at offset 0x110 (`p_offset` at \
         byte 0x80) of a file of 0x170 bytes; is the file truncated?",
    );
    // The limit on the number of notes.
    let many = vec![0; 12 * 4096];
    with(&many, &X86_KERNEL.replace("0x80..0xa0", "0xb0..0xd0"));
    with(
        &[many, vec![0; 12]].concat(),
        "unsupported: the file has more than 4096 notes (the name of the next one is at byte 0xc0dc)",
    );
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
    assert_eq!(
        with(16, &[3]),
        "`PHYS32_RELOC alignment` at byte 0xe0 is 0x3, expected a power of two"
    );
    assert_eq!(
        with(16, &[0]),
        "`PHYS32_RELOC alignment` at byte 0xe0 is 0x0, expected a power of two"
    );
    assert_eq!(with(16, &[1, 9, 8]), "the ELF file is not a valid kernel image");

    // Notes of the same type by another name are ignored.
    let foreign = [note(4, "xen", 19, &[]), entry].concat();
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
    check(
        &kernel_with_notes(&[lone.clone(), lone].concat(), 4).bytes(),
        "there is a second PVH relocation note at byte 0xf0",
    );
}
