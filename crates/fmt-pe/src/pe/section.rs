//! Sections.

use boot_core::SourceRange;

use super::constants::SectionFlags;
use super::error::Malformed;
use super::optional::OptionalHeader;
use super::raw;
use super::rva::RvaRange;
use super::section_name::SectionName;

/// Section of a PE image: bytes of the file and the memory that they are loaded to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub struct Section {
    /// Name.
    pub name: SectionName,
    /// Range in memory, of `VirtualSize` bytes, or of `SizeOfRawData` if that is zero. Inside the image; may be empty.
    pub range: RvaRange,
    /// File range that is loaded to the start of [`range`](Self::range): not longer than that, and after the headers. The
    /// rest of the section is zeroed. Empty if `SizeOfRawData` or `PointerToRawData` is zero, as for a BSS.
    pub data: SourceRange,
    /// `PointerToRawData` and `SizeOfRawData`: [`data`](Self::data) with the padding behind it, as signatures cover it. It may
    /// end past the end of the file; empty where `data` is.
    pub raw: SourceRange,
    /// Contents and access rights.
    pub flags: SectionFlags,
}

impl Section {
    /// Checks a section header of a file of `len` bytes with this optional header.
    pub(super) fn new(
        header: &raw::SectionHeader,
        len: u64,
        optional: &OptionalHeader,
    ) -> Result<Self, Malformed> {
        let name = SectionName(header.name);
        let (headers, image) = (optional.size_of_headers, optional.size_of_image);
        let raw_size = header.size_of_raw_data.get();
        let need = match header.virtual_size.get() {
            0 => raw_size,
            size => size,
        };
        let start = header.virtual_address.get();
        let range = RvaRange::new(start, need)
            .filter(|range| range.end() <= image)
            .ok_or(Malformed::SectionOutsideImage {
                name,
                start,
                need,
                image,
            })?;
        // `FileAlignment` may make the file range longer than the section; the rest is padding.
        let data = match (raw_size, header.pointer_to_raw_data.get()) {
            (0, _) | (_, 0) => SourceRange::whole(0),
            (_, offset) if offset < headers => {
                return Err(Malformed::SectionInHeaders {
                    name,
                    offset,
                    headers,
                });
            }
            (_, offset) => {
                let size = u64::from(raw_size.min(need));
                let data = SourceRange::new(offset.into(), size).unwrap_or(SourceRange::whole(u64::MAX));
                if data.end() > len {
                    return Err(Malformed::SectionTruncated { name, data, len });
                }
                data
            }
        };
        // Both are 32 bits wide, so that the end does not overflow.
        let raw = if data.is_empty() {
            data
        } else {
            SourceRange::new(data.offset(), raw_size.into()).unwrap_or(data)
        };
        Ok(Self {
            name,
            range,
            data,
            raw,
            flags: SectionFlags::from_bits_retain(header.characteristics.get()),
        })
    }

    /// File range of the bytes at `range` in memory, if all of them are in the file range of this section.
    pub(super) fn file_range(&self, range: RvaRange) -> Option<SourceRange> {
        file_range(self.range.start(), self.data, range)
    }
}

/// File range of the bytes at `range` in memory, of `data` that is loaded at `start`.
pub(super) fn file_range(start: u32, data: SourceRange, range: RvaRange) -> Option<SourceRange> {
    let offset = range.start().checked_sub(start)?;
    let part = SourceRange::new(data.offset().checked_add(offset.into())?, range.len().into())?;
    (part.end() <= data.end()).then_some(part)
}
