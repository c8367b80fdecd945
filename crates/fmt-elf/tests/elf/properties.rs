//! Properties that hold for every file.

use boot_core::{
    Arch, Endian, EntryAbi, EntryPoint, GuestRange, KernelImage, Placement, Segment, SourceRange,
};
use proptest::prelude::*;
use proptest::sample::{Index, select};

use fmt_test::elf::*;

/// A valid file and the expected image.
#[derive(Clone, Debug)]
struct Case {
    elf: Elf,
    entries: Vec<EntryPoint>,
    arch: Arch,
}

/// Disjoint segments in any order of the table, an entry point in one of them by virtual or physical address, notes.
fn valid() -> impl Strategy<Value = Case> {
    let kinds = vec![
        (EM_X86_64, false),
        (EM_386, false),
        (EM_AARCH64, false),
        (EM_AARCH64, true),
        (EM_RISCV, false),
    ];
    // A gap before the segment, its bytes in the file, and its zeros.
    let segment = (0u64..0x3000, 0usize..0x80, 0u64..0x2000);
    (
        select(kinds),
        (any::<bool>(), any::<bool>(), any::<bool>(), any::<bool>()),
        (0x10u64..0x7000_0000, prop::collection::vec(segment, 1..6)),
        (any::<Index>(), any::<Index>(), any::<Index>()),
    )
        .prop_map(|((machine, big_endian), flags, (base, segments), picks)| {
            let (position_independent, xnum, virtual_entry, pvh) = flags;
            let (pick, distance, rotation) = picks;
            let mut elf = Elf::new(machine, 0, place(base, &segments, machine != EM_386));
            elf.big_endian = big_endian;
            elf.e_type = if position_independent { ET_DYN } else { ET_EXEC };
            elf.xnum = xnum;

            let filled: Vec<Phdr> = elf.phdrs.iter().filter(|phdr| phdr.memsz > 0).cloned().collect();
            let phdr = pick.get(&filled);
            let distance = distance.index(usize::try_from(phdr.memsz).unwrap()) as u64;
            let addr = phdr.paddr + distance;
            elf.entry = if virtual_entry {
                phdr.vaddr + distance
            } else {
                addr
            };

            let (arch, abi) = match machine {
                EM_386 => (Arch::X86_64, EntryAbi::ELF32),
                EM_X86_64 => (Arch::X86_64, EntryAbi::ELF64),
                EM_AARCH64 => (Arch::Aarch64, EntryAbi::ELF64),
                _ => (Arch::Riscv64, EntryAbi::ELF64),
            };
            let mut entries = vec![EntryPoint::new(abi, addr)];
            if pvh && arch == Arch::X86_64 {
                let entry = u32::try_from(addr).unwrap();
                let before = note(8, "GNU", 3, &[0xff; 20]);
                elf.phdrs
                    .push(notes(&[before, note(8, "Xen", 18, &words(&[entry]))].concat(), 8));
                let abi = EntryAbi::PVH;
                entries.push(EntryPoint::new(abi, addr));
            }
            let middle = rotation.index(elf.phdrs.len());
            elf.phdrs.rotate_left(middle);
            Case { elf, entries, arch }
        })
}

/// Segments one after the other from `base` on, with separate virtual addresses.
fn place(base: u64, segments: &[(u64, usize, u64)], bits64: bool) -> Vec<Phdr> {
    let distance = if bits64 {
        0xffff_ffff_8000_0000
    } else {
        0x8000_0000
    };
    let mut addr = base;
    let mut phdrs = Vec::new();
    for (i, (gap, filesz, zeros)) in segments.iter().enumerate() {
        addr += gap;
        // The first one is never empty, so that there is something to load.
        let memsz = *filesz as u64 + zeros + u64::from(i == 0);
        phdrs.push(Phdr {
            vaddr: addr + distance,
            ..load(addr, &vec![0x90; *filesz], memsz)
        });
        addr += memsz;
    }
    phdrs
}

