//! Access to headers and notes through `ElfFile`.

use boot_core::{Endian, SizedSource, SourceRange};
use fmt_elf::{Class, ElfFile, Note};

use fmt_test::elf::*;

#[test]
fn headers_and_notes_of_a_big_endian_file() {
    // A note of type 7 by "Xen" with a value of two bytes, and another without name and value.
    let data = [
        &[0, 0, 0, 4, 0, 0, 0, 2, 0, 0, 0, 7][..],
        b"Xen\0\x12\x34\0\0",
        &[0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 9],
    ]
    .concat();
    let mut elf = Elf::new(
        EM_AARCH64,
        0x1000,
        vec![load(0x1000, &[0; 8], 8), notes(&data, 4)],
    );
    elf.big_endian = true;
    let (bytes, offsets) = elf.write();
    let file = ElfFile::parse(SizedSource::new(&bytes).unwrap())
        .unwrap()
        .unwrap();
    assert_eq!(file.encoding().class, Class::Elf64);
    assert_eq!(file.encoding().endian, Endian::Big);
    assert_eq!(file.header().e_machine, EM_AARCH64);
    assert_eq!(file.header().e_entry, 0x1000);

    let headers: Vec<_> = file.program_headers().map(Result::unwrap).collect();
    let [load, note] = headers.as_slice() else {
        panic!("{headers:?}")
    };
    assert_eq!((load.index, load.header_offset, load.p_type), (0, 64, PT_LOAD));
    assert_eq!((note.index, note.header_offset, note.p_type), (1, 120, PT_NOTE));
    assert_eq!((load.p_paddr, load.p_memsz, load.p_align), (0x1000, 8, 16));

    let start = offsets[1];
    let range = |offset, len| SourceRange::new(start + offset, len).unwrap();
    let notes: Vec<_> = file.notes(note).map(Result::unwrap).collect();
    let expected = [
        Note {
            n_type: 7,
            name: range(12, 4),
            desc: range(16, 2),
        },
        Note {
            n_type: 9,
            name: range(32, 0),
            desc: range(32, 0),
        },
    ];
    assert_eq!(notes, expected);
    let named = |note: &Note, name: &[u8]| note.has_name(&file.source(), name).unwrap();
    assert!(named(&notes[0], b"Xen"));
    assert!(!named(&notes[0], b"xen") && !named(&notes[0], b"Xe") && !named(&notes[0], b"Xen\0"));
    assert!(!named(&notes[1], b""));
}

#[test]
fn every_header_of_a_long_table_is_read_once() {
    // Longer than one chunk of either class, and no multiple of it.
    for machine in [EM_X86_64, EM_386] {
        let phdrs = (0..150).map(|i| load(0x1000 + 16 * i, &[], 16)).collect();
        let bytes = Elf::new(machine, 0x1000, phdrs).bytes();
        let file = ElfFile::parse(SizedSource::new(&bytes).unwrap())
            .unwrap()
            .unwrap();
        assert_eq!(file.program_header_count(), 150);
        let found: Vec<_> = file
            .program_headers()
            .map(|header| header.map(|header| (header.index, header.p_paddr)).unwrap())
            .collect();
        let expected: Vec<_> = (0..150).map(|i| (i, 0x1000 + 16 * u64::from(i))).collect();
        assert_eq!(found, expected);
    }
}

#[test]
fn iterators_end_after_an_error() {
    let bytes = Elf::new(EM_X86_64, 0x1000, vec![notes(&[0xff; 64], 4)]).bytes();
    let file = ElfFile::parse(SizedSource::new(&bytes).unwrap())
        .unwrap()
        .unwrap();
    let header = file.program_headers().next().unwrap().unwrap();
    let mut notes = file.notes(&header);
    assert!(notes.next().unwrap().is_err());
    assert!(notes.next().is_none());
}
