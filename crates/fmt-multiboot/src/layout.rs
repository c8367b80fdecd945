//! Layouts: the segments of a file by its ELF program headers or by the load addresses of a Multiboot header.

use core::mem::offset_of;

use alloc::vec::Vec;

use boot_core::{GuestRange, Segment, SizedSource, SourceRange};
use boot_multiboot::LoadAddresses;
use boot_multiboot::v2::AddressFields;

use crate::error::{MultibootError, ValidValues};
use crate::header::{check, field};

/// Load addresses and entry point of a Multiboot header, with the file offsets of the fields. The address fields are in the
/// same order in both versions.
pub(crate) struct LoadFields {
    pub(crate) addresses: LoadAddresses,
    /// True if the file is loaded from its first byte, and `load_addr` is ignored.
    pub(crate) is_whole: bool,
    /// File offset of the header.
    pub(crate) header_offset: u64,
    /// File offset of the address fields.
    pub(crate) addresses_offset: u64,
    pub(crate) entry: u32,
    /// File offset of the field of the entry point.
    pub(crate) entry_offset: u64,
}

impl LoadFields {
    /// The only segment, by the load addresses (Multiboot 0.6.96, 3.1.3; Multiboot2 2.0, 3.1.5).
    pub(crate) fn segment(&self, source: SizedSource<'_>) -> Result<Segment, MultibootError> {
        let address_field = |name, distance| field(name, self.addresses_offset, distance);
        let header_addr = u64::from(self.addresses.header_addr);
        let load_addr = if self.is_whole {
            check(
                address_field("header_addr", offset_of!(AddressFields, header_addr)),
                header_addr,
                ValidValues::AtLeast(self.header_offset),
            )?;
            header_addr.saturating_sub(self.header_offset)
        } else {
            u64::from(self.addresses.load_addr)
        };
        check(
            address_field("header_addr", offset_of!(AddressFields, header_addr)),
            header_addr,
            ValidValues::AtLeast(load_addr),
        )?;
        // The distance of the header from the first loaded byte is the same in the file and in memory.
        let distance = header_addr.saturating_sub(load_addr);
        check(
            address_field("load_addr", offset_of!(AddressFields, load_addr)),
            load_addr,
            ValidValues::AtLeast(header_addr.saturating_sub(self.header_offset)),
        )?;
        let offset = self.header_offset.saturating_sub(distance);
        let available = source.len().saturating_sub(offset);
        let load_end = match u64::from(self.addresses.load_end_addr) {
            0 => load_addr.saturating_add(available),
            end => {
                let field = address_field("load_end_addr", offset_of!(AddressFields, load_end_addr));
                check(field, end, ValidValues::AtLeast(load_addr.saturating_add(1)))?;
                check(
                    field,
                    end,
                    ValidValues::AtMost(load_addr.saturating_add(available)),
                )?;
                end
            }
        };
        let end = match u64::from(self.addresses.bss_end_addr) {
            0 => load_end,
            end => {
                check(
                    address_field("bss_end_addr", offset_of!(AddressFields, bss_end_addr)),
                    end,
                    ValidValues::AtLeast(load_end),
                )?;
                end
            }
        };
        check(
            field("entry_addr", self.entry_offset, 0),
            self.entry,
            ValidValues::Inside(load_addr, end),
        )?;
        // Both are `Some`: the checks above establish `load_addr < load_end <= end`, and none of them wraps.
        let file = SourceRange::new(offset, load_end.saturating_sub(load_addr));
        let range = GuestRange::from_bounds(load_addr, end);
        Ok(Segment::new(
            file.unwrap_or(SourceRange::whole(0)),
            range.unwrap_or(GuestRange::EMPTY),
        ))
    }
}

/// Segments in ascending order of addresses.
pub(crate) type Layout = Vec<Segment>;

/// True if loading `larger` includes loading `smaller`: the same bytes at the same addresses, and zeros at the addresses
/// where `smaller` has zeros.
pub(crate) fn covers(larger: &[Segment], smaller: &[Segment]) -> bool {
    smaller.iter().all(|part| {
        let first = larger.partition_point(|segment| segment.range.end() <= part.range.start());
        larger
            .get(first)
            .is_some_and(|segment| segment_covers(segment, part))
    })
}

fn segment_covers(segment: &Segment, part: &Segment) -> bool {
    let file = part.file_part();
    let shift = |part: &Segment| part.source.offset().wrapping_sub(part.range.start());
    let has_same_bytes =
        file.is_empty() || (segment.file_part().contains(file) && shift(segment) == shift(part));
    segment.range.contains(part.range) && has_same_bytes && !segment.file_part().overlaps(part.zero_part())
}
