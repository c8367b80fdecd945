//! Invariants of every loaded PE image.

use boot_core::SizedSource;
use fmt_pe::pe::load::{ImageLayout, LoadError, PAGE_SIZE};
use fmt_pe::pe::{PeFile, RelocationType, SectionFlags};

/// Larger images are not loaded here.
const MAX_SIZE: u32 = 1 << 20;

/// Bytes after the image, which the loader must not change.
const GUARD: usize = 16;

/// Loads `file` for `address` and compares the result with that of a simple loader. True if it was loaded.
pub(crate) fn check(file: &[u8], address: u64) -> bool {
    let source = SizedSource::new(&file).expect("a slice has a length");
    let Ok(Some(pe)) = PeFile::parse(source) else {
        return false;
    };
    let Ok(layout) = ImageLayout::new(&pe) else {
        return false;
    };
    check_layout(&pe, &layout);
    if layout.size > MAX_SIZE {
        return false;
    }
    let mut memory = vec![0xa5; layout.size as usize + GUARD];
    let result = layout.load(&pe, &mut memory, address);
    assert_eq!(memory[layout.size as usize..], [0xa5; GUARD]);
    let expected = model(file, &pe, address);
    match (result, expected) {
        (Ok(()), Some(expected)) => assert_eq!(memory[..layout.size as usize], expected),
        (Ok(()), None) => panic!("loaded, but a relocation is malformed"),
        (Err(LoadError::Address { .. }), _) => {
            let is_aligned = address % u64::from(layout.alignment) == 0;
            assert!(!is_aligned || address.checked_add(layout.size.into()).is_none());
        }
        (Err(LoadError::RelocationsStripped { required, .. }), _) => {
            assert!(pe.is_relocs_stripped() && required != address);
        }
        (Err(error), None) => drop(error.to_string()),
        (Err(error), Some(_)) => panic!("refused: {error}"),
    }
    let short = layout.size as usize - 1;
    let error = layout.load(&pe, &mut memory[..short], address).unwrap_err();
    assert!(matches!(error, LoadError::TooSmall { .. }), "{error}");
    true
}

fn check_layout(pe: &PeFile<'_>, layout: &ImageLayout) {
    assert_eq!(layout.size, pe.optional_header().size_of_image);
    assert!(layout.alignment >= PAGE_SIZE && layout.alignment.is_power_of_two());
    let mut at = 0;
    for region in &layout.regions {
        assert_eq!(region.range.start(), at, "a gap");
        assert!(at % PAGE_SIZE == 0 && !region.range.is_empty());
        at = region.range.end();
    }
    assert_eq!(at, layout.size);
    let holding = |rva| {
        let holds = |r: &&fmt_pe::pe::load::Region| (r.range.start()..r.range.end()).contains(&rva);
        layout.regions.iter().find(holds).expect("the whole image")
    };
    assert!(holding(layout.entry).permissions.execute);
    for section in pe.sections().iter().filter(|section| !section.range.is_empty()) {
        for rva in [section.range.start(), section.range.end() - 1] {
            let granted = holding(rva).permissions;
            let asks = |flag| section.flags.contains(flag);
            assert!(granted.write || !asks(SectionFlags::MEM_WRITE));
            assert!(granted.execute || !asks(SectionFlags::MEM_EXECUTE));
        }
    }
}

/// The loaded image, or `None` if a base relocation cannot be applied.
fn model(file: &[u8], pe: &PeFile<'_>, address: u64) -> Option<Vec<u8>> {
    let mut image = vec![0; pe.optional_header().size_of_image as usize];
    let headers = pe.headers().len() as usize;
    image[..headers].copy_from_slice(&file[..headers]);
    for section in pe.sections() {
        let data = &file[section.data.offset() as usize..section.data.end() as usize];
        let start = section.range.start() as usize;
        image[start..start + data.len()].copy_from_slice(data);
    }
    let delta = i128::from(address) - i128::from(pe.optional_header().image_base);
    for relocation in pe.relocations().ok()? {
        let relocation = relocation.ok()?;
        let width = relocation.relocation_type.width()? as usize;
        let field = &mut image[relocation.rva as usize..][..width];
        let old = field
            .iter()
            .rev()
            .fold(0_i128, |n, byte| n << 8 | i128::from(*byte));
        let new = match relocation.relocation_type {
            RelocationType::HIGH => old + (delta >> 16),
            RelocationType::HIGHLOW => {
                // Arithmetic modulo 2^64 must give a 32-bit address.
                let new = (old + delta).rem_euclid(1 << 64);
                u32::try_from(new).ok()?;
                new
            }
            _ => old + delta,
        };
        field.copy_from_slice(&new.to_le_bytes()[..width]);
    }
    Some(image)
}
