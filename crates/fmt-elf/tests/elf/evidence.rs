//! Marks of kernels, firmware and user programs.

use boot_core::EntryAbi;
use boot_linux::vmlinux::{Evidence, LinuxMark, OsName, OtherMark};

use crate::{X86_KERNEL, check, kernel, kernel_with_notes, patched, summary};
use fmt_test::elf::*;

const PT_DYNAMIC: u32 = 2;
const PT_INTERP: u32 = 3;
const PT_TLS: u32 = 7;

/// Value of `EI_OSABI` of FreeBSD.
const FREEBSD: u8 = 9;

#[track_caller]
fn check_evidence(bytes: &[u8], expected: Option<Evidence>) {
    let image = fmt_elf::parse(&bytes).unwrap().unwrap();
    assert_eq!(image.metadata().copied(), expected, "{}", summary(&image));
}

fn segment(p_type: u32, data: &[u8]) -> Phdr {
    Phdr {
        p_type,
        ..notes(data, 1)
    }
}

fn with_segment(mut elf: Elf, phdr: Phdr) -> Elf {
    elf.phdrs.push(phdr);
    elf
}

fn interpreter() -> Phdr {
    segment(PT_INTERP, b"/red/herring\0")
}

fn pvh_note() -> Vec<u8> {
    note(4, "Xen", 18, &words(&[0x10_0008]))
}

/// A kernel with a Multiboot header of this magic number at the start of its code.
fn multiboot_kernel(words_of_header: &[u32]) -> Elf {
    let sum = words_of_header
        .iter()
        .fold(0u32, |sum, word| sum.wrapping_add(*word));
    let mut code = words(words_of_header);
    code.extend(0u32.wrapping_sub(sum).to_le_bytes());
    code.resize(0x20, 0x90);
    Elf::new(EM_X86_64, 0x10_0000, vec![load(0x10_0000, &code, 0x1000)])
}

const MULTIBOOT: [u32; 2] = [0x1bad_b002, 3];
const MULTIBOOT2: [u32; 3] = [0xe852_50d6, 0, 24];

/// A kernel with the addresses of Linux on x86_64.
fn mapped_kernel(entry: u64) -> Elf {
    let code = Phdr {
        vaddr: 0xffff_ffff_8100_0000,
        ..load(0x100_0000, &[0x90; 0x20], 0x1000)
    };
    Elf::new(EM_X86_64, entry, vec![code])
}

const WARNING: &str = "; program header 1 is PT_INTERP (`p_type` at byte 0x78), as in a dynamically linked user program; the \
                       file has marks of a kernel, so it is ignored";

#[test]
fn a_kernel_with_an_interpreter_is_accepted_with_a_warning() {
    let elf = with_segment(with_segment(kernel(), interpreter()), notes(&pvh_note(), 4));
    check(
        &patched(&elf.bytes(), 7, &[FREEBSD]),
        &format!(
            "x86_64 little, fixed, elf64 0x100000, pvh 0x100008, 0x100000..0x101000=0xf0..0x110{WARNING}"
        ),
    );
    let accepted = |elf: Elf| {
        let found = summary(
            &fmt_elf::parse(&with_segment(elf, interpreter()).bytes())
                .unwrap()
                .unwrap(),
        );
        assert!(found.contains("is PT_INTERP"), "{found}");
    };
    accepted(multiboot_kernel(&MULTIBOOT));
    accepted(multiboot_kernel(&MULTIBOOT2));
    let linux = notes(&note(4, "Linux", 0x100, &[0; 4]), 4);
    accepted(with_segment(mapped_kernel(0xffff_ffff_8100_0000), linux.clone()));
    // Link addresses below those of 64-bit kernels and of the default of i386 (VMSPLIT_2G).
    let moved = Phdr {
        vaddr: 0x8100_0000,
        ..load(0x100_0000, &[0x90; 0x20], 0x1000)
    };
    accepted(Elf::new(EM_386, 0x100_0000, vec![moved, linux]));
    accepted(kernel_with_notes(&note(4, "Xen", 6, b"FreeBSD\0"), 4));
    // A PVH note, even a damaged one, and the link addresses of a kernel.
    accepted(kernel_with_notes(&note(4, "Xen", 18, &words(&[7])), 4));
    accepted(kernel_with_notes(&note(4, "Xen", 18, &[0; 16]), 4));
    accepted(mapped_kernel(0xffff_ffff_8100_0000));
    accepted(mapped_kernel(0x100_0000));
    let high = Phdr {
        vaddr: 0xc010_0000,
        ..load(0x10_0000, &[0x90; 0x20], 0x1000)
    };
    accepted(Elf::new(EM_386, 0xc010_0000, vec![high]));
    accepted(Elf::new(
        EM_AARCH64,
        0xffff_0000_0000_0000,
        vec![load(0xffff_0000_0000_0000, &[0; 8], 8)],
    ));
}

