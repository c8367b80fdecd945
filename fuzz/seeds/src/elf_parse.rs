//! Seeds for the ELF parser, from the writer that its tests use.

use fmt_test::elf::{EM_386, EM_AARCH64, EM_RISCV, EM_X86_64, ET_DYN, Elf, Phdr, load, note, notes, words};

use crate::seed::Seed;

/// One small file for every class, byte order, machine and feature that the parser supports.
pub(crate) fn seeds() -> Vec<Seed> {
    let plain = |machine| Elf::new(machine, 0x10_0000, segments());
    let with = |change: fn(&mut Elf)| {
        let mut elf = plain(EM_X86_64);
        change(&mut elf);
        elf.bytes()
    };
    let mut big_endian = plain(EM_AARCH64);
    big_endian.big_endian = true;
    let mut i386 = plain(EM_386);
    i386.phdrs.push(pvh_notes(4));
    vec![
        ("x86-64", plain(EM_X86_64).bytes()),
        ("i386-pvh", i386.bytes()),
        ("arm64", plain(EM_AARCH64).bytes()),
        ("arm64-big-endian", big_endian.bytes()),
        ("riscv64", plain(EM_RISCV).bytes()),
        ("pvh-4", with(|elf| elf.phdrs.push(pvh_notes(4)))),
        ("pvh-8", with(|elf| elf.phdrs.push(pvh_notes(8)))),
        (
            "pvh-merged",
            with(|elf| {
                let merged = [
                    note(4, "Xen", 18, &words(&[0x10_0000])),
                    note(4, "Linux", 0x100, &[0; 4]),
                ];
                elf.phdrs.push(notes(&merged.concat(), 8));
            }),
        ),
        ("position-independent", with(|elf| elf.e_type = ET_DYN)),
        ("header-count-in-section", with(|elf| elf.xnum = true)),
        (
            "high-virtual-addresses",
            with(|elf| {
                for phdr in &mut elf.phdrs {
                    phdr.vaddr += 0xffff_ffff_8000_0000;
                }
                elf.entry += 0xffff_ffff_8000_0000;
            }),
        ),
        (
            "user-program",
            with(|elf| {
                let interpreter = Phdr {
                    p_type: 3,
                    ..notes(b"/lib/ld.so\0", 1)
                };
                elf.phdrs.insert(0, interpreter);
            }),
        ),
        (
            "kernel-with-interpreter",
            with(|elf| {
                let interpreter = Phdr {
                    p_type: 3,
                    ..notes(b"/red/herring\0", 1)
                };
                elf.phdrs.extend([interpreter, pvh_notes(4)]);
            }),
        ),
        (
            "static-user-program",
            with(|elf| {
                elf.e_type = ET_DYN;
                elf.phdrs.push(notes(&note(4, "GNU", 1, &[0; 16]), 4));
            }),
        ),
    ]
}

/// Code, and a segment of zeros above it.
fn segments() -> Vec<Phdr> {
    vec![load(0x10_0000, &[0x90; 32], 0x1000), load(0x20_0000, &[], 0x4000)]
}

/// A note of another name, a PVH entry point and PVH relocation constraints.
fn pvh_notes(align: u8) -> Phdr {
    let bytes = [
        note(align.into(), "GNU", 3, &[0xab; 20]),
        note(align.into(), "Xen", 18, &words(&[0x10_0010])),
        note(
            align.into(),
            "Xen",
            19,
            &words(&[0x20_0000, 0x10_0000, 0x3fff_ffff]),
        ),
    ];
    notes(&bytes.concat(), align.into())
}
