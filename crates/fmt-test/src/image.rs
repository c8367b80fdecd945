//! Assertions on parsed images.

use std::{error::Error, iter};

use boot_core::{EntryAbi, KernelImage, Placement, Segment};

/// Asserts that an error and its sources have texts.
///
/// # Panics
///
/// If one of the texts is empty.
pub fn assert_has_text(error: &(dyn Error + 'static)) {
    let mut errors = iter::successors(Some(error), |error| (*error).source());
    assert!(errors.all(|error| !error.to_string().is_empty()), "{error:?}");
}

/// Asserts the guarantees of [`KernelImage`] on an image that was parsed from a file of `file_len` bytes.
///
/// # Panics
///
/// If one of the guarantees does not hold.
pub fn assert_valid_image(image: &KernelImage, file_len: usize) {
    assert_eq!(image.source_len(), file_len as u64);
    for warning in image.warnings() {
        assert!(!warning.to_string().is_empty(), "{warning:?}");
    }
    assert!(!image.segments().is_empty());
    let mut end = 0;
    for segment in image.segments() {
        assert!(
            !segment.range.is_empty() && segment.range.start() >= end,
            "{segment:?}"
        );
        assert!(image.extent().contains(segment.range), "{segment:?}");
        assert!(segment.source.len() <= segment.range.len(), "{segment:?}");
        assert!(segment.source.end() <= image.source_len(), "{segment:?}");
        end = segment.range.end();
    }
    assert!(!image.entries().is_empty());
    for (i, entry) in image.entries().iter().enumerate() {
        let holds_entry = |segment: &Segment| segment.range.contains_addr(entry.addr);
        assert!(image.segments().iter().any(holds_entry), "{entry:x?}");
        assert!(
            image.entries()[..i]
                .iter()
                .all(|earlier| earlier.abi != entry.abi),
            "{entry:x?}"
        );
        assert!(
            entry.abi != EntryAbi::PVH || u32::try_from(entry.addr).is_ok(),
            "{entry:x?}"
        );
    }
    if let Placement::Relocatable(rule) = image.placement() {
        assert!(rule.is_valid(), "{rule:?}");
        let congruent = rule.min - rule.min % rule.align + rule.align_offset;
        let lowest = congruent + if congruent < rule.min { rule.align } else { 0 };
        assert!(rule.allows_at(lowest, image.extent().len()), "{rule:?}");
    }
    if let Some(payload) = image.payload() {
        assert!(payload.source.end() <= image.source_len(), "{payload:?}");
    }
}
