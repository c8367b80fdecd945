//! Guests of sandboxes: the note, and the metadata.

use boot_core::{FormatErrorKind, GuestRange, KernelImage};
use boot_sandbox::{GuestImage, SANDBOX, SegmentAccess};
use fmt_test::elf::*;
use fmt_test::guest::{
    BASE, CODE, CODE_PHDR, DATA, DATA_LEN, DATA_PHDR, Guest, NOTE_PHDR, PT_GNU_RELRO, RELRO,
};
use proptest::prelude::*;
use proptest::sample::Index;

use crate::check;

const REST: &str = "0x40000000..0x40000082=0x1000..0x1082, 0x40010000..0x40011000=0x2000..0x3000, \
                    0x40020000..0x40021000=0x3000..0x3800, 0x40021000..0x40023345=0x4000..0x4010";

fn parse(elf: &Elf) -> KernelImage {
    fmt_elf::parse(&elf.bytes()).unwrap().unwrap()
}

fn guest(image: &KernelImage) -> &GuestImage {
    image.metadata().expect("a guest")
}

#[test]
fn a_guest_has_an_entry_point_and_metadata() {
    for (machine, arch) in [
        (EM_X86_64, "x86_64"),
        (EM_AARCH64, "aarch64"),
        (EM_RISCV, "riscv64"),
    ] {
        let mut elf = Guest::new(machine).elf();
        let start = format!("{arch} little, fixed,");
        check(
            &elf.bytes(),
            &format!("{start} elf64 0x40010000, sandbox 0x40010000, {REST}"),
        );
        let image = parse(&elf);
        let found = guest(&image);
        assert_eq!(found.note().entry, CODE);
        let segments: Vec<_> = found
            .segments()
            .iter()
            .map(|segment| (segment.index, segment.virt, segment.access))
            .collect();
        assert_eq!(
            segments,
            [
                (0, BASE, SegmentAccess::READ),
                (1, CODE, SegmentAccess::EXECUTE),
                (2, RELRO, SegmentAccess::WRITE),
                (3, DATA, SegmentAccess::WRITE)
            ]
        );
        let whole: Vec<_> = found.segments().iter().map(|segment| segment.segment).collect();
        assert_eq!(whole, image.segments());
        let link = found.link();
        assert_eq!(link.relro, GuestRange::new(RELRO, 0x1000));
        assert!(!link.is_dynamic && !link.has_thread_local_storage);

        // `e_entry` is not needed.
        elf.entry = 0;
        check(&elf.bytes(), &format!("{start} sandbox 0x40010000, {REST}"));
    }
}

#[test]
fn other_notes_have_no_effect() {
    let descriptor = Guest::new(EM_X86_64).descriptor();
    let with = |data: Vec<u8>| {
        let mut elf = Guest::new(EM_X86_64).elf();
        elf.phdrs[NOTE_PHDR].data = data;
        elf
    };
    for data in [
        note(4, "VMSandbox", 2, &descriptor),
        note(4, "VMSandbo", 1, &descriptor),
        note(4, "VMSandboxx", 1, &descriptor),
        Vec::new(),
    ] {
        let elf = with(data);
        check(
            &elf.bytes(),
            &format!("x86_64 little, fixed, elf64 0x40010000, {REST}"),
        );
        assert!(parse(&elf).metadata::<GuestImage>().is_none());
    }
    // Beside other notes, and with an alignment of 8.
    for align in [4, 8] {
        let own = note(align, "VMSandbox", 1, &descriptor);
        let build_id = note(align, "GNU", 3, &[7; 20]);
        for data in [[&own[..], &build_id].concat(), [&build_id[..], &own].concat()] {
            let mut elf = with(data);
            elf.phdrs[NOTE_PHDR].align = align as u64;
            assert!(parse(&elf).entry(SANDBOX).is_some());
        }
    }
}

#[test]
fn features_of_the_linked_program() {
    let with = |phdr: Phdr| {
        let mut elf = Guest::new(EM_X86_64).elf();
        elf.phdrs.push(phdr);
        *guest(&parse(&elf)).link()
    };
    let empty = |p_type| Phdr {
        p_type,
        ..notes(&[], 4)
    };
    assert!(with(empty(2)).is_dynamic);
    assert!(with(empty(7)).has_thread_local_storage);
    // The first constants after relocation count.
    let second = Phdr {
        vaddr: DATA,
        memsz: 0x1000,
        ..empty(PT_GNU_RELRO)
    };
    assert_eq!(with(second).relro, GuestRange::new(RELRO, 0x1000));
    // A segment without a size in memory is none.
    let image = {
        let mut elf = Guest::new(EM_X86_64).elf();
        elf.phdrs.push(load(0x4800_0000, &[], 0));
        parse(&elf)
    };
    assert_eq!(guest(&image).segments().len(), 4);
    let data = guest(&image).segments()[DATA_PHDR];
    assert_eq!((data.range().len(), data.segment.source.len()), (DATA_LEN, 0x10));
}

