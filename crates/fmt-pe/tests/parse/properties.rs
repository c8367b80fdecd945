//! What holds for any bytes.

use boot_core::{DetectError, FormatErrorKind, SizedSource, detect};
use fmt_pe::pe::{PeError, PeFile};
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::{Index, select};

use crate::file::{File, at, image_samples, pe_samples};
use crate::{image_promises, pe_promises};

/// Reads `file` as everything there is, which must not panic, and checks the promises of what is accepted. Whether
/// anything was.
fn read(file: &[u8]) -> bool {
    match detect(&fmt_pe::FORMATS, &file) {
        Err(DetectError::Format(error)) => assert_ne!(error.kind, FormatErrorKind::Read, "{error:?}"),
        Err(DetectError::Read(error)) => panic!("a slice can be read: {error}"),
        _ => {}
    }
    if let Err(PeError::Read(error)) = PeFile::open(SizedSource::new(&file).unwrap()) {
        panic!("a slice can be read: {error}");
    }
    let is_image = image_promises::check_all(file);
    let is_pe = pe_promises::check(file);
    is_image || is_pe
}

fn bytes(words: &[u64]) -> Vec<u8> {
    words.iter().flat_map(|word| word.to_le_bytes()).collect()
}

/// A change of a good file.
#[derive(Clone, Debug)]
enum Change {
    /// One byte of the headers becomes another.
    HeaderByte(Index, u8),
    /// One byte of the file becomes another.
    Byte(Index, u8),
    /// Four bytes, at the offset of a field, become a number that is near some limit.
    Field(usize, u32),
    /// The file is cut.
    Cut(Index),
}

fn change() -> impl Strategy<Value = Change> {
    let fields = [
        0x08,
        0x0c,
        0x10,
        0x14,
        0x18,
        0x20,
        0x30,
        0x38,
        0x3c,
        at::MACHINE,
        at::SECTIONS,
        at::SIZE_OF_OPTIONAL_HEADER,
        at::MAGIC,
        at::ENTRY,
        at::SECTION_ALIGNMENT,
        at::FILE_ALIGNMENT,
        at::SIZE_OF_IMAGE,
        at::SIZE_OF_HEADERS,
        at::SUBSYSTEM,
        at::DIRECTORY_COUNT,
        0x130,
        0x134,
        at::TEXT + 8,
        at::TEXT + 12,
        at::TEXT + 16,
        at::TEXT + 20,
        at::DATA + 8,
        at::DATA + 12,
        at::DATA + 16,
        at::DATA + 20,
        at::RELOC + 8,
        at::RELOC + 12,
        at::RELOC + 16,
        at::RELOC + 20,
        at::BLOCK,
        at::BLOCK + 4,
        at::BLOCK + 8,
        at::BLOCK + 12,
    ];
    let near = select(vec![
        0u32,
        3,
        0x80,
        0x200,
        0x400,
        0x800,
        0x1000,
        0x3000,
        0x4000,
        0x20_0000,
        1 << 31,
    ]);
    let near = (near, -17_i32..=17).prop_map(|(n, delta)| n.wrapping_add_signed(delta));
    prop_oneof![
        (any::<Index>(), any::<u8>()).prop_map(|(at, to)| Change::HeaderByte(at, to)),
        (any::<Index>(), any::<u8>()).prop_map(|(at, to)| Change::Byte(at, to)),
        (select(fields.to_vec()), near).prop_map(|(at, to)| Change::Field(at, to)),
        any::<Index>().prop_map(Change::Cut),
    ]
}

fn apply(file: &mut Vec<u8>, change: &Change) {
    if file.is_empty() {
        return;
    }
    match change {
        Change::HeaderByte(at, to) => {
            let at = at.index(file.len().min(0x200));
            file[at] = *to;
        }
        Change::Byte(at, to) => {
            let at = at.index(file.len());
            file[at] = *to;
        }
        Change::Field(at, to) => {
            if let Some(field) = file.get_mut(*at..*at + 4) {
                field.copy_from_slice(&to.to_le_bytes());
            }
        }
        Change::Cut(at) => file.truncate(at.index(file.len())),
    }
}

fn samples() -> Vec<Vec<u8>> {
    let all = image_samples().into_iter().chain(pe_samples());
    all.map(|(_, file)| file).collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(10_000))]

    #[test]
    fn arbitrary_bytes_never_panic(words in vec(any::<u64>(), 0..0x50), cut in 0..8_usize) {
        let file = bytes(&words);
        read(&file[..file.len().saturating_sub(cut)]);
    }

    /// Arbitrary bytes, but in the magic numbers and where nearly every value is refused.
    #[test]
    fn arbitrary_images_never_panic_and_keep_their_promises(
        words in vec(any::<u64>(), 8..0x40),
        is_riscv in any::<bool>(),
        (version, offset_shift, size_shift) in (0..4_u32, 0..64_u32, 0..64_u32),
    ) {
        let header = bytes(&words);
        let len = header.len();
        let new = if is_riscv { File::riscv() } else { File::arm64() };
        let magics = new.clone().build();
        let align = if is_riscv { 0x1f_ffff } else { 3 };
        let file = new
            .resize(len)
            .bytes(0, &header)
            .u64(0x08, (words[1] >> offset_shift) & !align)
            .u64(0x10, words[2] >> size_shift)
            .u32(0x20, version)
            .bytes(0x30, &magics[0x30..0x3c])
            .build();
        read(&file);
    }

    /// Sections and base relocations of arbitrary sizes and places, most of them inside the image.
    #[test]
    fn arbitrary_pe_tables_never_panic_and_keep_their_promises(
        numbers in vec((0..0x1100_u32, 0..0x4400_u32, 0..0x300_u32, 0..0x900_u32), 3),
        machine in select(vec![0x8664_u16, 0x14c, 0xaa64, 0x5064, 0x6264, 0x1c4, 0x166]),
        table in (0..0x4000_u32, 0..0x200_u32),
        entries in vec(any::<u16>(), 0..100),
        (pages, size) in ((0..0x4000_u32, 0..0x4000_u32), 0..0x100_u32),
    ) {
        let headers = [at::TEXT, at::DATA, at::RELOC].into_iter().zip(numbers);
        let file = File::pe()
            .u16(at::MACHINE, machine)
            .directory(5, table.0, table.1)
            .block(0x100, pages.1, &[])
            .block(0, pages.0, &entries)
            .u32(at::BLOCK + 4, size);
        let file = headers.fold(file.clone(), |file, (offset, (size, start, raw, pointer))| {
            file.section(offset, "x", [size, start, raw, pointer], 0)
        });
        read(&file.build());
        // The same table where it is surely found.
        let file = File::pe()
            .u16(at::MACHINE, machine)
            .section(at::RELOC, ".reloc", [0x200, 0x3000, 0x200, 0x600], 0)
            .directory(5, 0x3000, table.1)
            .block(0x100, pages.1, &[])
            .block(0, pages.0, &entries)
            .u32(at::BLOCK + 4, size);
        prop_assert!(read(&file.build()));
    }

    #[test]
    fn changed_files_never_panic_and_keep_their_promises(
        mut file in select(samples()),
        changes in vec(change(), 1..6),
    ) {
        for change in &changes {
            apply(&mut file, change);
        }
        read(&file);
    }
}
