//! Seeds for the Multiboot parser, from the writer that its tests use.

#[path = "../../../crates/fmt-multiboot/tests/parse/writer.rs"]
mod writer;

use fmt_test::elf::{EM_386, EM_X86_64, Elf, Phdr, load, note, notes, words};
use writer::{Addresses, file, tag, v1, v1_at, v2, v2_tags_at};

use crate::seed::Seed;

const BASE: u32 = 0x10_0000;

/// One small file for each version, each kind of file, and each tag.
pub(crate) fn seeds() -> Vec<Seed> {
    let at = Addresses {
        header: BASE,
        load: BASE,
        load_end: BASE + 0x80,
        bss_end: BASE + 0x1000,
        entry: BASE + 4,
    };
    let tags = [
        tag(1, 0, &[4, 6]),
        tag(1, 1, &[8, 9]),
        tag(4, 1, &[3]),
        tag(5, 1, &[1024, 768, 32]),
        tag(6, 0, &[]),
        tag(7, 0, &[]),
        tag(8, 1, &[BASE]),
        tag(9, 1, &[BASE]),
        tag(10, 1, &[BASE, u32::MAX, 0x1000, 2]),
    ];
    let both = [v2(&tags), v1(3, &[])].concat();
    let pvh = notes(&note(4, "Xen", 18, &words(&[BASE + 8])), 4);
    vec![
        ("v1-addresses", file(0x100, 0, &v1_at(at))),
        (
            "v1-video",
            file(0x100, 0, &v1(0x1_0004, &[BASE, BASE, 0, 0, BASE, 1, 80, 25, 0])),
        ),
        ("v2-addresses", file(0x100, 0, &v2(&v2_tags_at(at)))),
        ("v1-elf32", elf(EM_386, &v1(3, &[]), &[])),
        ("v2-elf64", elf(EM_X86_64, &v2(&tags), &[])),
        ("both-elf32", elf(EM_386, &both, &[])),
        (
            "v1-elf64-pvh",
            elf(EM_X86_64, &v1(3, &[]), std::slice::from_ref(&pvh)),
        ),
        ("v1-elf64-addresses", elf(EM_X86_64, &v1_at(at), &[])),
        ("v1-elf64-pvh-addresses", elf(EM_X86_64, &v1_at(at), &[pvh])),
        ("v2-elf64-addresses", elf(EM_X86_64, &v2(&v2_tags_at(at)), &[])),
    ]
}

/// An ELF file that begins with `header` in memory.
fn elf(machine: u16, header: &[u8], more: &[Phdr]) -> Vec<u8> {
    let mut data = header.to_vec();
    data.resize(0x80, 0x90);
    let mut parts = vec![load(BASE.into(), &data, 0x1000)];
    parts.extend_from_slice(more);
    Elf::new(machine, BASE.into(), parts).bytes()
}
