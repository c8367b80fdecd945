//! Reads the ELF64 that cargo builds for a guest, and converts it: to a flat memory image, to an ELF32, to an `ET_EXEC`.
//!
//! The `object` crate reads and writes the structures. This module checks what the conversions rely on: one type and
//! machine, and segments in ascending order. xtask does not depend on the `fmt-elf` crate, so that it builds when that
//! crate does not.

use std::ops::Range;

use object::Endianness;
use object::elf::{
    EM_386, EM_AARCH64, EM_RISCV, EM_X86_64, ET_DYN, ET_EXEC, FileHeader64, FileType, Machine, PF_W, PF_X,
    PT_LOAD, SymbolSection,
};
use object::endian::{U16, U64};
use object::read::elf::FileHeader as _;
use object::write::elf::{FileHeader, ProgramHeader, Writer};

/// Error of reading or converting a guest's ELF.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub(crate) enum GuestElfError {
    /// The file is not an ELF64, or its headers are cut off.
    #[error("the guest's ELF64 cannot be read: {0}")]
    Read(#[from] object::read::Error),
    /// The ELF32 cannot be written.
    #[error("the guest's ELF32 cannot be written: {0}")]
    Write(#[from] object::write::Error),
    /// A field of the file header differs from what the guest's target has.
    #[error("the guest's ELF has {found:#x} in its {field} field, expected {expected:#x}")]
    Header {
        field: &'static str,
        found: u16,
        expected: u16,
    },
    /// The file ends before the bytes of a segment do.
    #[error("the file ends before segment {index} of the guest's ELF, {len:#x} bytes at offset {offset:#x}")]
    Truncated { index: usize, offset: u64, len: u64 },
    /// There is nothing to load.
    #[error("the guest's ELF has no PT_LOAD segment")]
    NoSegments,
    /// A segment overlaps the one before it or starts below it, or has more bytes in the file than in memory.
    #[error(
        "segment {index} of the guest's ELF, at {address:#x}, starts before the previous one ends, or its p_filesz \
         exceeds its p_memsz"
    )]
    Disorder { index: usize, address: u64 },
    /// An address does not fit in 32 bits.
    #[error("segment {index} of the guest's ELF ends at {end:#x}, above the 4 GiB of an ELF32")]
    TooHigh { index: usize, end: u64 },
    /// The headers of the ELF32 overlap the bytes of a segment.
    #[error("the ELF32 headers take {headers:#x} bytes, but the first segment's bytes start at {content:#x}")]
    NoRoom { headers: u64, content: u64 },
}

/// Type, machine and byte order that a guest's ELF64 must have.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ElfTarget {
    e_type: FileType,
    e_machine: Machine,
    endianness: Endianness,
}

impl ElfTarget {
    /// x86_64, linked for fixed addresses.
    pub(crate) const X86_64: Self = Self {
        e_type: ET_EXEC,
        e_machine: EM_X86_64,
        endianness: Endianness::Little,
    };
    /// arm64, position-independent.
    pub(crate) const AARCH64: Self = Self {
        e_type: ET_DYN,
        e_machine: EM_AARCH64,
        endianness: Endianness::Little,
    };
    /// Big-endian arm64, position-independent.
    pub(crate) const AARCH64_BE: Self = Self {
        endianness: Endianness::Big,
        ..Self::AARCH64
    };
    /// riscv64, position-independent.
    pub(crate) const RISCV64: Self = Self {
        e_machine: EM_RISCV,
        ..Self::AARCH64
    };

    /// True when headers and data are big-endian.
    pub(crate) fn is_big_endian(self) -> bool {
        self.endianness == Endianness::Big
    }
}

/// A guest's ELF64 whose headers were read and checked.
#[derive(Debug)]
pub(crate) struct GuestElf<'a> {
    file: &'a [u8],
    header: &'a FileHeader64<Endianness>,
    endianness: Endianness,
    segments: Vec<Segment<'a>>,
}

/// A program header, and the bytes of the file that it covers.
#[derive(Debug)]
struct Segment<'a> {
    header: ProgramHeader,
    bytes: &'a [u8],
}

