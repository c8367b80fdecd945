//! ELF files with a valid header and program header table.

use boot_core::{Endian, ReadErrorKind, SizedSource, SourceRange, arith};
use zerocopy::FromBytes;

use crate::encoding::{Class, Encoding};
use crate::error::{ElfError, Field, FileRegion, Unsupported, ValidValues};
use crate::header::{Decode, FileHeader, ProgramHeader, SectionHeader, field};
use crate::limits::MAX_PROGRAM_HEADERS;
use crate::note_error::NoteError;
use crate::notes::Notes;
use crate::raw::{self, Ident};

/// ELF file with a valid header and a program header table inside the file.
///
/// It gives access to headers and notes; [`parse`](crate::parse()) returns a kernel image.
#[derive(Clone, Copy, Debug)]
pub struct ElfFile<'a> {
    source: SizedSource<'a>,
    encoding: Encoding,
    os_abi: u8,
    header: FileHeader,
    header_count: u32,
}

impl<'a> ElfFile<'a> {
    /// Reads and checks the ELF header. `Ok(None)` if the source does not begin with the ELF magic number.
    ///
    /// The file borrows the byte source; [`SizedSource::new`] wraps one.
    ///
    /// # Errors
    ///
    /// [`ElfError::Read`], [`ElfError::InvalidField`], [`ElfError::Truncated`] or
    /// [`Unsupported::TooManyProgramHeaders`].
    pub fn parse(source: SizedSource<'a>) -> Result<Option<Self>, ElfError> {
        // The header of either class fits, so one read is enough.
        let mut buf = [0; size_of::<raw::Ehdr64<zerocopy::LE>>()];
        let len = source.read_prefix_at(0, &mut buf)?;
        let bytes = buf.get(..len).unwrap_or(&[]);
        if !bytes.starts_with(&raw::MAGIC) {
            return Ok(None);
        }
        let truncated = |need: usize| ElfError::Truncated {
            region: FileRegion::FileHeader,
            field: Field::new("e_ident", 0),
            offset: 0,
            len: arith::to_u64(need),
            file_len: source.len(),
        };
        let Ok((ident, _)) = Ident::read_from_prefix(bytes) else {
            return Err(truncated(size_of::<Ident>()));
        };
        let encoding = check_ident(ident)?;
        let header = FileHeader::decode(bytes, encoding)
            .ok_or_else(|| truncated(FileHeader::raw_size(encoding.class)))?;
        let mut file = Self {
            source,
            encoding,
            os_abi: ident.os_abi,
            header,
            header_count: 0,
        };
        file.header_count = file.count_program_headers()?;
        Ok(Some(file))
    }

    /// Source of the file.
    #[must_use]
    pub fn source(&self) -> SizedSource<'a> {
        self.source
    }

    /// Class and byte order.
    #[must_use]
    pub fn encoding(&self) -> Encoding {
        self.encoding
    }

    /// Operating system or ABI that the file is for: `e_ident[EI_OSABI]`.
    #[must_use]
    pub fn os_abi(&self) -> u8 {
        self.os_abi
    }

    /// ELF header.
    #[must_use]
    pub fn header(&self) -> &FileHeader {
        &self.header
    }

    /// Number of program headers, from `e_phnum` or section header 0; at most [`MAX_PROGRAM_HEADERS`].
    #[must_use]
    pub fn program_header_count(&self) -> u32 {
        self.header_count
    }

    /// Program headers, in the order of the table. Items are errors if the source cannot be read.
    #[must_use]
    pub fn program_headers(&self) -> ProgramHeaders<'a> {
        ProgramHeaders {
            file: *self,
            next: 0,
            chunk: [0; CHUNK_LEN],
            filled: 0..0,
        }
    }

    /// Notes of the segment of `header`, a `PT_NOTE` program header of this file.
    #[must_use]
    pub fn notes(&self, header: &ProgramHeader) -> Notes<'a> {
        let (offset, len) = (header.p_offset, header.p_filesz);
        let file_len = self.source.len();
        let available = len.min(file_len.saturating_sub(offset));
        let truncated = (available < len).then_some(NoteError::SegmentTruncated {
            index: header.index,
            offset,
            len,
            file_len,
        });
        // `None` only past the end of the file, where there are no notes.
        let content = SourceRange::new(offset, available).unwrap_or(SourceRange::whole(0));
        Notes::new(self.source, self.encoding, content, header.p_align, truncated)
    }

    /// File range of the content of a segment.
    pub(crate) fn content(&self, header: &ProgramHeader) -> Result<SourceRange, ElfError> {
        let (offset, len) = (header.p_offset, header.p_filesz);
        self.range(
            FileRegion::Segment(header.index),
            field!(header.class, Phdr32 | Phdr64 @ header.header_offset, p_offset),
            offset,
            len,
        )
    }

    fn range(
        &self,
        region: FileRegion,
        field: Field,
        offset: u64,
        len: u64,
    ) -> Result<SourceRange, ElfError> {
        self.source.range(offset, len).map_err(|error| match error.kind {
            ReadErrorKind::PastEnd(file_len) => ElfError::Truncated {
                region,
                field,
                offset,
                len,
                file_len,
            },
            _ => ElfError::Read(error),
        })
    }

    /// gABI chapter 4, `e_phnum`: with `PN_XNUM`, the count is in section header 0.
    fn count_program_headers(&self) -> Result<u32, ElfError> {
        let class = self.encoding.class;
        let header = &self.header;
        let (count, counted_by) = if header.e_phnum == raw::PN_XNUM {
            let size = SectionHeader::raw_size(class);
            ValidValues::Exactly(arith::to_u64(size)).check(
                field!(class, Ehdr32 | Ehdr64 @ 0, e_shentsize),
                header.e_shentsize,
            )?;
            let e_shoff = field!(class, Ehdr32 | Ehdr64 @ 0, e_shoff);
            ValidValues::NonZero.check(e_shoff, header.e_shoff)?;
            self.range(
                FileRegion::SectionHeader0,
                e_shoff,
                header.e_shoff,
                arith::to_u64(size),
            )?;
            (
                SectionHeader::read(&self.source, header.e_shoff, self.encoding)?.sh_info,
                field!(class, Shdr32 | Shdr64 @ header.e_shoff, sh_info),
            )
        } else {
            (
                u32::from(header.e_phnum),
                field!(class, Ehdr32 | Ehdr64 @ 0, e_phnum),
            )
        };
        if count == 0 {
            return Ok(0);
        }
        if count > MAX_PROGRAM_HEADERS {
            return Err(Unsupported::TooManyProgramHeaders {
                field: counted_by,
                count,
            }
            .into());
        }
        let size = arith::to_u64(ProgramHeader::raw_size(class));
        ValidValues::Exactly(size).check(
            field!(class, Ehdr32 | Ehdr64 @ 0, e_phentsize),
            header.e_phentsize,
        )?;
        let e_phoff = field!(class, Ehdr32 | Ehdr64 @ 0, e_phoff);
        ValidValues::NonZero.check(e_phoff, header.e_phoff)?;
        self.range(
            FileRegion::ProgramHeaderTable,
            e_phoff,
            header.e_phoff,
            size.saturating_mul(u64::from(count)),
        )?;
        Ok(count)
    }
}

