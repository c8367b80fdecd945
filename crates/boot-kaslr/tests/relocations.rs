//! Relocation tables of small kernels.

use boot_core::{Arch, Endian, EntryAbi, GuestRange, ImageBuilder, KernelImage, SourceRange};
use boot_kaslr::{Kind, Relocations, RelocationsError, VirtualOffset, relocate};
use proptest::prelude::*;

/// Virtual address of the first segment as linked, its low half.
const TEXT: u32 = 0x8100_0000;
/// The second segment, which is at offset 16 of the file.
const DATA: u32 = 0x8120_0000;

/// Two segments of 16 bytes in the file; the second one is followed by 16 zero bytes, and by 4 bytes of the file that no segment has.
fn image() -> KernelImage {
    let range = |start, len| GuestRange::new(start, len).unwrap();
    ImageBuilder::new("elf", Arch::X86_64, Endian::Little, 36)
        .segment(SourceRange::new(0, 16).unwrap(), range(0x100_0000, 16))
        .segment(SourceRange::new(16, 16).unwrap(), range(0x120_0000, 32))
        .entry(EntryAbi::ELF64, 0x100_0000)
        .build()
        .unwrap()
}

fn table(words: &[u32]) -> Vec<u8> {
    words.iter().flat_map(|word| word.to_le_bytes()).collect()
}

fn offset(bytes: u64) -> VirtualOffset {
    VirtualOffset::new(&image(), bytes).unwrap()
}

#[test]
fn places_move_by_their_kind() {
    let words = [
        0x8100_0004_u32,
        0xffff_ffff,
        0xfff0_0000,
        0x8120_0000,
        0x8100_0008,
        0xffff_ffff,
        7,
        8,
        9,
    ];
    let file = table(&words);
    let check = |lists: &[u32], expected: [u32; 9]| {
        let table_bytes = table(lists);
        let relocations = Relocations::parse(&table_bytes).unwrap();
        let mut moved = file.clone();
        relocations
            .apply(&image(), &mut moved, offset(0x20_0000))
            .unwrap();
        assert_eq!(moved, table(&expected), "{lists:x?}");
        let mut unmoved = file.clone();
        relocations
            .apply(&image(), &mut unmoved, VirtualOffset::default())
            .unwrap();
        assert_eq!(unmoved, file);
        relocations.len()
    };
    let all = [0, TEXT, DATA, 0, TEXT + 8, 0, TEXT + 12];
    let expected = [
        0x8120_0004,
        0xffff_ffff,
        0xffd0_0000,
        0x8140_0000,
        0x8120_0008,
        0xffff_ffff,
        7,
        8,
        9,
    ];
    assert_eq!(check(&all, expected), 4);
    // Tables of kernels since Linux 6.15.
    let expected = [
        0x8120_0004,
        0xffff_ffff,
        0xfff0_0000,
        0x8140_0000,
        0x8100_0008,
        0xffff_ffff,
        7,
        8,
        9,
    ];
    assert_eq!(check(&[0, TEXT, 0, TEXT + 12], expected), 2);
    assert_eq!(check(&[0, 0], words), 0);
    assert_eq!(check(&[0, 0, 0], words), 0);
}

#[test]
fn malformed_tables_are_refused() {
    let check = |words: &[u32], expected| {
        assert_eq!(Relocations::parse(&table(words)).unwrap_err(), expected);
    };
    check(&[], RelocationsError::Start { found: 0 });
    check(&[TEXT], RelocationsError::Start { found: TEXT });
    check(&[0], RelocationsError::Lists { found: 1 });
    check(&[0, TEXT], RelocationsError::Lists { found: 1 });
    check(&[0, 0, 0, 0], RelocationsError::Lists { found: 4 });
    check(&[0, 0, 0, TEXT, 0, 0], RelocationsError::Lists { found: 5 });
    assert_eq!(
        Relocations::parse(&[0; 7]).unwrap_err(),
        RelocationsError::Length { len: 7 }
    );
}

#[test]
fn a_table_is_behind_the_section_headers() {
    let mut elf = vec![0; 0x40 + 2 * 0x40];
    elf[..6].copy_from_slice(b"\x7fELF\x02\x01");
    elf[0x28] = 0x40;
    elf[0x3a] = 0x40;
    elf[0x3c] = 2;
    let len = |file: &[u8]| Relocations::behind(file).map(|table| table.map(|table| table.len()));
    assert_eq!(len(&elf), Ok(None));
    assert_eq!(len(&elf[..elf.len() - 1]), Ok(None));
    let with_table = [elf.clone(), table(&[0, TEXT, 0, TEXT, DATA])].concat();
    assert_eq!(len(&with_table), Ok(Some(3)));
    let with_text = [elf.clone(), b"text".to_vec()].concat();
    assert_eq!(
        len(&with_text),
        Err(RelocationsError::Start { found: 0x7478_6574 })
    );
    for (at, value) in [(0, 0), (4, 1), (5, 2), (0x3c, 0), (0x2f, 0xff)] {
        let mut other = with_table.clone();
        other[at] = value;
        assert_eq!(len(&other), Ok(None), "{at:#x}");
    }
    assert_eq!(len(&elf[..0x3f]), Ok(None));
}