/// The memory of a loaded guest, from its lowest address on.
pub(crate) struct FlatImage {
    /// Physical address of the first byte.
    pub(crate) base: u64,
    /// Physical address of the ELF's entry point.
    pub(crate) entry: u64,
    /// Everything up to the end of the last segment. Gaps, and what has no bytes in the file, are zeros.
    pub(crate) bytes: Vec<u8>,
    /// End of the last byte that comes from the file, as an index into `bytes`.
    pub(crate) file_len: usize,
    /// The segments that the guest does not write, as ranges of `bytes`.
    pub(crate) read_only: Vec<Range<usize>>,
}

impl<'a> GuestElf<'a> {
    /// Reads and checks the headers.
    ///
    /// # Errors
    ///
    /// The file is truncated, is not an ELF64 of `target`, or has no loadable segments in ascending order.
    pub(crate) fn parse(file: &'a [u8], target: ElfTarget) -> Result<Self, GuestElfError> {
        let header = FileHeader64::<Endianness>::parse(file)?;
        let endianness = header.endian()?;
        for (field, found, expected) in [
            (
                "e_ident[EI_DATA]",
                header.e_ident().data.0.into(),
                if target.is_big_endian() { 2 } else { 1 },
            ),
            ("e_type", header.e_type(endianness).0, target.e_type.0),
            ("e_machine", header.e_machine(endianness).0, target.e_machine.0),
        ] {
            if found != expected {
                return Err(GuestElfError::Header {
                    field,
                    found,
                    expected,
                });
            }
        }
        let segments = header
            .program_headers(endianness, file)?
            .iter()
            .enumerate()
            .map(|(index, raw)| Segment::new(index, ProgramHeader::from_raw(endianness, raw), file))
            .collect::<Result<Vec<_>, _>>()?;
        let this = Self {
            file,
            header,
            endianness,
            segments,
        };
        this.check_order()?;
        Ok(this)
    }

    /// Checks that there are loadable segments, each behind the end of the one before.
    fn check_order(&self) -> Result<(), GuestElfError> {
        if self.loads().next().is_none() {
            return Err(GuestElfError::NoSegments);
        }
        let mut end = 0;
        for (index, segment) in self.segments.iter().enumerate() {
            let header = &segment.header;
            if header.p_type != PT_LOAD {
                continue;
            }
            let disorder = GuestElfError::Disorder {
                index,
                address: header.p_paddr,
            };
            if header.p_paddr < end || header.p_filesz > header.p_memsz {
                return Err(disorder);
            }
            end = header.p_paddr.checked_add(header.p_memsz).ok_or(disorder)?;
        }
        Ok(())
    }

