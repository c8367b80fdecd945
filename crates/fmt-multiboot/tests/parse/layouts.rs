//! Segments and entry points by load addresses, by ELF headers, and by both.

use crate::writer::{Addresses, file, tag, v1, v1_at, v2, v2_tags_at};
use crate::{check, segments};
use fmt_test::elf::{EM_386, EM_AARCH64, EM_X86_64, ET_DYN, Elf, Phdr, load, note, notes, words};

const MIB: u32 = 0x10_0000;

/// A file of 0x400 bytes with a header of either version at 0x40.
fn check_addresses(at: Addresses, expected: &str) {
    check(
        &file(0x400, 0x40, &v1_at(at)),
        &expected.replace("AT", "0x4c").replace("ENTRY", "0x5c"),
    );
    let second = expected.replace("multiboot ", "multiboot2 ");
    let field = |text: &str, offset: u32| text.replace("AT", &format!("{:#x}", 0x58 + offset));
    check(
        &file(0x400, 0x40, &v2(&v2_tags_at(at))),
        &field(&second, 0).replace("ENTRY", "0x70"),
    );
}

#[test]
fn load_addresses_determine_the_segment() {
    let at = |header, load, load_end, bss_end, entry| Addresses {
        header,
        load,
        load_end,
        bss_end,
        entry,
    };
    let check = |addresses, expected: &str| check_addresses(addresses, expected);
    check(
        at(MIB + 0x40, MIB, 0, 0, MIB),
        "fixed, multiboot 0x100000, 0x100000..0x100400=0x0..0x400",
    );
    check(
        at(MIB, MIB, 0, 0, MIB + 0x3bf),
        "fixed, multiboot 0x1003bf, 0x100000..0x1003c0=0x40..0x400",
    );
    check(
        at(MIB + 0x20, MIB, MIB + 0x100, 0, MIB),
        "fixed, multiboot 0x100000, 0x100000..0x100100=0x20..0x120",
    );
    check(
        at(MIB + 0x20, MIB, MIB + 0x3e0, MIB + 0x1000, MIB + 0xfff),
        "fixed, multiboot 0x100fff, 0x100000..0x101000=0x20..0x400",
    );
    check(
        at(MIB, MIB, MIB + 1, MIB + 1, MIB),
        "fixed, multiboot 0x100000, 0x100000..0x100001=0x40..0x41",
    );
    check(
        at(0xffff_fc40, 0xffff_fc40, 0xffff_fffe, 0xffff_ffff, 0xffff_fffe),
        "fixed, multiboot 0xfffffffe, 0xfffffc40..0xffffffff=0x40..0x3fe",
    );
}

#[test]
fn addresses_that_contradict_each_other_are_refused() {
    let good = Addresses {
        header: MIB + 0x40,
        load: MIB,
        load_end: 0,
        bss_end: 0,
        entry: MIB,
    };
    let one = |change: fn(&mut Addresses), v1_offset: u32, v2_offset: u32, expected: &str| {
        let mut at = good;
        change(&mut at);
        let place = |offset: u32| expected.replace("AT", &format!("{offset:#x}"));
        check(&file(0x400, 0x40, &v1_at(at)), &place(v1_offset));
        check(&file(0x400, 0x40, &v2(&v2_tags_at(at))), &place(v2_offset));
    };
    one(
        |at| at.header = MIB - 1,
        0x4c,
        0x58,
        "Malformed: `header_addr` at byte AT is 0xfffff, expected 0x100000 or more",
    );
    one(
        |at| at.load = MIB - 1,
        0x50,
        0x5c,
        "Malformed: `load_addr` at byte AT is 0xfffff, expected 0x100000 or more",
    );
    one(
        |at| at.load_end = MIB,
        0x54,
        0x60,
        "Malformed: `load_end_addr` at byte AT is 0x100000, expected 0x100001 or more",
    );
    one(
        |at| at.load_end = MIB + 0x401,
        0x54,
        0x60,
        "Malformed: `load_end_addr` at byte AT is 0x100401, expected 0x100400 or less",
    );
    one(
        |at| at.bss_end = MIB + 0x3ff,
        0x58,
        0x64,
        "Malformed: `bss_end_addr` at byte AT is 0x1003ff, expected 0x100400 or more",
    );
    one(
        |at| at.entry = MIB + 0x400,
        0x5c,
        0x70,
        "Malformed: `entry_addr` at byte AT is 0x100400, expected an address in the loaded memory, 0x100000..0x100400",
    );
    one(
        |at| at.entry = MIB - 1,
        0x5c,
        0x70,
        "Malformed: `entry_addr` at byte AT is 0xfffff, expected an address in the loaded memory, 0x100000..0x100400",
    );
}

