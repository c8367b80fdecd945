//! Warnings about kernels with a small defect.

use fmt_elf::NearMiss;
use fmt_test::TestSource;

use fmt_test::elf::{EM_386, EM_X86_64, Elf, Phdr, load, notes};

/// `value` as a 32-bit number.
fn low(value: u64) -> u32 {
    u32::try_from(value).unwrap()
}

/// `value` as an index.
fn index(value: u64) -> usize {
    usize::try_from(value).unwrap()
}

/// A note with a name and a 32-bit value. `name` has its NUL, if any, and padding is appended.
fn note(name: &[u8], kind: u32) -> Vec<u8> {
    let mut bytes = Vec::new();
    for word in [low(name.len() as u64), 4, kind] {
        bytes.extend(word.to_le_bytes());
    }
    bytes.extend(name);
    bytes.resize(bytes.len().next_multiple_of(4), 0);
    bytes.extend(0x10_0010_u32.to_le_bytes());
    bytes
}

fn near_misses(bytes: &[u8]) -> Vec<NearMiss> {
    let image = fmt_elf::parse(&bytes).unwrap().unwrap();
    let warnings = image.warnings().iter();
    warnings
        .filter_map(|warning| warning.downcast_ref().copied())
        .collect()
}

fn kernel(machine: u16, note: &[u8]) -> (Vec<u8>, Vec<u64>) {
    let text = load(0x10_0000, &[0x90; 0x20], 0x1000);
    Elf::new(machine, 0x10_0000, vec![text, notes(note, 4)]).write()
}

#[test]
fn a_note_name_needs_its_nul() {
    for machine in [EM_386, EM_X86_64] {
        let check = |bytes: &[u8], expected: Option<u64>| {
            let (file, offsets) = kernel(machine, bytes);
            let expected = expected.map(|at| NearMiss::NoteNameWithoutNul {
                offset: offsets[1] + at,
            });
            assert_eq!(near_misses(&file), Vec::from_iter(expected));
        };
        check(&note(b"Xen", 18), Some(0));
        check(&[note(b"GNU\0", 5), note(b"Xen", 18)].concat(), Some(20));
        check(&note(b"Xen\0", 18), None);
        check(&note(b"Xen", 17), None);
        check(&note(b"Xem", 18), None);
        check(&note(b"Xenx", 18), None);
        check(&note(b"GNU\0", 18), None);
    }
}

/// The file with a table of two sections: the empty one, and one of `kind` with the notes.
fn with_section(machine: u16, kind: u32, note: &[u8]) -> (Vec<u8>, u64) {
    let text = load(0x10_0000, &[0x90; 0x20], 0x1000);
    let (mut file, _) = Elf::new(machine, 0x10_0000, vec![text]).write();
    file.resize(file.len().next_multiple_of(16), 0);
    let offset = file.len() as u64;
    file.extend(note);
    file.resize(file.len().next_multiple_of(16), 0);
    let table = file.len() as u64;
    if machine == EM_386 {
        file.extend([0; 80]);
        let at = index(table) + 40;
        for (field, value) in [(4, kind), (16, low(offset)), (20, low(note.len() as u64))] {
            file[at + field..at + field + 4].copy_from_slice(&value.to_le_bytes());
        }
        file[32..36].copy_from_slice(&low(table).to_le_bytes());
        file[46..50].copy_from_slice(&[40, 0, 2, 0]);
    } else {
        file.extend([0; 128]);
        let at = index(table) + 64;
        file[at + 4..at + 8].copy_from_slice(&kind.to_le_bytes());
        file[at + 24..at + 32].copy_from_slice(&offset.to_le_bytes());
        file[at + 32..at + 40].copy_from_slice(&(note.len() as u64).to_le_bytes());
        file[40..48].copy_from_slice(&table.to_le_bytes());
        file[58..62].copy_from_slice(&[64, 0, 2, 0]);
    }
    (file, offset)
}

