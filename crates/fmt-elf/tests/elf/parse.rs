//! Accepted files and every error of the parser, with its text.

use crate::{X86_KERNEL, check, kernel, patched, summary};
use fmt_test::elf::*;

#[test]
fn every_machine_class_and_byte_order() {
    check(&kernel().bytes(), X86_KERNEL);

    let code = vec![load(0x4000_0000, &[0; 8], 8)];
    let mut arm64 = Elf::new(EM_AARCH64, 0x4000_0004, code.clone());
    let segment = "0x40000000..0x40000008=0x80..0x88";
    check(
        &arm64.bytes(),
        &format!("aarch64 little, fixed, elf64 0x40000004, {segment}"),
    );
    arm64.big_endian = true;
    check(
        &arm64.bytes(),
        &format!("aarch64 big, fixed, elf64 0x40000004, {segment}"),
    );
    let riscv64 = Elf::new(EM_RISCV, 0x4000_0000, code.clone());
    check(
        &riscv64.bytes(),
        &format!("riscv64 little, fixed, elf64 0x40000000, {segment}"),
    );
    let i386 = Elf::new(EM_386, 0x4000_0000, code);
    check(
        &i386.bytes(),
        "x86_64 little, fixed, elf32 0x40000000, 0x40000000..0x40000008=0x60..0x68",
    );
}

#[test]
fn a_vmlinux_without_physical_addresses_gives_a_warning() {
    let check = |machine, e_type, base: u64, expected: &str| {
        let elf = Elf {
            e_type,
            ..Elf::new(machine, base, vec![load(base, &[0; 8], 8)])
        };
        check(&elf.bytes(), expected);
    };
    let warning = |base: u64| {
        format!(
            "; the lowest `p_paddr` is {base:#x}, a virtual address, as in a Linux vmlinux; boot the Image that was made from it \
             instead, which also specifies how much memory the kernel needs"
        )
    };
    // Link addresses of current arm64 and riscv64 kernels.
    let (arm64, riscv64) = (0xffff_8000_8000_0000, 0xffff_ffff_8000_0000);
    check(
        EM_AARCH64,
        ET_DYN,
        arm64,
        &format!(
            "aarch64 little, 0x0+n*0x200000 in 0x100000..0xffffffffffffffff, elf64 0xffff800080000000, \
             0xffff800080000000..0xffff800080000008=0x80..0x88{}",
            warning(arm64)
        ),
    );
    check(
        EM_RISCV,
        ET_EXEC,
        riscv64,
        &format!(
            "riscv64 little, fixed, elf64 0xffffffff80000000, 0xffffffff80000000..0xffffffff80000008=0x80..0x88{}",
            warning(riscv64)
        ),
    );
    let edge = 0x7fff_ffff_ffff_fff8;
    check(
        EM_RISCV,
        ET_EXEC,
        edge,
        "riscv64 little, fixed, elf64 0x7ffffffffffffff8, 0x7ffffffffffffff8..0x8000000000000000=0x78..0x80",
    );
    check(
        EM_X86_64,
        ET_EXEC,
        riscv64,
        "x86_64 little, fixed, elf64 0xffffffff80000000, 0xffffffff80000000..0xffffffff80000008=0x80..0x88; the lowest \
         `p_paddr` is 0xffffffff80000000, a virtual address; the linker script of the kernel must specify physical load \
         addresses (`AT`)",
    );
}