#[test]
fn multiboot2_can_load_the_whole_file() {
    let at = |header| Addresses {
        header,
        load: u32::MAX,
        load_end: 0,
        bss_end: MIB + 0x1000,
        entry: MIB,
    };
    check(
        &file(0x400, 0x40, &v2(&v2_tags_at(at(MIB + 0x40)))),
        "fixed, multiboot2 0x100000, 0x100000..0x101000=0x0..0x400",
    );
    check(
        &file(0x400, 0x40, &v2(&v2_tags_at(at(0x3f)))),
        "Malformed: `header_addr` at byte 0x58 is 0x3f, expected 0x40 or more",
    );
}

/// An ELF file with `header` as the first bytes of its first segment, at 1 MiB, and zeros behind its second, at 2 MiB.
fn elf(machine: u16, header: &[u8], more: &[Phdr]) -> Elf {
    let first = [header, &[0x90; 16]].concat();
    let mut parts = vec![
        load(MIB.into(), &first, 0x1000),
        load(u64::from(2 * MIB), &[1; 16], 0x1000),
    ];
    parts.extend_from_slice(more);
    Elf::new(machine, MIB.into(), parts)
}

fn pvh() -> Phdr {
    notes(&note(4, "Xen", 18, &words(&[MIB + 8])), 4)
}

#[test]
fn an_elf_file_keeps_its_entry_points() {
    let check = |elf: &Elf, entries: &str| {
        let bytes = elf.bytes();
        let elf = fmt_elf::parse(&bytes).unwrap().unwrap();
        check(&bytes, &format!("{entries}{}", segments(&elf)));
    };
    let first = v1(3, &[]);
    check(
        &elf(EM_386, &first, &[]),
        "fixed, multiboot 0x100000, elf32 0x100000",
    );
    check(
        &elf(EM_X86_64, &first, &[pvh()]),
        "fixed, elf64 0x100000, pvh 0x100008, multiboot 0x100000",
    );
    check(
        &elf(EM_X86_64, &v2(&[]), &[pvh()]),
        "fixed, elf64 0x100000, pvh 0x100008, multiboot2 0x100000",
    );
    check(
        &elf(EM_X86_64, &v2(&[tag(3, 0, &[2 * MIB])]), &[]),
        "fixed, multiboot2 0x200000, elf64 0x100000",
    );
    let both = [v2(&[tag(10, 0, &[MIB, u32::MAX, 0x1000, 2])]), first].concat();
    check(
        &elf(EM_386, &both, &[]),
        "fixed, multiboot2 0x100000, multiboot 0x100000, elf32 0x100000",
    );
    let mut moved = elf(EM_X86_64, &v2(&[]), &[]);
    moved.e_type = ET_DYN;
    check(&moved, "relocatable, multiboot2 0x100000, elf64 0x100000");
}

#[test]
fn elf_files_that_do_not_fit_are_refused_or_left_to_others() {
    check(
        &elf(EM_AARCH64, &v1(3, &[]), &[]).bytes(),
        "not a Multiboot image",
    );
    check(
        &elf(EM_X86_64, &v2(&[tag(3, 0, &[3 * MIB])]), &[]).bytes(),
        &format!(
            "Malformed: `entry_addr` at byte {:#x} is 0x300000, expected an address in the loaded memory, 0x100000..0x201000",
            0xb0 + 16 + 8
        ),
    );
    check(
        &elf(EM_X86_64, &v2(&[tag(3, 0, &[MIB + 0x8000])]), &[]).bytes(),
        "Malformed: the Multiboot file is not a valid kernel image: the multiboot2 entry point 0x108000 is in no segment",
    );
    let mut no_entry = elf(EM_X86_64, &v1(3, &[]), &[pvh()]);
    no_entry.entry = 0;
    check(
        &no_entry.bytes(),
        "fixed, pvh 0x100008, 0x100000..0x101000=0xf0..0x10c, 0x200000..0x201000=0x110..0x120; the Multiboot header is malformed \
         and ignored; the kernel has a PVH entry point",
    );
    no_entry.phdrs.pop();
    check(
        &no_entry.bytes(),
        "Malformed: the file has a Multiboot header without load addresses, and its ELF headers are invalid or unsupported: \
         `e_entry` at byte 0x18 is 0 and there is no PVH entry note: the file has no entry point",
    );
    // A header that ends inside a tag, and one for MIPS.
    let headers_ignored = |header: &[u8], kind: &str| {
        let pvh = elf(EM_X86_64, header, &[pvh()]).bytes();
        let image = fmt_multiboot::parse(&pvh).unwrap().unwrap();
        assert_eq!(
            image.warnings().last().unwrap().to_string(),
            format!("the Multiboot header is {kind} and ignored; the kernel has a PVH entry point")
        );
        assert_eq!(image.entries().len(), 2);
        fmt_multiboot::parse(&elf(EM_X86_64, header, &[]).bytes()).unwrap_err();
    };
    let endless = words(&[0xe852_50d6, 0, 20, 0u32.wrapping_sub(0xe852_50d6 + 20), 0]);
    headers_ignored(&endless, "malformed");
    let mips = words(&[0xe852_50d6, 4, 24, 0u32.wrapping_sub(0xe852_50d6 + 28), 0, 8]);
    headers_ignored(&mips, "not supported");
    let mut object = elf(EM_X86_64, &v1(3, &[]), &[]);
    object.e_type = 1;
    check(
        &object.bytes(),
        "Unsupported: the file has a Multiboot header without load addresses, and its ELF headers are invalid or unsupported: \
         an object file or kernel module (`e_type` at byte 0x10 is ET_REL), not a linked kernel",
    );
}