#[test]
fn a_file_with_an_interpreter_and_no_mark_of_a_kernel_is_a_user_program() {
    let refused = |elf: Elf| {
        let bytes = patched(&with_segment(elf, interpreter()).bytes(), 7, &[FREEBSD]);
        let error = fmt_elf::parse(&bytes).unwrap_err().to_string();
        assert!(
            error.starts_with("a dynamically linked user program, not a kernel (program header "),
            "{error}"
        );
    };
    refused(kernel());
    refused(kernel_with_notes(&note(4, "GNU", 1, &[0; 16]), 4));
    // Notes by other names, and a header with an invalid checksum.
    refused(kernel_with_notes(&note(4, "xen", 18, &words(&[0x10_0008])), 4));
    refused(kernel_with_notes(&note(4, "linux", 0x100, &[0; 4]), 4));
    // User Mode Linux: notes of Linux at addresses of user programs.
    refused(kernel_with_notes(&note(4, "Linux", 0x100, &[0; 4]), 4));
    let mut invalid = multiboot_kernel(&MULTIBOOT);
    invalid.phdrs[0].data[8] ^= 1;
    refused(invalid);
    let mut below = mapped_kernel(0x7fff_ffff_ffff_f000);
    below.phdrs[0].vaddr = 0x7fff_ffff_ffff_f000;
    refused(below);
    let edge = Phdr {
        vaddr: 0xbfff_f000,
        ..load(0x10_0000, &[0x90; 0x20], 0x1000)
    };
    refused(Elf::new(EM_386, 0xbfff_f000, vec![edge]));
}

#[test]
fn notes_name_the_operating_system() {
    let with = |name: &str, kind, value: &[u8], expected| {
        check_evidence(
            &kernel_with_notes(&note(4, name, kind, value), 4).bytes(),
            expected,
        );
    };
    let (linux, guest) = (
        Some(Evidence::Linux(LinuxMark::Note)),
        Some(Evidence::Linux(LinuxMark::GuestOs)),
    );
    with("Linux", 0, &[0; 4], linux);
    with("Linux", 0x100, b"6.12\0", linux);
    with("Linus", 0x100, b"6.12\0", None);
    with("Xen", 6, b"linux\0", guest);
    with("Xen", 6, b"linux", guest);
    for other in [&b"linu"[..], b"linux7", b"linux\0\0", b"NetBSD\0", b"FreeBSD\0"] {
        with("Xen", 6, other, Some(Evidence::Other(OtherMark::GuestOs)));
    }
    with("Xen", 7, b"linux\0", None);
    with("xen", 6, b"linux\0", None);
    // A note of Linux is stronger than all other marks.
    let mut elf = multiboot_kernel(&MULTIBOOT);
    elf.phdrs.push(notes(&note(4, "Linux", 0, &[0; 4]), 4));
    check_evidence(&patched(&elf.bytes(), 7, &[FREEBSD]), linux);
    let arm64 = Elf {
        machine: EM_AARCH64,
        ..kernel_with_notes(&note(4, "Linux", 0, &[0; 4]), 4)
    };
    check_evidence(&arm64.bytes(), linux);
}

