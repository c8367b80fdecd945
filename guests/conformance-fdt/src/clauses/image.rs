//! The image: its kind, its place, its bytes.

use clauses::{check, image, note, report};
use contract::{Expectation, Image};

use crate::image_header::{self, ImageHeader};
use crate::machine::arch::Record;
use crate::machine::phys;

/// The memory that the image claims, from its first byte to the one past its last.
pub(crate) struct Claim {
    pub(crate) start: u64,
    pub(crate) end: u64,
}

/// Checks the image, and answers what it claims.
pub(crate) fn check(record: &Record, expectation: &Expectation<'_>) -> Claim {
    let mut bytes = [0; image_header::LEN];
    phys::read(record.base, &mut bytes);
    let header = ImageHeader::read(&bytes);
    let kind = if header.is_some() {
        Image::Image
    } else {
        Image::Elf
    };
    report::against("image.kind", &kind, expectation.image.as_ref());
    report::address_against("image.base", record.base, expectation.base);
    image::patterns();
    let mut len = phys::image_length();
    if let Some(header) = header {
        // The kernel clears its own variables; what stands there is nobody's promise.
        if record.dirty != u64::MAX {
            note!("image.bss", "not zero at offset {:#x}", record.dirty);
        }
        let past = header.misplaced_by(record.base);
        check!("image.aligned", past == 0, "{past:#x} past where it belongs";
            "{:#x} past a multiple of 2 MiB", header.text_offset);
        len = len.max(header.image_size);
    } else {
        image::bss(record.dirty);
        report::equal("image.aligned", record.base % 4096, 0);
    }
    Claim {
        start: record.base,
        end: record.base.saturating_add(len),
    }
}