    fn loads(&self) -> impl Iterator<Item = &Segment<'a>> {
        self.segments
            .iter()
            .filter(|segment| segment.header.p_type == PT_LOAD)
    }

    /// The lowest physical address of a loadable segment.
    fn base(&self) -> Result<u64, GuestElfError> {
        let addresses = self.loads().map(|segment| segment.header.p_paddr);
        addresses.min().ok_or(GuestElfError::NoSegments)
    }

    /// Lays the segments out in memory, as a loader does.
    ///
    /// # Errors
    ///
    /// The image ends above 4 GiB.
    pub(crate) fn flatten(&self) -> Result<FlatImage, GuestElfError> {
        self.check_below_4g()?;
        let base = self.base()?;
        let mut image = FlatImage {
            base,
            entry: self.header.e_entry(self.endianness),
            bytes: Vec::new(),
            file_len: 0,
            read_only: Vec::new(),
        };
        for Segment { header, bytes } in self.loads() {
            let start = usize::try_from(header.p_paddr - base).unwrap_or(usize::MAX);
            image.bytes.resize(start, 0);
            image.bytes.extend_from_slice(bytes);
            if !header.p_flags.contains(PF_W) {
                image.read_only.push(start..image.bytes.len());
            }
            if !bytes.is_empty() {
                image.file_len = image.bytes.len();
            }
            let end = header.p_paddr - base + header.p_memsz;
            image.bytes.resize(usize::try_from(end).unwrap_or(usize::MAX), 0);
        }
        Ok(image)
    }

    /// Converts the file to an ELF32 for the i386, the form of a 32-bit PVH kernel.
    ///
    /// Virtual addresses become equal to physical ones. The entry point is the first byte of the image, where the
    /// conformance guest has its 32-bit Linux entry. All program headers stay, notes among them, and their bytes keep
    /// their file offsets. There are no section headers.
    ///
    /// # Errors
    ///
    /// An address needs more than 32 bits, or the headers overlap the bytes of the first segment.
    pub(crate) fn to_elf32(&self) -> Result<Vec<u8>, GuestElfError> {
        self.check_below_4g()?;
        let mut out = Vec::new();
        let mut writer = Writer::new(Endianness::Little, false, &mut out);
        writer.reserve_file_header();
        writer.reserve_program_headers(u32::try_from(self.segments.len()).unwrap_or(u32::MAX));
        let headers = writer.reserved_len();
        let contents = || {
            let segments = self.segments.iter().map(|segment| &segment.header);
            segments.filter(|header| header.p_filesz > 0)
        };
        let start = contents().map(|header| header.p_offset).min();
        let content = start.unwrap_or(headers);
        if headers > content {
            return Err(GuestElfError::NoRoom { headers, content });
        }
        let ends = contents().map(|header| header.p_offset + header.p_filesz);
        let end = ends.max().unwrap_or(headers);
        writer.reserve_until(end);

        writer.write_file_header(&FileHeader {
            e_type: ET_EXEC,
            e_machine: EM_386,
            e_entry: self.base()?,
            ..FileHeader::default()
        })?;
        writer.write_align_program_headers();
        for segment in &self.segments {
            writer.write_program_header(&ProgramHeader {
                p_vaddr: segment.header.p_paddr,
                ..segment.header.clone()
            });
        }
        writer.pad_until(content);
        // `parse` has found the bytes of every segment in the file.
        let range = usize::try_from(content).ok().zip(usize::try_from(end).ok());
        let bytes = range.and_then(|(start, end)| self.file.get(start..end));
        writer.write(bytes.unwrap_or_default());
        Ok(out)
    }

    /// A copy of the file with the type `ET_EXEC`: a loader must not relocate it.
    pub(crate) fn to_et_exec(&self) -> Vec<u8> {
        let mut out = self.file.to_vec();
        let mut header = *self.header;
        header.e_type = U16::new(self.endianness, ET_EXEC);
        let header = object::pod::bytes_of(&header);
        out[..header.len()].copy_from_slice(header);
        out
    }

    /// A copy of the file without sections: it ends with the last byte that a program header refers to.
    pub(crate) fn strip(&self) -> Vec<u8> {
        let mut header = *self.header;
        let table_len =
            u64::from(header.e_phentsize(self.endianness)) * u64::from(header.e_phnum(self.endianness));
        let ends = self
            .segments
            .iter()
            .map(|segment| segment.header.p_offset + segment.header.p_filesz);
        let end = ends.fold(header.e_phoff(self.endianness) + table_len, u64::max);
        header.e_shoff = U64::new(self.endianness, 0);
        header.e_shnum = U16::new(self.endianness, 0);
        header.e_shstrndx = U16::new(self.endianness, SymbolSection(0));
        // `parse` has found the table and the bytes of every segment in the file.
        let mut out = self.file.to_vec();
        out.truncate(usize::try_from(end).unwrap_or(usize::MAX));
        let header = object::pod::bytes_of(&header);
        out[..header.len()].copy_from_slice(header);
        out
    }

    /// Bytes of the file that are code: those of the segments that are executed.
    pub(crate) fn code_len(&self) -> u64 {
        let code = self
            .loads()
            .filter(|segment| segment.header.p_flags.contains(PF_X));
        code.map(|segment| segment.header.p_filesz).sum()
    }

    fn check_below_4g(&self) -> Result<(), GuestElfError> {
        let headers = self.segments.iter().map(|segment| &segment.header);
        let ends = headers.map(|header| header.p_paddr.saturating_add(header.p_memsz));
        ends.enumerate()
            .find(|(_, end)| *end > 1 << 32)
            .map_or(Ok(()), |(index, end)| Err(GuestElfError::TooHigh { index, end }))
    }
}

impl<'a> Segment<'a> {
    fn new(index: usize, header: ProgramHeader, file: &'a [u8]) -> Result<Self, GuestElfError> {
        let (offset, len) = (header.p_offset, header.p_filesz);
        let end = offset.checked_add(len);
        let range = usize::try_from(offset)
            .ok()
            .zip(end.and_then(|end| usize::try_from(end).ok()));
        let bytes = range.and_then(|(start, end)| file.get(start..end));
        Ok(Self {
            header,
            bytes: bytes.ok_or(GuestElfError::Truncated { index, offset, len })?,
        })
    }
}

#[cfg(test)]
pub(crate) mod tests;
