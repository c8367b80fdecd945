//! Layouts: which bytes of the file go where, by the load addresses of a Multiboot header or by ELF program headers.

use core::mem::offset_of;

use alloc::vec::Vec;

use boot_core::{GuestRange, Segment, SizedSource, SourceRange};
use boot_multiboot::AddressOverride;
use boot_multiboot::v2::Address;

use crate::error::{Expected, MultibootError};
use crate::header::{at, expect};

/// Load addresses in a header, with the places of their fields. The fields of both versions are in the same order.
pub(crate) struct Override {
    pub(crate) addresses: AddressOverride,
    /// Whether the file is loaded from its first byte on, whatever the load address.
    pub(crate) is_whole: bool,
    /// The file offset of the header.
    pub(crate) header: u64,
    /// The file offset of the fields.
    pub(crate) fields_at: u64,
    pub(crate) entry: u32,
    /// The file offset of the entry point's field.
    pub(crate) entry_at: u64,
}

impl Override {
    /// The one segment that the addresses describe (Multiboot 0.6.96, 3.1.3; Multiboot2 2.0, 3.1.5).
    pub(crate) fn segment(&self, source: SizedSource<'_>) -> Result<Segment, MultibootError> {
        let field = |name, distance| at(name, self.fields_at, distance);
        let header = u64::from(self.addresses.header);
        let load = if self.is_whole {
            expect(
                field("header_addr", offset_of!(Address, header_addr)),
                header,
                Expected::AtLeast(self.header),
            )?;
            header.saturating_sub(self.header)
        } else {
            u64::from(self.addresses.load)
        };
        // The first byte that is loaded stands as far before the header in the file as in memory.
        expect(
            field("header_addr", offset_of!(Address, header_addr)),
            header,
            Expected::AtLeast(load),
        )?;
        let before = header.saturating_sub(load);
        expect(
            field("load_addr", offset_of!(Address, load_addr)),
            load,
            Expected::AtLeast(header.saturating_sub(self.header)),
        )?;
        let offset = self.header.saturating_sub(before);
        let left = source.len().saturating_sub(offset);
        let load_end = match u64::from(self.addresses.load_end) {
            0 => load.saturating_add(left),
            end => {
                let load_end = field("load_end_addr", offset_of!(Address, load_end_addr));
                expect(load_end, end, Expected::AtLeast(load.saturating_add(1)))?;
                expect(load_end, end, Expected::AtMost(load.saturating_add(left)))?;
                end
            }
        };
        let end = match u64::from(self.addresses.bss_end) {
            0 => load_end,
            end => {
                expect(
                    field("bss_end_addr", offset_of!(Address, bss_end_addr)),
                    end,
                    Expected::AtLeast(load_end),
                )?;
                end
            }
        };
        let entry = at("entry_addr", self.entry_at, 0);
        expect(entry, self.entry, Expected::Inside(load, end))?;
        // Neither can wrap: the checks above have put all numbers in order.
        let file = SourceRange::new(offset, load_end.saturating_sub(load));
        let range = GuestRange::from_bounds(load, end);
        Ok(Segment::new(
            file.unwrap_or(SourceRange::whole(0)),
            range.unwrap_or(GuestRange::EMPTY),
        ))
    }
}

/// Where the bytes of a file go.
pub(crate) type Layout = Vec<Segment>;

/// Whether whoever loads `larger` also does what `smaller` asks for: the same bytes at the same addresses, and zeros where
/// it has zeros.
pub(crate) fn covers(larger: &[Segment], smaller: &[Segment]) -> bool {
    smaller.iter().all(|part| {
        let first = larger.partition_point(|segment| segment.range.end() <= part.range.start());
        larger.get(first).is_some_and(|segment| holds(segment, part))
    })
}

fn holds(segment: &Segment, part: &Segment) -> bool {
    let file = part.file_part();
    let shift = |part: &Segment| part.source.offset().wrapping_sub(part.range.start());
    let is_file_kept =
        file.is_empty() || (segment.file_part().contains(file) && shift(segment) == shift(part));
    segment.range.contains(part.range) && is_file_kept && !segment.file_part().overlaps(part.zero_part())
}