#[test]
fn other_files_and_other_machines() {
    check(b"", "not an ELF file");
    check(b"\x7fEL", "not an ELF file");
    check(b"MZ\x90\x00 and so on", "not an ELF file");
    let bytes = kernel().bytes();
    let cut = |len: usize, need: u64| {
        check(
            &bytes[..len],
            &format!(
                "the ELF header ends past the end of the file: {need:#x} bytes at offset 0x0 (`e_ident` at byte 0x0) of a \
                 file of {len:#x} bytes; is the file truncated?"
            ),
        );
    };
    cut(4, 16);
    cut(15, 16);
    cut(16, 64);
    cut(63, 64);
    check(
        &patched(&bytes, 18, &[0x15, 0]),
        "`e_machine` at byte 0x12 is 21 (PowerPC64); the machines supported are i386 (3), x86_64 (62), arm64 (183) and \
         riscv64 (243)",
    );
    let encoding = |machine, bits64, big_endian, expected: &str| {
        let elf = Elf {
            bits64,
            big_endian,
            ..Elf::new(machine, 0x1000, vec![load(0x1000, &[0], 1)])
        };
        check(
            &elf.bytes(),
            &format!("`e_machine` at byte 0x12 is {machine}, a machine without support for {expected} files"),
        );
    };
    encoding(EM_X86_64, true, true, "64-bit big-endian");
    encoding(EM_X86_64, false, false, "32-bit little-endian");
    encoding(EM_386, true, false, "64-bit little-endian");
    encoding(EM_386, false, true, "32-bit big-endian");
    encoding(EM_AARCH64, false, false, "32-bit little-endian");
    encoding(EM_RISCV, false, false, "32-bit little-endian");
    encoding(EM_RISCV, true, true, "64-bit big-endian");
}

#[test]
fn header_fields() {
    let field =
        |offset, new: &[u8], expected: &str| check(&patched(&kernel().bytes(), offset, new), expected);
    field(
        4,
        &[0],
        "`e_ident[EI_CLASS]` at byte 0x4 is 0x0, expected 0x1 or 0x2",
    );
    field(
        5,
        &[3],
        "`e_ident[EI_DATA]` at byte 0x5 is 0x3, expected 0x1 or 0x2",
    );
    field(6, &[2], "`e_ident[EI_VERSION]` at byte 0x6 is 0x2, expected 0x1");
    field(16, &[0], "`e_type` at byte 0x10 is 0x0, expected 0x2 or 0x3");
    field(
        16,
        &[1],
        "an object file or kernel module (`e_type` at byte 0x10 is ET_REL), not a linked kernel",
    );
    field(
        16,
        &[4],
        "a core dump (`e_type` at byte 0x10 is ET_CORE), not a kernel",
    );
    // Nothing depends on these two.
    let ignored = |text: &str| format!("{X86_KERNEL}; {text}; it is ignored");
    field(
        20,
        &[0],
        &ignored("`e_version` at byte 0x14 is 0x0, expected 0x1"),
    );
    field(
        52,
        &[52],
        &ignored("`e_ehsize` at byte 0x34 is 0x34, expected 0x40"),
    );
    check(
        &patched(&patched(&kernel().bytes(), 20, &[0]), 52, &[52]),
        &format!(
            "{} (and 1 more)",
            ignored("`e_version` at byte 0x14 is 0x0, expected 0x1")
        ),
    );
    field(54, &[32], "`e_phentsize` at byte 0x36 is 0x20, expected 0x38");
    field(
        32,
        &[0],
        "`e_phoff` at byte 0x20 is 0x0, expected a value other than zero",
    );
    field(
        56,
        &[0],
        "none of the 0 program headers is a PT_LOAD with a nonzero `p_memsz`: there is nothing to load",
    );
    let table = |offset: &str, count: u64| {
        format!(
            "the program header table ends past the end of the file: {:#x} bytes at offset {offset} (`e_phoff` at byte \
             0x20) of a file of 0xa0 bytes; is the file truncated?",
            count * 56
        )
    };
    field(56, &[2], &table("0x40", 2));
    field(56, &[0xfe, 0xff], &table("0x40", 0xfffe));
    field(32, &[0x69], &table("0x69", 1));
    field(32, &[0xff; 8], &table("0xffffffffffffffff", 1));
}

