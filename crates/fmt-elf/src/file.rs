//! An ELF file whose header and tables are known to be sound, whatever the file is for.

use boot_core::{Endian, ReadErrorKind, SizedSource, SourceRange, arith};
use zerocopy::FromBytes;

use crate::error::{At, Expected, Part, Unsupported};
use crate::header::{Decode, SectionHeader, at};
use crate::notes::Notes;
use crate::raw::{self, Ident};
use crate::{Class, ElfError, Encoding, FileHeader, ProgramHeader};

/// The highest number of program headers this crate reads.
///
/// Kernels have fewer than twenty. The bound lets through every count that fits `e_phnum`, and some that need
/// `PN_XNUM`. A file must really hold a table of that size, 4 or 7 MiB, to have it read, and what is remembered of it
/// takes less than 10 MiB.
pub const MAX_PROGRAM_HEADERS: u32 = 1 << 17;

/// An ELF file with a valid header and a program header table that lies inside the file.
///
/// This is the view for callers who want to see headers and notes; [`parse`](crate::parse) makes a kernel image of it.
#[derive(Clone, Copy, Debug)]
pub struct ElfFile<'a> {
    source: SizedSource<'a>,
    encoding: Encoding,
    header: FileHeader,
    header_count: u32,
}

impl<'a> ElfFile<'a> {
    /// Reads and checks the ELF header. `Ok(None)` means that this is no ELF file: it has another magic number, or not
    /// enough bytes for one.
    ///
    /// # Errors
    ///
    /// [`ElfError::Read`], [`ElfError::Value`], [`ElfError::PastEnd`], or
    /// [`Unsupported::TooManyProgramHeaders`].
    pub fn open(source: SizedSource<'a>) -> Result<Option<Self>, ElfError> {
        // The header of either class fits, so that one read is enough.
        let mut buf = [0; size_of::<raw::Ehdr64<zerocopy::LE>>()];
        let len = source.read_prefix_at(0, &mut buf)?;
        let bytes = buf.get(..len).unwrap_or(&[]);
        if !bytes.starts_with(&raw::MAGIC) {
            return Ok(None);
        }
        let truncated = |need: usize| ElfError::PastEnd {
            part: Part::FileHeader,
            at: At {
                field: "e_ident",
                offset: 0,
            },
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
        check_header(&header, encoding.class)?;
        let mut file = Self {
            source,
            encoding,
            header,
            header_count: 0,
        };
        file.header_count = file.count_program_headers()?;
        Ok(Some(file))
    }

    /// Where the file's bytes come from.
    #[must_use]
    pub fn source(&self) -> SizedSource<'a> {
        self.source
    }

    /// The class and byte order.
    #[must_use]
    pub fn encoding(&self) -> Encoding {
        self.encoding
    }

    /// The ELF header.
    #[must_use]
    pub fn header(&self) -> &FileHeader {
        &self.header
    }

    /// The number of program headers, from wherever the file keeps it; at most [`MAX_PROGRAM_HEADERS`].
    #[must_use]
    pub fn program_header_count(&self) -> u32 {
        self.header_count
    }

    /// The program headers, in the order of the table.
    #[must_use]
    pub fn program_headers(&self) -> ProgramHeaders<'a> {
        ProgramHeaders {
            file: *self,
            next: 0,
            chunk: [0; CHUNK_LEN],
            filled: 0..0,
        }
    }

    /// The notes in the content of a `PT_NOTE` program header.
    ///
    /// # Errors
    ///
    /// [`ElfError::PastEnd`] where that content is not inside the file.
    pub fn notes(&self, header: &ProgramHeader) -> Result<Notes<'a>, ElfError> {
        Ok(Notes::new(*self, self.content(header)?, header.p_align))
    }

    /// The file content of a segment.
    pub(crate) fn content(&self, header: &ProgramHeader) -> Result<SourceRange, ElfError> {
        let (offset, len) = (header.p_offset, header.p_filesz);
        self.range(
            Part::Segment(header.index),
            at!(header.class, Phdr32 | Phdr64 @ header.position, p_offset),
            offset,
            len,
        )
    }

    fn range(&self, part: Part, at: At, offset: u64, len: u64) -> Result<SourceRange, ElfError> {
        self.source.range(offset, len).map_err(|error| match error.kind {
            ReadErrorKind::PastEnd(file_len) => ElfError::PastEnd {
                part,
                at,
                offset,
                len,
                file_len,
            },
            _ => ElfError::Read(error),
        })
    }

    /// gABI chapter 4, `e_phnum`: a count of `PN_XNUM` stands in section header 0.
    fn count_program_headers(&self) -> Result<u32, ElfError> {
        let class = self.encoding.class;
        let header = &self.header;
        let (count, counted_at) = if header.e_phnum == raw::PN_XNUM {
            let size = SectionHeader::raw_size(class);
            expect(
                at!(class, Ehdr32 | Ehdr64 @ 0, e_shentsize),
                header.e_shentsize,
                Expected::Exactly(arith::to_u64(size)),
            )?;
            let e_shoff = at!(class, Ehdr32 | Ehdr64 @ 0, e_shoff);
            expect(e_shoff, header.e_shoff, Expected::NonZero)?;
            self.range(Part::SectionHeader, e_shoff, header.e_shoff, arith::to_u64(size))?;
            (
                SectionHeader::read(&self.source, header.e_shoff, self.encoding)?.sh_info,
                at!(class, Shdr32 | Shdr64 @ header.e_shoff, sh_info),
            )
        } else {
            (
                u32::from(header.e_phnum),
                at!(class, Ehdr32 | Ehdr64 @ 0, e_phnum),
            )
        };
        if count == 0 {
            return Ok(0);
        }
        if count > MAX_PROGRAM_HEADERS {
            return Err(Unsupported::TooManyProgramHeaders {
                at: counted_at,
                count,
            }
            .into());
        }
        let size = arith::to_u64(ProgramHeader::raw_size(class));
        expect(
            at!(class, Ehdr32 | Ehdr64 @ 0, e_phentsize),
            header.e_phentsize,
            Expected::Exactly(size),
        )?;
        let e_phoff = at!(class, Ehdr32 | Ehdr64 @ 0, e_phoff);
        expect(e_phoff, header.e_phoff, Expected::NonZero)?;
        self.range(
            Part::ProgramHeaders,
            e_phoff,
            header.e_phoff,
            size.saturating_mul(u64::from(count)),
        )?;
        Ok(count)
    }
}

