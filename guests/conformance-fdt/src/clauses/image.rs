//! Clauses about the image: format, address, content.

use clauses::{check, image, note, report};
use contract::{Expectation, Image};

use crate::image_header::{self, ImageHeader};
use crate::machine::arch::EntryRecord;
use crate::machine::phys;

/// The memory of the kernel: start and end (exclusive).
pub(crate) struct ClaimedRange {
    pub(crate) start: u64,
    pub(crate) end: u64,
}

/// Checks the image. Returns the memory of the kernel.
pub(crate) fn check(record: &EntryRecord, expectation: &Expectation<'_>) -> ClaimedRange {
    let mut bytes = [0; image_header::LEN];
    phys::read(record.base, &mut bytes);
    let header = ImageHeader::read(&bytes);
    let kind = if header.is_some() {
        Image::Image
    } else {
        Image::Elf
    };
    report::check_expected("image.kind", &kind, expectation.image.as_ref());
    report::check_expected_address("image.base", record.base, expectation.base);
    image::patterns();
    let mut len = phys::image_length();
    if let Some(header) = header {
        // A kernel clears its BSS by itself; the boot protocols do not specify the content.
        if record.dirty != u64::MAX {
            note!("image.bss", "not zero at offset {:#x}", record.dirty);
        }
        check!("image.aligned", header.misalignment(record.base) == 0, "{:#x}", record.base;
            "{:#x} plus a multiple of 2 MiB", header.text_offset);
        len = len.max(header.image_size);
    } else {
        image::bss(record.dirty);
        report::check_equal("image.aligned", record.base % 4096, 0);
    }
    ClaimedRange {
        start: record.base,
        end: record.base.saturating_add(len),
    }
}