#[test]
fn section_header_0_may_hold_the_number_of_program_headers() {
    let mut elf = kernel();
    elf.xnum = true;
    // The section header pushes the segment from 0x80 to 0xc0.
    let accepted = X86_KERNEL.replace("0x80..0xa0", "0xc0..0xe0");
    check(&elf.bytes(), &accepted);
    let field = |offset, new: &[u8], expected: &str| check(&patched(&elf.bytes(), offset, new), expected);
    field(58, &[40], "`e_shentsize` at byte 0x3a is 0x28, expected 0x40");
    field(
        40,
        &[0],
        "`e_shoff` at byte 0x28 is 0x0, expected a value other than zero",
    );
    field(
        40,
        &[0xa1],
        "section header 0 ends past the end of the file: 0x40 bytes at offset 0xa1 (`e_shoff` at byte 0x28) of a file of \
         0xe0 bytes; is the file truncated?",
    );
    let sh_info = 0x78 + 44;
    field(
        sh_info,
        &[0],
        "none of the 0 program headers is a PT_LOAD with a nonzero `p_memsz`: there is nothing to load",
    );
    field(
        sh_info,
        &[1, 0, 2],
        "`sh_info` at byte 0xa4 is 131073; at most 131072 program headers are supported",
    );
    field(
        sh_info,
        &[0, 0, 2],
        "the program header table ends past the end of the file: 0x700000 bytes at offset 0x40 (`e_phoff` at byte 0x20) of \
         a file of 0xe0 bytes; is the file truncated?",
    );

    // More headers than `e_phnum` can count, all but the last of an ignored type.
    let mut many = kernel();
    let ignored = Phdr {
        p_type: 0x6474_e551,
        ..load(0, &[], 0)
    };
    many.phdrs.splice(0..0, vec![ignored; 0x1_0000]);
    many.xnum = true;
    let (bytes, offsets) = many.write();
    let start = offsets[0x1_0000];
    check(
        &bytes,
        &X86_KERNEL.replace("0x80..0xa0", &format!("{start:#x}..{:#x}", start + 0x20)),
    );
}

#[test]
fn segments() {
    let with =
        |phdrs: Vec<Phdr>, expected: &str| check(&Elf::new(EM_X86_64, 0x10_0000, phdrs).bytes(), expected);
    let code = load(0x10_0000, &[0x90; 0x10], 0x10);
    // A segment of zeros only, not in the order of addresses, and one without a size.
    with(
        vec![
            load(0x30_0000, &[], 0x8000),
            code.clone(),
            load(0x10_0000, &[], 0),
        ],
        "x86_64 little, fixed, elf64 0x100000, 0x100000..0x100010=0xf0..0x100, 0x300000..0x308000=0x0..0x0",
    );
    with(
        vec![code.clone(), load(0x20_0000, &[1; 9], 8)],
        "program header 1: `p_filesz` at byte 0x98 is 0x9, more than its `p_memsz` of 0x8",
    );
    with(
        vec![load(0x20_0000, &[1; 1], 0)],
        "program header 0: `p_filesz` at byte 0x60 is 0x1, more than its `p_memsz` of 0x0",
    );
    with(
        vec![load(0x10_0008, &[1; 8], 8), code.clone()],
        "program headers 1 and 0 overlap: physical addresses 0x100000..0x100010 and 0x100008..0x100010",
    );
    with(
        vec![code.clone(), load(!0xf, &[], 0x11)],
        "program header 1: 0x11 bytes from 0xfffffffffffffff0 (`p_paddr` at byte 0x90) do not fit the 64-bit address space",
    );
    let high = Phdr {
        paddr: u64::MAX - 0xf,
        ..load(0, &[], 0x10)
    };
    with(
        vec![code.clone(), high],
        "program header 1: 0x10 bytes from 0xfffffffffffffff0 (`p_paddr` at byte 0x90) do not fit the 64-bit address space",
    );
    with(
        vec![],
        "none of the 0 program headers is a PT_LOAD with a nonzero `p_memsz`: there is nothing to load",
    );
    with(
        vec![load(0x10_0000, &[], 0), notes(&[], 4)],
        "none of the 2 program headers is a PT_LOAD with a nonzero `p_memsz`: there is nothing to load",
    );
    let bytes = kernel().bytes();
    check(
        &bytes[..0x9f],
        "the segment of program header 0 ends past the end of the file: 0x20 bytes at offset 0x80 (`p_offset` at byte 0x48) \
         of a file of 0x9f bytes; is the file truncated?",
    );
    // The virtual addresses of a 64-bit kernel may reach the very end of the address space.
    let top = Phdr {
        vaddr: u64::MAX - 0xf,
        ..load(0x10_0000, &[0; 16], 16)
    };
    check(
        &Elf::new(EM_X86_64, u64::MAX, vec![top]).bytes(),
        "x86_64 little, fixed, elf64 0x10000f, 0x100000..0x100010=0x80..0x90",
    );
}