fn check_ident(ident: Ident) -> Result<Encoding, ElfError> {
    let class = match ident.class {
        raw::ELFCLASS32 => Class::Elf32,
        raw::ELFCLASS64 => Class::Elf64,
        found => {
            return Err(ElfError::InvalidField {
                field: Field::new("e_ident[EI_CLASS]", 4),
                value: found.into(),
                expected: ValidValues::Either(raw::ELFCLASS32.into(), raw::ELFCLASS64.into()),
            });
        }
    };
    let endian = match ident.data {
        raw::ELFDATA2LSB => Endian::Little,
        raw::ELFDATA2MSB => Endian::Big,
        found => {
            return Err(ElfError::InvalidField {
                field: Field::new("e_ident[EI_DATA]", 5),
                value: found.into(),
                expected: ValidValues::Either(raw::ELFDATA2LSB.into(), raw::ELFDATA2MSB.into()),
            });
        }
    };
    // The version of the layout of all structures.
    ValidValues::Exactly(raw::EV_CURRENT.into())
        .check(Field::new("e_ident[EI_VERSION]", 6), ident.version)?;
    Ok(Encoding { class, endian })
}

/// Bytes of the table per read: 32 headers of a 64-bit file or 56 of a 32-bit one. Kernels have fewer.
const CHUNK_LEN: usize = 32 * size_of::<raw::Phdr64<zerocopy::LE>>();
const _: () = assert!(CHUNK_LEN % size_of::<raw::Phdr32<zerocopy::LE>>() == 0);

/// Iterator over the program headers of a file, which are read in chunks. It ends after the first error.
#[derive(Clone, Debug)]
pub struct ProgramHeaders<'a> {
    file: ElfFile<'a>,
    /// Index of the next header.
    next: u32,
    chunk: [u8; CHUNK_LEN],
    /// Part of the chunk that was read but not yet returned.
    filled: core::ops::Range<usize>,
}

impl ProgramHeaders<'_> {
    /// Reads the chunk that begins with header `next`. `ElfFile::parse` has checked that the table lies in the file.
    fn fill(&mut self, offset: u64, size: usize) -> Result<(), ElfError> {
        let left = usize::try_from(self.file.header_count.saturating_sub(self.next)).unwrap_or(usize::MAX);
        let len = left.saturating_mul(size).min(CHUNK_LEN);
        if let Some(chunk) = self.chunk.get_mut(..len) {
            self.file.source.read_exact_at(offset, chunk)?;
        }
        self.filled = 0..len;
        Ok(())
    }
}

impl Iterator for ProgramHeaders<'_> {
    type Item = Result<ProgramHeader, ElfError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.next >= self.file.header_count {
            return None;
        }
        let size = ProgramHeader::raw_size(self.file.encoding.class);
        let distance = arith::to_u64(size).saturating_mul(self.next.into());
        let header_offset = self.file.header.e_phoff.saturating_add(distance);
        if self.filled.is_empty() {
            if let Err(error) = self.fill(header_offset, size) {
                self.next = self.file.header_count;
                return Some(Err(error));
            }
        }
        // Neither returns `None`: the chunk holds whole headers.
        let bytes = self.chunk.get(self.filled.clone())?;
        let header = ProgramHeader::decode(bytes, self.file.encoding)?;
        let index = self.next;
        self.next = index.saturating_add(1);
        self.filled.start = self.filled.start.saturating_add(size);
        Some(Ok(ProgramHeader {
            index,
            header_offset,
            ..header
        }))
    }
}