/// An ELF64 file of one segment whose header has addresses; `change` makes them differ from the ELF headers.
pub(crate) fn with_addresses(more: &[Phdr], change: fn(&mut Addresses)) -> Vec<u8> {
    let mut at = Addresses {
        header: MIB,
        load: MIB,
        load_end: MIB + 0x40,
        bss_end: MIB + 0x1000,
        entry: MIB + 4,
    };
    change(&mut at);
    let data = file(0x40, 0, &v1_at(at));
    let mut parts = vec![load(MIB.into(), &data, 0x1000)];
    parts.extend_from_slice(more);
    Elf::new(EM_X86_64, MIB.into(), parts).bytes()
}

#[test]
fn entry_points_of_equal_layouts_are_kept() {
    check(
        &with_addresses(&[], |_| {}),
        "fixed, multiboot 0x100004, elf64 0x100000, 0x100000..0x101000=0x80..0xc0",
    );
    // A longer BSS and more bytes of the file do not conflict.
    check(
        &with_addresses(&[pvh()], |at| at.bss_end += 0x1000),
        "fixed, elf64 0x100000, pvh 0x100008, multiboot 0x100004, 0x100000..0x102000=0xb0..0xf0",
    );
    check(
        &with_addresses(&[], |at| at.load -= 0x80),
        "fixed, multiboot 0x100004, elf64 0x100000, 0xfff80..0x101000=0x0..0xc0",
    );
}

#[test]
fn entry_points_of_other_layouts_are_left_out() {
    let left_out = |abi: &str| {
        format!(
            "; the {abi} entry point is left out: its load addresses conflict with those of the preferred entry point"
        )
    };
    let check = |bytes: &[u8], expected: &str, out: &[&str]| {
        let out: String = out.iter().map(|abi| left_out(abi)).collect();
        check(bytes, &format!("{expected}{out}"));
    };
    // Other addresses in memory.
    check(
        &with_addresses(&[], |at| {
            for addr in [
                &mut at.header,
                &mut at.load,
                &mut at.load_end,
                &mut at.bss_end,
                &mut at.entry,
            ] {
                *addr += 0x10;
            }
        }),
        "fixed, multiboot 0x100014, 0x100010..0x101010=0x80..0xc0",
        &["elf64"],
    );
    // Fewer bytes of the file.
    check(
        &with_addresses(&[], |at| at.load_end -= 1),
        "fixed, multiboot 0x100004, 0x100000..0x101000=0x80..0xbf",
        &["elf64"],
    );
    // File content where the ELF headers have zeros.
    check(
        &with_addresses(&[notes(&note(4, "GNU", 3, &[7; 16]), 4)], |at| at.load_end += 8),
        "fixed, multiboot 0x100004, 0x100000..0x101000=0xb0..0xf8",
        &["elf64"],
    );
    // A PVH entry point is preferred to that of the header.
    check(
        &with_addresses(&[pvh()], |at| at.load_end -= 1),
        "fixed, elf64 0x100000, pvh 0x100008, 0x100000..0x101000=0xb0..0xf0",
        &["multiboot"],
    );
}

#[test]
fn load_addresses_replace_invalid_elf_headers() {
    let mut bytes = with_addresses(&[], |_| {});
    bytes[16] = 1;
    check(&bytes, "fixed, multiboot 0x100004, 0x100000..0x101000=0x80..0xc0");
}

#[test]
fn the_layouts_of_both_versions_can_differ() {
    let at = |base: u32| Addresses {
        header: base,
        load: base,
        load_end: 0,
        bss_end: 0,
        entry: base,
    };
    let mut bytes = file(0x400, 0, &v1_at(at(MIB)));
    let second = v2(&v2_tags_at(Addresses {
        header: 2 * MIB + 0x40,
        load: 2 * MIB,
        ..at(2 * MIB)
    }));
    bytes[0x40..0x40 + second.len()].copy_from_slice(&second);
    check(
        &bytes,
        "fixed, multiboot2 0x200000, 0x200000..0x200400=0x0..0x400; the multiboot entry point is left out: its load addresses \
         conflict with those of the preferred entry point",
    );
}