#[test]
fn segments_of_32_bit_files_stay_below_4_gib() {
    let with = |phdr: Phdr| Elf::new(EM_386, 0xffff_fff0, vec![phdr]).bytes();
    check(
        &with(load(0xffff_fff0, &[1; 16], 16)),
        "x86_64 little, fixed, elf32 0xfffffff0, 0xfffffff0..0x100000000=0x60..0x70",
    );
    check(
        &with(load(0xffff_fff0, &[1; 16], 17)),
        "program header 0: 0x11 bytes from 0xfffffff0 (`p_paddr` at byte 0x40) do not fit the 32-bit address space",
    );
}

#[test]
fn alignment() {
    let with = |vaddr: u64, align: u64, expected: &str| {
        let phdr = Phdr {
            vaddr,
            align,
            ..load(0x10_0000, &[0x90; 0x20], 0x1000)
        };
        check(&Elf::new(EM_X86_64, 0x10_0000, vec![phdr]).bytes(), expected);
    };
    let at = |offset: u64| X86_KERNEL.replace("0x80..0xa0", &format!("{offset:#x}..{:#x}", offset + 0x20));
    with(0x10_0000, 0, &at(0x78));
    with(0x10_0000, 1, &at(0x78));
    with(0x10_0000, 0x1000, &at(0x1000));
    // The physical address does not matter.
    with(0x8_1234, 0x1000, &at(0x234));
    // Nothing depends on either rule of the specification.
    with(
        0x10_0000,
        3,
        &format!(
            "{}; program header 0: `p_align` at byte 0x70 is 0x3, expected zero or a power of two; it is ignored",
            at(0x79)
        ),
    );
    check(
        &patched(&kernel().bytes(), 0x70, &[0, 1]),
        &format!(
            "{X86_KERNEL}; program header 0: `p_vaddr` 0x100000 and `p_offset` 0x80 are not congruent modulo `p_align` at \
             byte 0x70, which is 0x100; this matters only to loaders that map the file"
        ),
    );
    // The offset of a segment without file content is not checked.
    let mut elf = kernel();
    elf.phdrs.push(load(0x20_0000, &[], 0x1000));
    let bytes = patched(&elf.bytes(), 64 + 56 + 8, &[0xff; 8]);
    check(
        &bytes,
        "x86_64 little, fixed, elf64 0x100000, 0x100000..0x101000=0xb0..0xd0, 0x200000..0x201000=0x0..0x0",
    );
}