#[test]
fn a_kernel_is_moved_in_place_by_the_table_behind_it() {
    // An ELF file of 0xc0 bytes whose segment is its second half.
    let mut elf = vec![0; 0xc0];
    elf[..6].copy_from_slice(b"\x7fELF\x02\x01");
    (elf[0x28], elf[0x3a], elf[0x3c]) = (0x40, 0x40, 2);
    let image = |file: &[u8], len: u64| {
        let range = GuestRange::new(0x100_0000, len).unwrap();
        ImageBuilder::new("elf", Arch::X86_64, Endian::Little, file.len() as u64)
            .segment(SourceRange::new(0x60, len).unwrap(), range)
            .entry(EntryAbi::ELF64, 0x100_0000)
            .build()
            .unwrap()
    };
    let run = |lists: &[u32], len| {
        let mut file = [elf.clone(), table(lists)].concat();
        let image = image(&file, len);
        let offset = VirtualOffset::new(&image, 0x20_0000).unwrap();
        let result = relocate(&image, &mut file, offset);
        (result, file)
    };
    let (result, file) = run(&[0, 0, TEXT + 8], 0x60);
    assert_eq!(result, Ok(true));
    assert_eq!(file[0x68..0x6c], 0x20_0000_u32.to_le_bytes());
    // Nothing is changed without a table, or by one with places in the table itself.
    assert_eq!(run(&[], 0x60), (Ok(false), elf.clone()));
    for place in [TEXT + 0x5d, TEXT + 0x60] {
        let lists = [0, 0, TEXT, place];
        let (result, file) = run(&lists, 0x70);
        assert!(
            matches!(result, Err(RelocationsError::Place { index: 1, .. })),
            "{result:?}"
        );
        assert_eq!(file, [elf.clone(), table(&lists)].concat());
    }
    let mut short = elf.clone();
    let image = image(&[0; 0xd0], 0x60);
    let offset = VirtualOffset::default();
    assert!(matches!(
        relocate(&image, &mut short, offset),
        Err(RelocationsError::OtherFile { .. })
    ));
}

#[test]
fn places_outside_of_the_bytes_of_the_kernel_are_refused() {
    let check = |lists: &[u32], kind, index, addr| {
        let table = table(lists);
        let relocations = Relocations::parse(&table).unwrap();
        let mut file = vec![0x5a; 36];
        let error = relocations
            .apply(&image(), &mut file, offset(0x20_0000))
            .unwrap_err();
        assert_eq!(error, RelocationsError::Place { kind, index, addr });
        assert_eq!(file, [0x5a; 36], "nothing is changed");
    };
    let upper = 0xffff_ffff_0000_0000;
    let at = |low: u32| upper | u64::from(low);
    check(&[0, TEXT, TEXT + 9, 0, TEXT], Kind::Absolute64, 1, at(TEXT + 9));
    check(&[0, TEXT, 0, TEXT + 13], Kind::Absolute32, 0, at(TEXT + 13));
    check(&[0, TEXT, 0, TEXT - 1, 0, TEXT], Kind::Inverse32, 0, at(TEXT - 1));
    check(&[0, 0, TEXT + 16], Kind::Absolute32, 0, at(TEXT + 16));
    check(&[0, 0, DATA + 16], Kind::Absolute32, 0, at(DATA + 16));
    check(&[0, 0, u32::MAX], Kind::Absolute32, 0, u64::MAX);
    check(&[0, 0, 0x100_0000], Kind::Absolute32, 0, 0x100_0000);
}

#[test]
fn another_file_is_refused() {
    let table = table(&[0, 0]);
    let relocations = Relocations::parse(&table).unwrap();
    let error = relocations.apply(&image(), &mut [0; 35], offset(0)).unwrap_err();
    assert_eq!(
        error,
        RelocationsError::OtherFile {
            expected: 36,
            found: 35
        }
    );
}

#[test]
fn errors_name_the_entry() {
    let error = RelocationsError::Place {
        kind: Kind::Inverse32,
        index: 3,
        addr: 0xffff_ffff_8100_0000,
    };
    assert_eq!(
        error.to_string(),
        "entry 3 of the inverse 32-bit relocations is 0xffffffff81000000: the kernel has no bytes of its file there"
    );
}

proptest! {
    #[test]
    fn a_table_moves_the_kernel_as_a_whole_or_not_at_all(
        lists in proptest::collection::vec(
            proptest::collection::vec(prop_oneof![TEXT..TEXT + 20, DATA - 4..DATA + 36, any::<u32>()], 0..4),
            0..5,
        ),
        file in proptest::collection::vec(any::<u8>(), 36),
        slot in 0..400u64,
    ) {
        let words: Vec<u32> = lists.iter().flat_map(|list| [0].iter().chain(list)).copied().collect();
        let table = table(&words);
        let offset = offset(slot << 21);
        let mut moved = file.clone();
        if let Ok(relocations) = Relocations::parse(&table) {
            let result = relocations.apply(&image(), &mut moved, offset);
            // The bytes that no segment has, or all of them.
            let unchanged = if result.is_ok() { 32.. } else { 0.. };
            prop_assert_eq!(&moved[unchanged.clone()], &file[unchanged]);
        }
    }
}
