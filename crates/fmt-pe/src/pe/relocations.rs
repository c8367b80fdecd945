//! Base relocations.

use core::fmt;

use boot_core::{ReadError, SizedSource, SourceRange, arith};

use super::{Machine, Malformed, PeError, RvaRange, raw};

/// How many bytes of a block are read at a time: even.
const CHUNK: usize = 256;

/// How a place is relocated ("Base Relocation Types"): four bits.
///
/// *Distance* is what the image's address exceeds its `ImageBase` by. Numbers 5, 7, 8 and 9 mean something else on every
/// machine; [`name`](Self::name) tells.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RelocationType(pub u8);

impl RelocationType {
    /// Nothing: padding.
    pub const ABSOLUTE: Self = Self(0);
    /// The upper 16 bits of the distance are added to a 16-bit field, the upper half of a word.
    pub const HIGH: Self = Self(1);
    /// The lower 16 bits of the distance are added to a 16-bit field, the lower half of a word.
    pub const LOW: Self = Self(2);
    /// The distance is added to a 32-bit field.
    pub const HIGHLOW: Self = Self(3);
    /// As [`HIGH`](Self::HIGH), with the lower half of the word, which is not in memory, in
    /// [`BaseRelocation::low_half`].
    pub const HIGHADJ: Self = Self(4);
    /// MIPS: a jump instruction.
    pub const MIPS_JMPADDR: Self = Self(5);
    /// Arm: a `movw`/`movt` pair.
    pub const ARM_MOV32: Self = Self(5);
    /// riscv: the high 20 bits of an address.
    pub const RISCV_HIGH20: Self = Self(5);
    /// Reserved.
    pub const RESERVED: Self = Self(6);
    /// Thumb: a `movw`/`movt` pair.
    pub const THUMB_MOV32: Self = Self(7);
    /// riscv: the low 12 bits of an address in an I-type instruction.
    pub const RISCV_LOW12I: Self = Self(7);
    /// riscv: the low 12 bits of an address in an S-type instruction.
    pub const RISCV_LOW12S: Self = Self(8);
    /// LoongArch: an instruction sequence that loads an address.
    pub const LOONGARCH_MARK_LA: Self = Self(8);
    /// MIPS: a MIPS16 jump instruction.
    pub const MIPS_JMPADDR16: Self = Self(9);
    /// The distance is added to a 64-bit field.
    pub const DIR64: Self = Self(10);

    /// The name, where the number means something on `machine`.
    #[must_use]
    pub const fn name(self, machine: Machine) -> Option<&'static str> {
        Some(match (self.0, machine) {
            (0, _) => "ABSOLUTE",
            (1, _) => "HIGH",
            (2, _) => "LOW",
            (3, _) => "HIGHLOW",
            (4, _) => "HIGHADJ",
            (5, Machine::R4000) => "MIPS_JMPADDR",
            (5, Machine::ARM | Machine::THUMB | Machine::ARMNT) => "ARM_MOV32",
            (5, Machine::RISCV32 | Machine::RISCV64 | Machine::RISCV128) => "RISCV_HIGH20",
            (7, Machine::ARM | Machine::THUMB | Machine::ARMNT) => "THUMB_MOV32",
            (7, Machine::RISCV32 | Machine::RISCV64 | Machine::RISCV128) => "RISCV_LOW12I",
            (8, Machine::RISCV32 | Machine::RISCV64 | Machine::RISCV128) => "RISCV_LOW12S",
            (8, Machine::LOONGARCH32) => "LOONGARCH32_MARK_LA",
            (8, Machine::LOONGARCH64) => "LOONGARCH64_MARK_LA",
            (9, Machine::R4000) => "MIPS_JMPADDR16",
            (10, _) => "DIR64",
            _ => return None,
        })
    }

    /// How many bytes from its address on a relocation of this type changes on `machine`; one where the type has no
    /// meaning there.
    #[must_use]
    pub const fn width(self, machine: Machine) -> u32 {
        match (self.0, machine) {
            (0, _) => 0,
            (1 | 2 | 4, _) => 2,
            (10, _) | (5 | 7, Machine::ARM | Machine::THUMB | Machine::ARMNT) | (8, Machine::LOONGARCH32) => {
                8
            }
            (8, Machine::LOONGARCH64) => 16,
            _ if self.name(machine).is_some() => 4,
            _ => 1,
        }
    }
}

impl fmt::Display for RelocationType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.name(Machine::UNKNOWN) {
            Some(name) => f.pad(name),
            None => write!(f, "type {}", self.0),
        }
    }
}

impl fmt::Debug for RelocationType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "RelocationType({}: {self})", self.0)
    }
}

/// A place that must be changed where the image is not loaded at its `ImageBase`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct BaseRelocation {
    /// The first byte that changes, relative to the image. All bytes that the type changes are in the image.
    pub rva: u32,
    /// How it changes. Never [`RelocationType::ABSOLUTE`].
    pub kind: RelocationType,
    /// The lower half of the word whose upper half is at `rva`, for [`RelocationType::HIGHADJ`].
    pub low_half: Option<u16>,
}

/// The base relocations of a PE file, in the order of the file, without padding. After an error, it ends.
#[derive(Clone, Debug)]
pub struct Relocations<'a> {
    source: SizedSource<'a>,
    machine: Machine,
    size_of_image: u32,
    /// What is left of the table: where it is in memory, and in the file.
    table: (RvaRange, SourceRange),
    /// What is left of the block: where it is in the file, and what offsets are added to.
    block: SourceRange,
    page: u32,
    /// What was read of the block: `chunk[at..filled]` was not used yet.
    chunk: [u8; CHUNK],
    at: usize,
    filled: usize,
}

impl<'a> Relocations<'a> {
    pub(super) fn new(
        source: SizedSource<'a>,
        table: (RvaRange, SourceRange),
        machine: Machine,
        size_of_image: u32,
    ) -> Self {
        Self {
            source,
            machine,
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

    /// The next 16 bits of the block, if it has any left.
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

    /// Goes to the next block. Whether there is one.
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
            .filter(|block| block.len() >= header_len && size.is_multiple_of(2) && block.end() <= data.end())
            .ok_or(Malformed::RelocationBlock {
                rva: range.start(),
                size,
                end: range.end(),
            })?;
        // "Each block must start on a 32-bit boundary": the file may leave two bytes before the next one.
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
            let kind = RelocationType(high >> 4);
            if kind == RelocationType::ABSOLUTE {
                continue;
            }
            let offset = u16::from_le_bytes([low, high & 0xf]);
            let rva = u64::from(self.page).saturating_add(offset.into());
            let image = self.size_of_image;
            let end = rva.saturating_add(kind.width(self.machine).into());
            let rva = match u32::try_from(rva) {
                Ok(rva) if end <= image.into() => rva,
                _ => return Err(Malformed::RelocationOutside { rva, kind, image }.into()),
            };
            let low_half = match kind {
                RelocationType::HIGHADJ => Some(self.entry()?.ok_or(Malformed::RelocationCut { rva })?),
                _ => None,
            };
            return Ok(Some(BaseRelocation { rva, kind, low_half }));
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

/// What is left of `range` after its first `len` bytes.
fn skip(range: SourceRange, len: u64) -> SourceRange {
    let len = len.min(range.len());
    SourceRange::new(
        range.offset().saturating_add(len),
        range.len().saturating_sub(len),
    )
    .unwrap_or(range)
}