#[test]
fn the_entry_point() {
    let with = |entry: u64, phdrs: &[Phdr], expected: &str| {
        let text = match elf64_entry(&Elf::new(EM_X86_64, entry, phdrs.to_vec())) {
            Ok(addr) => format!("{addr:#x}"),
            Err(error) => error,
        };
        assert_eq!(text, expected);
    };
    let phdr = |vaddr: u64, paddr: u64, flags: u32| Phdr {
        flags,
        vaddr,
        ..load(paddr, &[0; 16], 0x1000)
    };
    let outside = |entry: u64| {
        format!(
            "`e_entry` at byte 0x18 is {entry:#x}, which is neither a virtual address in an executable segment nor a physical \
             address in any segment"
        )
    };
    let high = 0xffff_ffff_8100_0000;
    let text = phdr(high, 0x100_0000, PF_R | PF_X);
    let data = phdr(high + 0x1000, 0x100_1000, PF_R | PF_W);
    // Virtual by the specification; physical in Linux on x86.
    with(high, &[text.clone(), data.clone()], "0x1000000");
    with(high + 0xfff, &[text.clone(), data.clone()], "0x1000fff");
    with(0x100_0000, &[text.clone(), data.clone()], "0x1000000");
    with(
        high + 0x1000,
        &[text.clone(), data.clone()],
        &outside(high + 0x1000),
    );
    with(0x100_2000, &[text.clone(), data], &outside(0x100_2000));
    // Linux's per-CPU segment has virtual addresses from 0 on, but no code.
    let percpu = phdr(0x100_0000, 0x200_0000, PF_R | PF_W);
    with(0x100_0000, &[text.clone(), percpu], "0x1000000");
    // A virtual address has precedence over a physical one.
    let crossed = [phdr(0x1000, 0x2000, PF_X), phdr(0x2000, 0x3000, PF_X)];
    with(0x2008, &crossed, "0x3008");
    let twice = [phdr(0x1000, 0x2000, PF_X), phdr(0x1000, 0x3000, PF_X)];
    with(
        0x1008,
        &twice,
        "`e_entry` at byte 0x18 is 0x1008, a virtual address of two segments: physical 0x2008 and 0x3008",
    );
    // Segments that agree on the physical address overlap.
    let overlapping = [phdr(0x1000, 0x2000, PF_X), phdr(0x1000, 0x2000, PF_X)];
    with(
        0x1008,
        &overlapping,
        "program headers 0 and 1 overlap: physical addresses 0x2000..0x3000 and 0x2000..0x3000",
    );
    // Zero is an address if code is there, and otherwise means no entry point.
    with(0, &[phdr(0, 0x1000, PF_X)], "0x1000");
    with(
        0,
        &[phdr(0, 0, PF_R)],
        "`e_entry` at byte 0x18 is 0 and there is no PVH entry note: the file has no entry point",
    );
}

fn elf64_entry(elf: &Elf) -> Result<u64, String> {
    match fmt_elf::parse(&elf.bytes()) {
        Ok(image) => Ok(image.unwrap().entry(boot_core::EntryAbi::ELF64).unwrap().addr),
        Err(error) => Err(error.to_string()),
    }
}

#[test]
fn position_independent_images() {
    let with = |start: u64, align: u64, expected: &str| {
        let mut elf = Elf::new(
            EM_AARCH64,
            start,
            vec![
                Phdr {
                    align,
                    ..load(start, &[0; 8], 0x1000)
                },
                load(start + 0x1000, &[], 0x1000),
            ],
        );
        elf.e_type = ET_DYN;
        let image = fmt_elf::parse(&elf.bytes()).unwrap().unwrap();
        let text = summary(&image);
        assert!(
            text.starts_with(&format!("aarch64 little, {expected}, elf64 ")),
            "{text}"
        );
        assert_eq!(image.occupied_ranges().collect::<Vec<_>>(), [image.extent()]);
    };
    with(0, 0x1000, "0x0+n*0x200000 in 0x100000..0xffffffffffffffff");
    with(0x8_0000, 0, "0x80000+n*0x200000 in 0x100000..0xffffffffffffffff");
    with(
        0x40_0000,
        0x40_0000,
        "0x0+n*0x400000 in 0x100000..0xffffffffffffffff",
    );

    let mut i386 = Elf::new(EM_386, 0, vec![load(0, &[0; 8], 8)]);
    i386.e_type = ET_DYN;
    check(
        &i386.bytes(),
        "x86_64 little, 0x0+n*0x200000 in 0x100000..0x100000000, elf32 0x0, 0x0..0x8=0x60..0x68",
    );
    let mut huge = Elf::new(EM_AARCH64, 0, vec![load(0, &[], 1 << 63)]);
    huge.e_type = ET_DYN;
    let bytes = patched(&huge.bytes(), 0x70, &(1u64 << 63).to_le_bytes());
    check(
        &bytes,
        "the ELF file is not a valid kernel image: an image of 0x8000000000000000 bytes cannot be placed between 0x100000 \
         and 0xffffffffffffffff",
    );
}