#[test]
fn a_note_section_needs_a_program_header() {
    for machine in [EM_386, EM_X86_64] {
        let check = |kind, bytes: &[u8], expected: Option<u64>| {
            let (file, offset) = with_section(machine, kind, bytes);
            let expected = expected.map(|at| NearMiss::NoteSectionWithoutSegment {
                section: 1,
                offset: offset + at,
            });
            assert_eq!(near_misses(&file), Vec::from_iter(expected));
            // Without the end of the table, or of the note, there is no warning, and no error.
            let table_end = file.len() - 1;
            assert_eq!(near_misses(&file[..table_end]), []);
        };
        check(7, &note(b"Xen\0", 18), Some(0));
        check(7, &note(b"Xen", 18), Some(0));
        check(7, &[note(b"Linux\0", 257), note(b"Xen\0", 18)].concat(), Some(24));
        check(1, &note(b"Xen\0", 18), None);
        check(7, &note(b"Xen\0", 6), None);
    }
    // A PT_NOTE for other notes does not help; one for the section does.
    let (file, offset) = with_section(EM_X86_64, 7, &note(b"Xen\0", 18));
    let with_header = |at: u64| {
        let mut file = file.clone();
        // A second program header in the place of the text, which moves to the notes.
        file[56..58].copy_from_slice(&2_u16.to_le_bytes());
        file[64 + 8..64 + 16].copy_from_slice(&offset.to_le_bytes());
        file[120..124].copy_from_slice(&4_u32.to_le_bytes());
        file[128..136].copy_from_slice(&at.to_le_bytes());
        file[152..160].copy_from_slice(&4_u64.to_le_bytes());
        file[160..168].copy_from_slice(&4_u64.to_le_bytes());
        file
    };
    assert_eq!(
        near_misses(&with_header(0x40)),
        [NearMiss::NoteSectionWithoutSegment { section: 1, offset }]
    );
    assert_eq!(near_misses(&with_header(offset)), []);
}

#[test]
fn a_32_bit_kernel_in_the_last_gib_may_have_virtual_addresses() {
    let check = |machine, vaddr, paddr, expected: Option<u64>| {
        let mut text = load(paddr, &[0x90; 0x20], 0x1000);
        text.vaddr = vaddr;
        let (file, _) = Elf::new(machine, vaddr, vec![text]).write();
        let expected = expected.map(|start| NearMiss::VirtualLoadAddress { start });
        assert_eq!(near_misses(&file), Vec::from_iter(expected));
    };
    check(EM_386, 0xc010_0000, 0xc010_0000, Some(0xc010_0000));
    check(EM_386, 0xc000_0000, 0xc000_0000, Some(0xc000_0000));
    check(EM_386, 0xc010_0000, 0x10_0000, None);
    check(EM_386, 0xffff_e010, 0xffff_e010, None);
    check(EM_386, 0xbfff_f000, 0xbfff_f000, None);
    check(EM_X86_64, 0xc010_0000, 0xc010_0000, None);
}

#[test]
fn warnings_name_the_defect_and_the_remedy() {
    let check = |warning: NearMiss, expected: &[&str]| {
        let text = warning.to_string();
        for words in expected {
            assert!(text.contains(words), "{text}");
        }
    };
    check(
        NearMiss::NoteSectionWithoutSegment {
            section: 3,
            offset: 0x40,
        },
        &["section 3", "byte 0x40", "add a PT_NOTE"],
    );
    check(
        NearMiss::NoteNameWithoutNul { offset: 0x40 },
        &["byte 0x40", "add the NUL"],
    );
    check(
        NearMiss::VirtualLoadAddress { start: 0xc010_0000 },
        &["0xc0100000", "`AT`"],
    );
}

/// The number of notes that are examined is limited for the whole file, not for each segment.
#[test]
fn many_segments_with_the_same_notes_are_read_in_bounded_time() {
    let text = load(0x10_0000, &[0x90; 0x20], 0x1000);
    let reads = |segments: usize| {
        let many = vec![note(b"GNU\0", 5); 128].concat();
        let mut phdrs = vec![text.clone(), notes(&many, 4)];
        // They refer to the notes of the first one.
        phdrs.extend((0..segments).map(|_| Phdr {
            p_type: 4,
            ..notes(&[], 4)
        }));
        let (mut file, offsets) = Elf::new(EM_X86_64, 0x10_0000, phdrs).write();
        for index in 0..segments {
            let header = 64 + 56 * (2 + index);
            file[header + 8..header + 16].copy_from_slice(&offsets[1].to_le_bytes());
            file[header + 32..header + 40].copy_from_slice(&(many.len() as u64).to_le_bytes());
        }
        let source = TestSource::new(file);
        fmt_elf::parse(&source).unwrap().unwrap();
        source.reads()
    };
    let (few, many) = (reads(100), reads(1000));
    // The program headers themselves are read several times.
    assert!(
        many < 2 * few,
        "{few} reads, and {many} of ten times the segments"
    );
}