#[test]
fn the_addresses_of_linux_are_a_mark() {
    let mapping = Some(Evidence::Linux(LinuxMark::KernelMapping));
    check_evidence(&mapped_kernel(0x100_0000).bytes(), mapping);
    // The entry point of other kernels in the upper half is virtual; so is their distance another one.
    check_evidence(&mapped_kernel(0xffff_ffff_8100_0000).bytes(), None);
    let mut other = mapped_kernel(0x100_0000);
    other.phdrs[0].vaddr += 0x1000;
    check_evidence(&other.bytes(), None);
    let mut data = mapped_kernel(0x100_0000);
    data.phdrs[0].flags = PF_R | PF_W;
    check_evidence(&data.bytes(), None);
    let i386 = |distance: u64| {
        let code = Phdr {
            vaddr: 0x100_0000 + distance,
            ..load(0x100_0000, &[0x90; 0x20], 0x1000)
        };
        Elf::new(EM_386, 0x100_0000, vec![code]).bytes()
    };
    check_evidence(&i386(0xc000_0000), mapping);
    check_evidence(&i386(0x8000_0000), None);
    check_evidence(&i386(0), None);
    // Not on other architectures.
    let mut arm64 = mapped_kernel(0x100_0000);
    arm64.machine = EM_AARCH64;
    check_evidence(&arm64.bytes(), None);
}

#[test]
fn multiboot_headers_and_other_operating_systems_are_marks() {
    let other = |mark| Some(Evidence::Other(mark));
    check_evidence(&multiboot_kernel(&MULTIBOOT).bytes(), other(OtherMark::Multiboot));
    check_evidence(
        &multiboot_kernel(&MULTIBOOT2).bytes(),
        other(OtherMark::Multiboot2),
    );
    // They are stronger than addresses, and have no meaning on other architectures.
    let mut mapped = multiboot_kernel(&MULTIBOOT);
    mapped.phdrs[0].vaddr = 0xffff_ffff_8010_0000;
    check_evidence(&mapped.bytes(), other(OtherMark::Multiboot));
    let mut arm64 = multiboot_kernel(&MULTIBOOT);
    arm64.machine = EM_AARCH64;
    check_evidence(&arm64.bytes(), None);
    // The parts of the file that may have the header.
    let at = |words: &[u32], offset: usize, expected| {
        let header = multiboot_kernel(words).phdrs[0].data[..0x10].to_vec();
        let mut elf = kernel();
        elf.phdrs[0].data = vec![0; 0x9000];
        elf.phdrs[0].memsz = 0x9000;
        check_evidence(&patched(&elf.bytes(), offset, &header), expected);
    };
    at(&MULTIBOOT, 0x1ff4, other(OtherMark::Multiboot));
    at(&MULTIBOOT, 0x1ff8, None);
    at(&MULTIBOOT, 0x102, None);
    at(&MULTIBOOT2, 0x7ff0, other(OtherMark::Multiboot2));
    at(&MULTIBOOT2, 0x7ff8, None);
    at(&MULTIBOOT2, 0x104, None);

    for (os_abi, is_other) in [
        (0, false),
        (2, true),
        (3, false),
        (9, true),
        (12, true),
        (255, false),
    ] {
        let expected = is_other.then_some(Evidence::Other(OtherMark::OsAbi(os_abi)));
        check_evidence(&patched(&kernel().bytes(), 7, &[os_abi]), expected);
    }
}

#[test]
fn machine_mode_code_at_the_entry_point_is_firmware() {
    let check = |machine, entry: u64, at: usize, expected| {
        let mut code = vec![0x13; 0x800];
        code.chunks_exact_mut(4)
            .for_each(|nop| nop.copy_from_slice(&[0x13, 0, 0, 0]));
        // csrr a0, mhartid
        code[at..at + 4].copy_from_slice(&0xf140_2573u32.to_le_bytes());
        let elf = Elf::new(machine, entry, vec![load(0x8000_0000, &code, 0x1000)]);
        check_evidence(&elf.bytes(), expected);
    };
    let firmware = Some(Evidence::Other(OtherMark::MachineMode));
    check(EM_RISCV, 0x8000_0000, 0, firmware);
    check(EM_RISCV, 0x8000_0000, 0x3fc, firmware);
    check(EM_RISCV, 0x8000_0000, 0x400, None);
    // Before the entry point, behind the code in the file, on another architecture.
    check(EM_RISCV, 0x8000_0004, 0, None);
    check(EM_RISCV, 0x8000_0004, 0x400, firmware);
    check(EM_RISCV, 0x8000_0900, 0, None);
    check(EM_AARCH64, 0x8000_0000, 0, None);
}