/// The segments that the program headers of `bytes` ask for, read by hand.
fn segments_by_hand(bytes: &[u8]) -> Vec<Segment> {
    let bits64 = bytes[4] == 2;
    let number = |offset: usize, len: usize| {
        let field = &bytes[offset..offset + len];
        let push = |value: u64, byte: &u8| value << 8 | u64::from(*byte);
        if bytes[5] == 2 {
            field.iter().fold(0, push)
        } else {
            field.iter().rev().fold(0, push)
        }
    };
    let width = if bits64 { 8 } else { 4 };
    let (phoff, shoff) = (number(24 + width, width), number(24 + 2 * width, width));
    let mut count = number(if bits64 { 56 } else { 44 }, 2);
    if count == 0xffff {
        count = number(usize::try_from(shoff).unwrap() + if bits64 { 44 } else { 28 }, 4);
    }
    let (size, fields) = if bits64 {
        (56, [8, 24, 32, 40])
    } else {
        (32, [4, 12, 16, 20])
    };
    let mut segments = Vec::new();
    for i in 0..usize::try_from(count).unwrap() {
        let header = usize::try_from(phoff).unwrap() + i * size;
        let [offset, paddr, filesz, memsz] = fields.map(|field| number(header + field, width));
        if number(header, 4) == 1 && memsz > 0 {
            let offset = if filesz == 0 { 0 } else { offset };
            segments.push(Segment::new(
                SourceRange::new(offset, filesz).unwrap(),
                GuestRange::new(paddr, memsz).unwrap(),
            ));
        }
    }
    segments.sort_by_key(|segment| segment.range);
    segments
}

/// Checks the promises of `KernelImage`, and the segments against the program headers.
fn check_image(image: &KernelImage, bytes: &[u8]) -> Result<(), TestCaseError> {
    fmt_test::assert_valid_image(image, bytes.len());
    prop_assert_eq!(image.segments(), segments_by_hand(bytes));
    Ok(())
}

/// Changes that may get past the first checks: single bytes, and whole words that are close to a limit.
fn mutations() -> impl Strategy<Value = Vec<(Index, Vec<u8>)>> {
    let word = prop_oneof![
        any::<u64>(),
        0u64..0x400,
        Just(u64::MAX),
        (0u32..64).prop_map(|bit| 1 << bit),
    ];
    let bytes = prop_oneof![
        3 => any::<u8>().prop_map(|byte| vec![byte]),
        1 => (word, any::<bool>(), select(vec![2usize, 4, 8])).prop_map(|(word, big, len)| {
            if big {
                word.to_be_bytes()[8 - len..].to_vec()
            } else {
                word.to_le_bytes()[..len].to_vec()
            }
        }),
    ];
    prop::collection::vec((any::<Index>(), bytes), 0..6)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(10_000))]

    #[test]
    fn arbitrary_bytes_never_panic(mut bytes in prop::collection::vec(any::<u8>(), 0..512), elf in any::<bool>()) {
        if let Some(start) = bytes.get_mut(..7)
            && elf
        {
            start.copy_from_slice(b"\x7fELF\x02\x01\x01");
        }
        if let Ok(Some(image)) = fmt_elf::parse(&bytes) {
            check_image(&image, &bytes)?;
        }
    }

    #[test]
    fn the_parser_reads_what_the_writer_writes(case in valid()) {
        let (bytes, offsets) = case.elf.write();
        let image = fmt_elf::parse(&bytes).unwrap().unwrap();
        check_image(&image, &bytes)?;
        prop_assert_eq!(image.arch(), case.arch);
        let endian = if case.elf.big_endian { Endian::Big } else { Endian::Little };
        prop_assert_eq!(image.endian(), endian);
        prop_assert_eq!(image.entries(), case.entries);
        prop_assert_eq!(image.placement() == Placement::Fixed, case.elf.e_type == ET_EXEC);
        for (phdr, offset) in case.elf.phdrs.iter().zip(offsets) {
            if phdr.p_type == PT_LOAD && !phdr.data.is_empty() {
                let source = SourceRange::new(offset, phdr.data.len() as u64).unwrap();
                let range = GuestRange::new(phdr.paddr, phdr.memsz).unwrap();
                let found = image.segments().contains(&Segment::new(source, range));
                prop_assert!(found, "{} from {}", range, source);
            }
        }
    }

    #[test]
    fn a_damaged_file_is_refused_or_gives_a_valid_image(case in valid(), mutations in mutations(), cut in any::<Option<Index>>()) {
        let mut bytes = case.elf.bytes();
        for (index, new) in mutations {
            // Most of the time at the headers, where a change matters.
            let at = index.index(bytes.len().min(0x200));
            let len = new.len().min(bytes.len() - at);
            bytes[at..at + len].copy_from_slice(&new[..len]);
        }
        if let Some(cut) = cut {
            bytes.truncate(cut.index(bytes.len() * 4));
        }
        if let Ok(Some(image)) = fmt_elf::parse(&bytes) {
            check_image(&image, &bytes)?;
        }
    }
}
