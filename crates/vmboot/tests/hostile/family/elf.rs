//! ELF files of both classes and byte orders (gABI, chapters "ELF Header" and "Program Header"), with notes.

use fmt_test::elf::{
    EM_386, EM_AARCH64, EM_RISCV, EM_X86_64, ET_DYN, Elf, Phdr, load, note, notes, position_independent,
    words,
};

use crate::change::{Base, Field, Sink, bytes, moved};

/// `Elf64_Ehdr` behind `e_ident`.
const EHDR64: [Field; 13] = [
    ("e_type", 16, 2),
    ("e_machine", 18, 2),
    ("e_version", 20, 4),
    ("e_entry", 24, 8),
    ("e_phoff", 32, 8),
    ("e_shoff", 40, 8),
    ("e_flags", 48, 4),
    ("e_ehsize", 52, 2),
    ("e_phentsize", 54, 2),
    ("e_phnum", 56, 2),
    ("e_shentsize", 58, 2),
    ("e_shnum", 60, 2),
    ("e_shstrndx", 62, 2),
];

/// `Elf32_Ehdr` behind `e_ident`.
const EHDR32: [Field; 13] = [
    ("e_type", 16, 2),
    ("e_machine", 18, 2),
    ("e_version", 20, 4),
    ("e_entry", 24, 4),
    ("e_phoff", 28, 4),
    ("e_shoff", 32, 4),
    ("e_flags", 36, 4),
    ("e_ehsize", 40, 2),
    ("e_phentsize", 42, 2),
    ("e_phnum", 44, 2),
    ("e_shentsize", 46, 2),
    ("e_shnum", 48, 2),
    ("e_shstrndx", 50, 2),
];

/// `Elf64_Phdr`.
const PHDR64: [Field; 8] = [
    ("p_type", 0, 4),
    ("p_flags", 4, 4),
    ("p_offset", 8, 8),
    ("p_vaddr", 16, 8),
    ("p_paddr", 24, 8),
    ("p_filesz", 32, 8),
    ("p_memsz", 40, 8),
    ("p_align", 48, 8),
];

/// `Elf32_Phdr`.
const PHDR32: [Field; 8] = [
    ("p_type", 0, 4),
    ("p_flags", 24, 4),
    ("p_offset", 4, 4),
    ("p_vaddr", 8, 4),
    ("p_paddr", 12, 4),
    ("p_filesz", 16, 4),
    ("p_memsz", 20, 4),
    ("p_align", 28, 4),
];

/// Section header 0 of a 64-bit file, whose `sh_info` is the number of program headers.
const SHDR64: [Field; 4] = [
    ("sh_type", 4, 4),
    ("sh_offset", 24, 8),
    ("sh_size", 32, 8),
    ("sh_info", 44, 4),
];

/// Header of a note.
const NOTE: [Field; 3] = [("n_namesz", 0, 4), ("n_descsz", 4, 4), ("n_type", 8, 4)];

/// Three notes: another owner's, a PVH entry point and the PVH relocation constraints.
fn three_notes() -> [Vec<u8>; 3] {
    [
        note(4, "GNU", 3, &[0xab; 20]),
        note(4, "Xen", 18, &words(&[0x10_0010])),
        note(4, "Xen", 19, &words(&[0x20_0000, 0x10_0000, 0x3ff_ffff])),
    ]
}

/// A kernel at `base` with code, zeros and notes.
fn kernel(machine: u16, base: u64) -> Elf {
    let code: Vec<_> = (0..0x280_u32).map(|at| at.to_le_bytes()[0] | 1).collect();
    let parts = vec![
        load(base, &code, 0x1000),
        load(base + 0x10_0000, &[7; 0x33], 0x4000),
        notes(&three_notes().concat(), 4),
    ];
    Elf::new(machine, base, parts)
}

/// All files.
pub(crate) fn make(sink: &mut Sink<'_>) {
    let mut big_endian = kernel(EM_AARCH64, 0x8020_0000);
    big_endian.big_endian = true;
    let mut counted = kernel(EM_X86_64, 0x10_0000);
    counted.xnum = true;
    let mut dynamic = kernel(EM_X86_64, 0x10_0000);
    dynamic.e_type = ET_DYN;
    for (name, elf) in [
        ("x86_64", kernel(EM_X86_64, 0x10_0000)),
        ("i386", kernel(EM_386, 0x10_0000)),
        ("arm64", kernel(EM_AARCH64, 0x8020_0000)),
        ("arm64 big-endian", big_endian),
        ("riscv64", kernel(EM_RISCV, 0x8020_0000)),
        ("counted", counted),
        ("dynamic", dynamic),
    ] {
        headers(name, &elf, sink);
    }
    overlaps(sink);
    relocations(sink);
    many_headers(sink);
}