#[test]
fn a_guest_that_cannot_be_used_is_an_error() {
    let descriptor = Guest::new(EM_X86_64).descriptor();
    let with = |elf: &Elf, kind: FormatErrorKind, expected: &str| {
        check(&elf.bytes(), expected);
        assert_eq!(
            fmt_elf::parse(&elf.bytes()).unwrap_err().kind(),
            kind,
            "{expected}"
        );
    };
    let changed = |change: &dyn Fn(&mut Vec<u8>)| {
        let mut descriptor = descriptor.clone();
        change(&mut descriptor);
        let mut elf = Guest::new(EM_X86_64).elf();
        elf.phdrs[NOTE_PHDR].data = note(4, "VMSandbox", 1, &descriptor);
        elf
    };
    let malformed =
        |text: &str| format!("the note of a sandbox's guest at byte 0x4028 cannot be used: {text}");
    with(
        &changed(&|descriptor| descriptor[0] = 2),
        FormatErrorKind::Unsupported,
        &malformed("the guest needs version 2.0 of the interface, this host has 1.0"),
    );
    with(
        &changed(&|descriptor| descriptor.truncate(92)),
        FormatErrorKind::Malformed,
        &malformed("the note has 92 bytes, expected 96"),
    );
    with(
        &changed(&|descriptor| descriptor.resize(0x2000, 0)),
        FormatErrorKind::Malformed,
        &malformed("the note has 4096 bytes, expected 96"),
    );
    let mut elf = Guest::new(EM_X86_64).elf();
    elf.phdrs[CODE_PHDR].flags = PF_R | PF_W | PF_X;
    with(
        &elf,
        FormatErrorKind::Malformed,
        &malformed(
            "the entry point at 0x40010000 (1 bytes) is not in the file's part of a segment that is executable and not \
             writable",
        ),
    );
    let mut elf = Guest::new(EM_X86_64).elf();
    elf.phdrs[NOTE_PHDR].data.extend_from_within(..);
    with(
        &elf,
        FormatErrorKind::Malformed,
        "the file has two notes of a sandbox's guest, at byte 0x4028 and 0x40a0; its runtime must be linked once",
    );
    let own = note(4, "VMSandbox", 1, &descriptor);
    let mut elf = Elf::new(EM_386, 0x10_0000, vec![load(0x10_0000, &[0x90; 32], 0x1000)]);
    elf.phdrs.push(notes(&own, 4));
    with(
        &elf,
        FormatErrorKind::Unsupported,
        "a sandbox's guest (note at byte 0xb8) in a 32-bit little-endian file; only little-endian 64-bit files are supported",
    );
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(10_000))]

    #[test]
    fn changed_guests_are_refused_or_consistent(
        changes in prop::collection::vec((any::<bool>(), any::<Index>(), any::<u8>()), 0..5),
    ) {
        let (mut bytes, offsets) = Guest::new(EM_X86_64).elf().write();
        let note_at = usize::try_from(offsets[NOTE_PHDR]).unwrap();
        for (is_header, index, value) in changes {
            let at = if is_header { index.index(0x190) } else { note_at + index.index(120) };
            bytes[at] = value;
        }
        let Ok(Some(image)) = fmt_elf::parse(&bytes) else { return Ok(()) };
        let Some(guest) = image.metadata::<GuestImage>() else {
            prop_assert!(image.entry(SANDBOX).is_none());
            return Ok(());
        };
        prop_assert_eq!(image.entry(SANDBOX).unwrap().addr, guest.entry());
        let mut segments: Vec<_> = guest.segments().iter().map(|segment| segment.segment).collect();
        segments.sort_by_key(|segment| segment.range);
        prop_assert_eq!(&segments, image.segments());
        let code = guest.segments().iter().find(|segment| segment.range().contains_addr(guest.note().entry));
        prop_assert!(code.is_some());
    }
}