fn check_ident(ident: Ident) -> Result<Encoding, ElfError> {
    let field = |field, offset| At { field, offset };
    let class = match ident.class {
        raw::ELFCLASS32 => Class::Elf32,
        raw::ELFCLASS64 => Class::Elf64,
        found => {
            return Err(ElfError::Value {
                at: field("e_ident[EI_CLASS]", 4),
                found: found.into(),
                expected: Expected::Either(raw::ELFCLASS32.into(), raw::ELFCLASS64.into()),
            });
        }
    };
    let endian = match ident.data {
        raw::ELFDATA2LSB => Endian::Little,
        raw::ELFDATA2MSB => Endian::Big,
        found => {
            return Err(ElfError::Value {
                at: field("e_ident[EI_DATA]", 5),
                found: found.into(),
                expected: Expected::Either(raw::ELFDATA2LSB.into(), raw::ELFDATA2MSB.into()),
            });
        }
    };
    expect(
        field("e_ident[EI_VERSION]", 6),
        ident.version,
        Expected::Exactly(raw::EV_CURRENT.into()),
    )?;
    Ok(Encoding { class, endian })
}

fn check_header(header: &FileHeader, class: Class) -> Result<(), ElfError> {
    expect(
        at!(class, Ehdr32 | Ehdr64 @ 0, e_version),
        header.e_version,
        Expected::Exactly(raw::EV_CURRENT.into()),
    )?;
    expect(
        at!(class, Ehdr32 | Ehdr64 @ 0, e_ehsize),
        header.e_ehsize,
        Expected::Exactly(arith::to_u64(FileHeader::raw_size(class))),
    )
}

/// Checks one field.
pub(crate) fn expect(at: At, found: impl Into<u64>, expected: Expected) -> Result<(), ElfError> {
    let found = found.into();
    let holds = match expected {
        Expected::Exactly(value) => found == value,
        Expected::Either(a, b) => found == a || found == b,
        Expected::PowerOfTwoOrZero => found == 0 || found.is_power_of_two(),
        Expected::PowerOfTwo => found.is_power_of_two(),
        Expected::NonZero => found != 0,
    };
    if holds {
        Ok(())
    } else {
        Err(ElfError::Value { at, found, expected })
    }
}

/// How many bytes of the table one read fetches: 32 headers of a 64-bit file, 56 of a 32-bit one. Kernels have fewer.
const CHUNK_LEN: usize = 32 * size_of::<raw::Phdr64<zerocopy::LE>>();
const _: () = assert!(CHUNK_LEN.is_multiple_of(size_of::<raw::Phdr32<zerocopy::LE>>()));

/// The program headers of a file, read a chunk at a time. Ends after the first error.
#[derive(Clone, Debug)]
pub struct ProgramHeaders<'a> {
    file: ElfFile<'a>,
    /// The index of the next header to hand out.
    next: u32,
    chunk: [u8; CHUNK_LEN],
    /// The part of the chunk that is read but not handed out yet.
    filled: core::ops::Range<usize>,
}

impl ProgramHeaders<'_> {
    /// Reads the chunk that begins with header `next`. There is one, and it lies in the file: `open` checked that.
    fn fill(&mut self, position: u64, size: usize) -> Result<(), ElfError> {
        let left = usize::try_from(self.file.header_count.saturating_sub(self.next)).unwrap_or(usize::MAX);
        let len = left.saturating_mul(size).min(CHUNK_LEN);
        if let Some(chunk) = self.chunk.get_mut(..len) {
            self.file.source.read_exact_at(position, chunk)?;
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
        let position = self.file.header.e_phoff.saturating_add(distance);
        if self.filled.is_empty()
            && let Err(error) = self.fill(position, size)
        {
            self.next = self.file.header_count;
            return Some(Err(error));
        }
        // Neither can fail: the chunk holds whole headers.
        let bytes = self.chunk.get(self.filled.clone())?;
        let header = ProgramHeader::decode(bytes, self.file.encoding)?;
        let index = self.next;
        self.next = index.saturating_add(1);
        self.filled.start = self.filled.start.saturating_add(size);
        Some(Ok(ProgramHeader {
            index,
            position,
            ..header
        }))
    }
}