/// All fields of the headers of a file, and its truncations.
fn headers(name: &str, elf: &Elf, sink: &mut Sink<'_>) {
    let (file, offsets) = elf.write();
    let base = Base {
        is_big_endian: elf.big_endian,
        ..Base::new(name, &file)
    };
    let (ehdr, phdr) = if elf.bits64 {
        (EHDR64, PHDR64)
    } else {
        (EHDR32, PHDR32)
    };
    let (ehdr_len, phdr_len) = if elf.bits64 { (64, 56) } else { (52, 32) };
    base.edges_of(&[("e_ident", 0, 4)], sink);
    base.edges_of(&bytes(4, 16), sink);
    base.edges_of(&ehdr, sink);
    for index in 0..elf.phdrs.len() {
        let phdr = moved(&phdr, ehdr_len + index * phdr_len);
        base.edges_of(&phdr, sink);
        if matches!(name, "x86_64" | "i386" | "arm64 big-endian") {
            let (offset, paddr, filesz, memsz) = (phdr[2], phdr[4], phdr[5], phdr[6]);
            base.pairs_of(&[[offset, filesz], [filesz, memsz], [paddr, memsz]], sink);
        }
    }
    let table_end = ehdr_len + elf.phdrs.len() * phdr_len;
    if elf.xnum {
        base.edges_of(&moved(&SHDR64, table_end), sink);
    }
    let [_, _, _, _, phoff, .., phentsize, phnum, _, _, _] = ehdr;
    base.pairs_of(&[[phoff, phnum], [phentsize, phnum]], sink);
    base.truncations(table_end + 1, sink);

    let mut at = usize::try_from(offsets[2]).unwrap();
    for bytes in three_notes() {
        let note = moved(&NOTE, at);
        base.edges_of(&note, sink);
        base.pairs_of(&[[note[0], note[1]]], sink);
        // The value: an entry point, or addresses.
        base.edges_of(&[("desc", at + 16, 4)], sink);
        at += bytes.len();
    }
}

/// A segment that touches or overlaps another one by a few bytes, at both ends, with and without bytes in the file.
fn overlaps(sink: &mut Sink<'_>) {
    for distance in [
        -0x4001_i64,
        -0x4000,
        -0x3fff,
        -1,
        0,
        1,
        0x27f,
        0x280,
        0x281,
        0xfff,
        0x1000,
        0x1001,
    ] {
        for data in [&[][..], &[9; 0x100]] {
            let addr = 0x40_0000_u64.wrapping_add_signed(distance);
            let parts = vec![load(0x40_0000, &[1; 0x280], 0x1000), load(addr, data, 0x4000)];
            sink(
                &format!("overlap {distance} {}", data.len()),
                Elf::new(EM_X86_64, 0x40_0000, parts).bytes(),
            );
        }
    }
}

/// A position-independent kernel with relocations, and its dynamic section.
fn relocations(sink: &mut Sink<'_>) {
    let entries = [
        [0x8020_0000, 0x403, 0x8020_0010],
        [0x8020_0008, 0x403, 0x8020_0020],
    ];
    let elf = position_independent(EM_AARCH64, false, 0x8020_0000, &entries);
    let (file, offsets) = elf.write();
    let base = Base::new("relocations", &file);
    let [table, dynamic] = [offsets[0] + 0x40, offsets[1]].map(|at| usize::try_from(at).unwrap());
    for at in (0..48).step_by(8) {
        base.edges_of(&[("rela", table + at, 8)], sink);
    }
    for at in (0..64).step_by(8) {
        base.edges_of(&[("dynamic", dynamic + at, 8)], sink);
    }
}

/// Tables with many headers: as many segments as there is room for, all of them the same, all headers in each other, and segments in the wrong order.
fn many_headers(sink: &mut Sink<'_>) {
    let many = |count: u64, place: &dyn Fn(u64) -> Phdr| {
        let mut elf = Elf::new(EM_X86_64, 0x10_0000, (0..count).map(place).collect());
        elf.xnum = count > 0xff00;
        elf.bytes()
    };
    for count in [2, 64, 65, 1000, 0xffff, 0x1_0000] {
        sink(
            &format!("{count} ascending"),
            many(count, &|at| load(0x10_0000 + at * 16, &[], 16)),
        );
        sink(
            &format!("{count} descending"),
            many(count, &|at| load(0x50_0000 - at * 16, &[], 16)),
        );
        sink(
            &format!("{count} equal"),
            many(count, &|_| load(0x10_0000, &[], 16)),
        );
        sink(&format!("{count} notes"), many(count, &|_| notes(&[0; 12], 4)));
    }
}