#[test]
fn static_user_programs_are_recognised() {
    let other = |mark| Some(Evidence::Other(mark));
    let (abi_tag, tls, init) = (
        other(OtherMark::GnuAbiTag),
        other(OtherMark::ThreadLocalStorage),
        other(OtherMark::InitAndFini),
    );
    let tag = note(4, "GNU", 1, &[0; 16]);
    check_evidence(&kernel_with_notes(&tag, 4).bytes(), abi_tag);
    check_evidence(&kernel_with_notes(&note(4, "GNU", 1, &[0; 12]), 4).bytes(), None);
    check_evidence(&kernel_with_notes(&note(4, "GNU", 3, &[0; 20]), 4).bytes(), None);

    // Thread-local storage in a file that loads its own header, as linkers do by default.
    let with_tls = with_segment(kernel(), segment(PT_TLS, &[0; 8])).bytes();
    check_evidence(&with_tls, None);
    let p_offset = 64 + 8;
    check_evidence(&patched(&with_tls, p_offset, &[0; 8]), tls);
    check_evidence(&patched(&kernel().bytes(), p_offset, &[0; 8]), None);

    let table = |bits64: bool, tags: &[u32]| {
        let width = if bits64 { 8 } else { 4 };
        let mut data = Vec::new();
        for tag in tags {
            data.extend(tag.to_le_bytes());
            data.resize(data.len() + 2 * width - 4, 0);
        }
        segment(PT_DYNAMIC, &data)
    };
    let dynamic = |tags: &[u32], expected| {
        let mut elf = with_segment(kernel(), table(true, tags));
        elf.e_type = ET_DYN;
        check_evidence(&elf.bytes(), expected);
        let i386 = Elf::new(
            EM_386,
            0x10_0000,
            vec![load(0x10_0000, &[0; 8], 8), table(false, tags)],
        );
        check_evidence(&i386.bytes(), expected);
    };
    dynamic(&[5, 12, 6, 13, 0], init);
    dynamic(&[5, 12, 6, 0], None);
    dynamic(&[13, 0], None);
    dynamic(&[12, 0, 13], None);
    dynamic(&[[1; 62].as_slice(), &[12, 13]].concat(), init);
    dynamic(&[[1; 63].as_slice(), &[12, 13]].concat(), None);
    // A table past the end of the file, and a second table.
    let elf = with_segment(kernel(), table(true, &[12, 13]));
    check_evidence(&patched(&elf.bytes(), 64 + 56 + 8, &[0xff; 8]), None);
    let second = with_segment(with_segment(kernel(), table(true, &[0])), table(true, &[12, 13]));
    check_evidence(&second.bytes(), None);

    // Not with the mark of a kernel.
    let pvh = [tag.clone(), pvh_note()].concat();
    check_evidence(&kernel_with_notes(&pvh, 4).bytes(), None);
    let linux = [tag, note(4, "Linux", 0, &[0; 4])].concat();
    let mut mapped = mapped_kernel(0xffff_ffff_8100_0000);
    mapped.phdrs.push(notes(&linux, 4));
    check_evidence(&mapped.bytes(), Some(Evidence::Linux(LinuxMark::Note)));
    // User Mode Linux, linked statically.
    check_evidence(&kernel_with_notes(&linux, 4).bytes(), abi_tag);
}

/// A vDSO image has a note with the version of Linux; so has a kernel for machines without an MMU, at equal virtual and
/// physical addresses.
#[test]
fn a_vdso_is_no_kernel() {
    let linux = notes(&note(4, "Linux", 0, &words(&[0x6_0c00])), 4);
    let no_mmu = Elf::new(
        EM_RISCV,
        0x8000_0000,
        vec![load(0x8000_0000, &[0x13, 0, 0, 0].repeat(8), 0x1000), linux],
    );
    check_evidence(&no_mmu.bytes(), Some(Evidence::Linux(LinuxMark::Note)));
    let named = |tag: u64| segment(PT_DYNAMIC, &[tag.to_le_bytes(), [0; 8]].concat());
    let mut vdso = with_segment(no_mmu.clone(), named(14));
    vdso.e_type = ET_DYN;
    check_evidence(&vdso.bytes(), Some(Evidence::Other(OtherMark::SharedObject)));
    check_evidence(
        &with_segment(no_mmu, named(15)).bytes(),
        Some(Evidence::Linux(LinuxMark::Note)),
    );
}

