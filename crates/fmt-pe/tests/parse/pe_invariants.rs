//! Invariants of every accepted PE file.

use boot_core::{SizedSource, SourceRange};
use fmt_pe::pe::{DirectoryEntry, PeFile, RelocationType, RvaRange};

/// Parses `file` and checks the invariants of an accepted file. True if it was accepted.
pub(crate) fn check(file: &[u8]) -> bool {
    let source = SizedSource::new(&file).expect("a slice has a length");
    let pe = match PeFile::parse(source) {
        Ok(None) => return false,
        Ok(Some(pe)) => pe,
        Err(error) => {
            fmt_test::assert_has_text(&error);
            return false;
        }
    };
    let len = file.len() as u64;
    let header = pe.optional_header();
    let image = header.size_of_image;

    // Headers and sections lie in the file and in the image and do not overlap.
    assert!(pe.headers().end() <= len && header.size_of_headers <= image);
    assert_eq!(pe.headers(), SourceRange::whole(header.size_of_headers.into()));
    let mut taken = vec![RvaRange::new(0, header.size_of_headers).expect("inside the image")];
    for section in pe.sections() {
        assert!(section.data.end() <= len && section.range.end() <= image);
        assert!(section.data.len() <= section.range.len().into());
        assert!(taken.iter().all(|other| !other.overlaps(section.range)));
        taken.push(section.range);
        if !section.data.is_empty() {
            assert!(section.data.offset() >= header.size_of_headers.into());
            let filled = RvaRange::new(section.range.start(), section.data.len() as u32);
            assert_eq!(
                pe.data_at(filled.expect("inside the section")),
                Some(section.data)
            );
        }
    }
    let e_lfanew = u32::from_le_bytes(*file[0x3c..].first_chunk().expect("a DOS header"));
    let offset = e_lfanew as usize;
    assert_eq!(file[offset..offset + 4], *b"PE\0\0");
    assert_eq!(pe.check_sum_offset(), u64::from(e_lfanew) + 24 + 64);
    assert_eq!(pe.is_relocs_stripped(), file[offset + 22] & 1 != 0);
    assert!(pe.entry_point().is_none_or(|entry| entry > 0 && entry < image));
    assert!(header.section_alignment.is_power_of_two() && header.file_alignment.is_power_of_two());
    for index in 0..=u8::MAX {
        if let Some(entry) = pe.directory(DirectoryEntry(index)) {
            assert!(index < 16 && entry.size > 0);
            let range = RvaRange::new(entry.virtual_address, entry.size);
            let data = range.and_then(|range| pe.data_at(range));
            assert!(data.is_none_or(|data| data.end() <= len && data.len() == entry.size.into()));
        }
    }

    // Base relocations lie in the image, and there are not more than fit the file.
    let mut count = 0;
    for relocation in pe.relocations().into_iter().flatten().map_while(Result::ok) {
        assert_ne!(relocation.relocation_type, RelocationType::ABSOLUTE);
        let width = relocation.relocation_type.width().expect("a supported type");
        let end = u64::from(relocation.rva) + u64::from(width);
        assert!(end > relocation.rva.into() && end <= image.into());
        count += 1;
    }
    assert!(count <= file.len() / 2);

    let field = pe.check_sum_offset() as usize;
    assert_eq!(file[field..field + 4], header.check_sum.to_le_bytes());
    assert_eq!(
        pe.compute_check_sum().expect("a slice can be read"),
        check_sum(file, field)
    );
    true
}

/// The checksum, word by word with an end-around carry.
fn check_sum(file: &[u8], field: usize) -> u32 {
    let mut file = file.to_vec();
    file[field..field + 4].fill(0);
    let mut sum = 0_u16;
    for word in file.chunks(2) {
        let word = u16::from_le_bytes([word[0], word.get(1).copied().unwrap_or(0)]);
        let (next, carry) = sum.overflowing_add(word);
        sum = next + u16::from(carry);
    }
    u32::from(sum).wrapping_add(file.len() as u32)
}
