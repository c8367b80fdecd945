//! Base relocations.

use boot_core::{ReadError, SizedSource, SourceRange, arith};

use super::constants::RelocationType;
use super::error::{Malformed, PeError, Unsupported};
use super::raw;
use super::rva::RvaRange;

/// Number of bytes per read of a block: even.
const CHUNK: usize = 256;

/// Base relocation: a field to change if the image is not loaded at its `ImageBase`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub struct BaseRelocation {
    /// RVA of the field, which lies inside the image.
    pub rva: u32,
    /// Type of the relocation: supported, and never [`RelocationType::ABSOLUTE`].
    pub relocation_type: RelocationType,
}

/// Iterator over the base relocations of a PE file, in the order of the file, without padding. It ends after an error.
#[derive(Clone, Debug)]
pub struct Relocations<'a> {
    source: SizedSource<'a>,
    size_of_image: u32,
    /// Remaining part of the table, in memory and in the file.
    table: (RvaRange, SourceRange),
    /// File range of the remaining part of the block.
    block: SourceRange,
    /// RVA that the offsets in the block are relative to.
    page: u32,
    /// Bytes that were read of the block; `chunk[at..filled]` was not used yet.
    chunk: [u8; CHUNK],
    at: usize,
    filled: usize,
}

impl<'a> Relocations<'a> {
    pub(super) fn new(source: SizedSource<'a>, table: (RvaRange, SourceRange), size_of_image: u32) -> Self {
        Self {
            source,
            size_of_image,
            table,
            block: SourceRange::whole(0),
            page: 0,
            chunk: [0; CHUNK],
            at: 0,
            filled: 0,
        }
    }

    fn end(&mut self) {
        self.table = (RvaRange::default(), SourceRange::whole(0));
        self.block = SourceRange::whole(0);
        self.filled = 0;
    }

    /// Next entry of the block, if there is one.
    fn entry(&mut self) -> Result<Option<u16>, ReadError> {
        if self.at >= self.filled {
            let left = usize::try_from(self.block.len()).unwrap_or(CHUNK);
            let Some(chunk) = self.chunk.get_mut(..left.min(CHUNK)).filter(|c| !c.is_empty()) else {
                return Ok(None);
            };
            self.source.read_exact_at(self.block.offset(), chunk)?;
            (self.at, self.filled) = (0, chunk.len());
            self.block = skip(self.block, arith::to_u64(chunk.len()));
        }
        let bytes = self.chunk.get(self.at..).and_then(|rest| rest.first_chunk());
        self.at = self.at.saturating_add(2);
        Ok(bytes.copied().map(u16::from_le_bytes))
    }

    /// Starts the next block. False if there is none.
    fn next_block(&mut self) -> Result<bool, PeError> {
        let (range, data) = self.table;
        if range.is_empty() {
            return Ok(false);
        }
        let header_len = arith::to_u64(size_of::<raw::BaseRelocationBlock>());
        let header = match data.len().cmp(&header_len) {
            core::cmp::Ordering::Less => raw::BaseRelocationBlock {
                page_rva: 0.into(),
                block_size: 0.into(),
            },
            _ => self.source.read(data.offset())?,
        };
        let size = header.block_size.get();
        let block = SourceRange::new(data.offset(), size.into())
            .filter(|block| block.len() >= header_len && size % 2 == 0 && block.end() <= data.end())
            .ok_or(Malformed::RelocationBlock {
                rva: range.start(),
                size,
                end: range.end(),
            })?;
        // "Each block must start on a 32-bit boundary": two bytes of padding may precede the next one.
        let step = size.checked_next_multiple_of(4).unwrap_or(size);
        let rest = range.len().saturating_sub(step);
        self.table = (
            RvaRange::new(range.start().saturating_add(step), rest).unwrap_or_default(),
            skip(data, step.into()),
        );
        self.block = skip(block, header_len);
        self.page = header.page_rva.get();
        Ok(true)
    }

    fn step(&mut self) -> Result<Option<BaseRelocation>, PeError> {
        loop {
            let Some(entry) = self.entry()? else {
                if self.next_block()? {
                    continue;
                }
                return Ok(None);
            };
            let [low, high] = entry.to_le_bytes();
            let relocation_type = RelocationType(high >> 4);
            if relocation_type == RelocationType::ABSOLUTE {
                continue;
            }
            let offset = u16::from_le_bytes([low, high & 0xf]);
            let rva = u64::from(self.page).saturating_add(offset.into());
            let image = self.size_of_image;
            let Some(width) = relocation_type.width() else {
                return Err(Unsupported::RelocationType { rva, relocation_type }.into());
            };
            let end = rva.saturating_add(width.into());
            return match u32::try_from(rva) {
                Ok(rva) if end <= image.into() => Ok(Some(BaseRelocation { rva, relocation_type })),
                _ => Err(Malformed::RelocationOutsideImage {
                    rva,
                    relocation_type,
                    image,
                }
                .into()),
            };
        }
    }
}

impl Iterator for Relocations<'_> {
    type Item = Result<BaseRelocation, PeError>;

    fn next(&mut self) -> Option<Self::Item> {
        let item = self.step().transpose();
        if matches!(item, None | Some(Err(_))) {
            self.end();
        }
        item
    }
}

impl core::iter::FusedIterator for Relocations<'_> {}

/// Remaining part of `range` after its first `len` bytes.
fn skip(range: SourceRange, len: u64) -> SourceRange {
    let len = len.min(range.len());
    SourceRange::new(
        range.offset().saturating_add(len),
        range.len().saturating_sub(len),
    )
    .unwrap_or(range)
}