#[test]
fn notes_of_other_operating_systems_are_marks() {
    for os in OsName::ALL {
        let mark = Some(Evidence::Other(OtherMark::OsNote(os)));
        check_evidence(
            &kernel_with_notes(&note(4, os.as_str(), 1, &words(&[0])), 4).bytes(),
            mark,
        );
        let both = [note(4, os.as_str(), 1, &[]), note(4, "Linux", 0, &[])].concat();
        check_evidence(
            &kernel_with_notes(&both, 4).bytes(),
            Some(Evidence::Linux(LinuxMark::Note)),
        );
    }
    check_evidence(&kernel_with_notes(&note(4, "NetBSD ", 1, &[]), 4).bytes(), None);
    let two = [note(4, "OpenBSD", 1, &[]), note(4, "NetBSD", 1, &[])].concat();
    let mark = Some(Evidence::Other(OtherMark::OsNote(OsName::OpenBsd)));
    check_evidence(&kernel_with_notes(&two, 4).bytes(), mark);
}

#[test]
fn an_unusable_elf_entry_point_does_not_refuse_a_pvh_kernel() {
    let warning = |entry: u64| {
        format!(
            "; `e_entry` at byte 0x18 is {entry:#x}, which is not the address of one segment; only the PVH entry point can be \
             used"
        )
    };
    let mut elf = kernel_with_notes(&pvh_note(), 4);
    elf.entry = 0x50_0000;
    check(
        &elf.bytes(),
        &format!(
            "x86_64 little, fixed, pvh 0x100008, 0x100000..0x101000=0xb0..0xd0{}",
            warning(0x50_0000)
        ),
    );
    // A virtual address of two segments.
    let twin = Phdr {
        vaddr: 0x10_0000,
        ..load(0x20_0000, &[0x90; 0x20], 0x1000)
    };
    let elf = with_segment(kernel_with_notes(&pvh_note(), 4), twin);
    let image = fmt_elf::parse(&elf.bytes()).unwrap().unwrap();
    assert!(image.entry(EntryAbi::ELF64).is_none());
    assert!(summary(&image).ends_with(&warning(0x10_0000)));
}

#[test]
fn virtual_addresses_past_the_end_of_the_address_space_do_not_matter() {
    let check_overflow = |machine, vaddr: u64| {
        let code = Phdr {
            vaddr,
            ..load(0x10_0000, &[0x90; 0x20], 0x1000)
        };
        let image = fmt_elf::parse(&Elf::new(machine, 0x10_0000, vec![code]).bytes())
            .unwrap()
            .unwrap();
        let expected = format!("program header 0: 0x1000 bytes from {vaddr:#x} (`p_vaddr` at byte ");
        assert!(image.warnings()[0].to_string().starts_with(&expected));
        assert_eq!(image.entries()[0].addr, 0x10_0000);
    };
    check_overflow(EM_X86_64, 0xffff_ffff_ffff_f010);
    check_overflow(EM_386, 0xffff_f010);
    assert_eq!(
        summary(&fmt_elf::parse(&kernel().bytes()).unwrap().unwrap()),
        X86_KERNEL
    );
}

#[test]
fn segments_back_to_back_in_the_file_are_loaded_with_one_warning() {
    // grub-mkimage writes them without regard to `p_align`.
    let mut elf = Elf::new(
        EM_X86_64,
        0x10_0000,
        vec![
            load(0x10_0000, &[0x90; 0x33], 0x858),
            load(0x10_0858, &[0x4d; 0x20], 0x20),
            load(0x10_0878, &[0x4d; 0x20], 0x20),
        ],
    );
    elf.phdrs.iter_mut().for_each(|phdr| phdr.align = 1);
    let mut bytes = elf.bytes();
    for index in 0..3 {
        bytes[64 + index * 56 + 48] = 16;
    }
    let image = fmt_elf::parse(&bytes).unwrap().unwrap();
    assert_eq!(image.segments().len(), 3);
    let [warning] = image.warnings() else {
        panic!("{:?}", image.warnings());
    };
    let text = warning.to_string();
    assert!(
        text.starts_with("program header 0: `p_vaddr` 0x100000 and `p_offset` 0xe8 are not congruent modulo"),
        "{text}"
    );
    assert!(text.ends_with(" (and 2 more)"), "{text}");
}
