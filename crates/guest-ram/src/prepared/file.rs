//! Prepared boots in files.
//!
//! A file has a header, [`RawHeader`], a description in JSON, zeros up to the next multiple of [`ALIGN`], and the pages. Numbers of the header are
//! little-endian. Offsets of pages in the description count from the start of the file.

use std::fs::File;
use std::io::{self, Write};
use std::mem::offset_of;
use std::os::unix::fs::FileExt;

use boot_core::{Arch, GuestRange, ReadError, SizedSource, SourceRange, arith};
use zerocopy::little_endian::{U32, U64};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

use super::{Description, PreparedBoot, end_in_file, in_file};
use crate::file_mapper::{FileMapping, MappedRange};

const MAGIC: &[u8; 16] = b"vmboot-prepared\0";

/// Version of the format of files. A change of the format increments it.
pub const PREPARED_FILE_VERSION: u32 = 1;

/// The first bytes of a file.
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
struct RawHeader {
    /// [`MAGIC`].
    magic: [u8; 16],
    /// [`PREPARED_FILE_VERSION`].
    version: U32,
    /// Zero.
    reserved: U32,
    /// Length of the description in bytes.
    description_len: U64,
}

const _: () = assert!(size_of::<RawHeader>() == 32 && offset_of!(RawHeader, description_len) == 24);

/// Length of the header in bytes.
const HEADER_LEN: u64 = arith::to_u64(size_of::<RawHeader>());

/// Largest description in bytes. One of a boot has a few KiB.
const DESCRIPTION_MAX: u64 = 1 << 20;

/// Bytes that are copied at once.
const CHUNK: usize = 0x10_0000;

/// Alignment of the pages in bytes: the largest size of pages of hosts with these architectures, so that all of them can map the file.
const ALIGN: u64 = 0x1_0000;

/// A file is not a prepared boot that can be loaded.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PreparedFileError {
    /// The file cannot be read, or is shorter than its header says.
    #[error("the file of a prepared boot cannot be read")]
    Read(#[from] ReadError),
    /// The file does not begin with the magic number.
    #[error("the file is not a prepared boot: it does not begin with \"vmboot-prepared\"")]
    Magic,
    /// The file has another version.
    #[error(
        "the prepared boot has version {found} of the format, but only version {PREPARED_FILE_VERSION} is supported; prepare it again"
    )]
    Version {
        /// The version of the file.
        found: u32,
    },
    /// The description is too long.
    #[error("the description of the prepared boot has {found:#x} bytes, more than {DESCRIPTION_MAX:#x}")]
    DescriptionLength {
        /// Its length in bytes.
        found: u64,
    },
    /// The description is not valid JSON, or a value of it is not valid.
    #[error("the description of the prepared boot is malformed")]
    Description(#[from] serde_json::Error),
    /// The description has no entry state of a CPU.
    #[error("the prepared boot starts no CPU")]
    NoCpu,
    /// An entry state is that of another architecture.
    #[error("the prepared boot is for {expected}, but has the entry state of a CPU for {found}")]
    CpuArch {
        /// The architecture of the boot.
        expected: Arch,
        /// The architecture of the state.
        found: Arch,
    },
    /// Pages without bytes, or not behind those before them.
    #[error("the pages of the prepared boot at {0} are empty, or not behind those before them")]
    Order(GuestRange),
    /// Pages whose bytes are not in the file.
    #[error(
        "the pages of the prepared boot at {range} are at {offset:#x} of the file, which has {len:#x} bytes"
    )]
    PastEnd {
        /// The pages.
        range: GuestRange,
        /// Their offset in the file.
        offset: u64,
        /// Length of the file in bytes.
        len: u64,
    },
}

impl PreparedBoot {
    /// Writes the boot in the form that [`open`](Self::open) reads, in any version of this crate with the same
    /// [`PREPARED_FILE_VERSION`].
    ///
    /// # Errors
    ///
    /// Those of `output`, and of reads of the pages.
    pub fn save(&self, output: &mut impl Write) -> io::Result<()> {
        // The length of the description depends on the offsets in it.
        let mut start = ALIGN;
        let json = loop {
            let json = self.description_at(start)?;
            let needed = HEADER_LEN
                .saturating_add(arith::to_u64(json.len()))
                .next_multiple_of(ALIGN);
            if needed <= start {
                break json;
            }
            start = needed;
        };
        let len = arith::to_u64(json.len());
        if len > DESCRIPTION_MAX {
            let error = PreparedFileError::DescriptionLength { found: len };
            return Err(io::Error::new(io::ErrorKind::InvalidInput, error));
        }
        let header = RawHeader {
            magic: *MAGIC,
            version: PREPARED_FILE_VERSION.into(),
            reserved: U32::ZERO,
            description_len: len.into(),
        };
        output.write_all(header.as_bytes())?;
        output.write_all(&json)?;
        let mut written = HEADER_LEN.saturating_add(len);
        for (pages, saved) in self.description.pages.iter().zip(self.pages_at(start)) {
            let padding = saved.offset.saturating_sub(written);
            io::copy(&mut io::Read::take(io::repeat(0), padding), output)?;
            self.copy_pages(pages, output)?;
            written = end_in_file(&saved);
        }
        output.flush()
    }

    /// The description of a file whose pages begin at `start`.
    fn description_at(&self, start: u64) -> serde_json::Result<Vec<u8>> {
        let description = Description {
            pages: self.pages_at(start),
            ..self.description.clone()
        };
        serde_json::to_vec(&description)
    }

    /// The pages in such a file.
    fn pages_at(&self, start: u64) -> Vec<MappedRange> {
        in_file(start, self.description.pages.iter().map(|pages| pages.range))
    }

    fn copy_pages(&self, pages: &MappedRange, output: &mut impl Write) -> io::Result<()> {
        let mut buffer = vec![
            0;
            usize::try_from(pages.range.len())
                .unwrap_or(usize::MAX)
                .min(CHUNK)
        ];
        let mut done = 0;
        while done < pages.range.len() {
            let left = usize::try_from(pages.range.len() - done).unwrap_or(usize::MAX);
            let bytes = buffer.get_mut(..left.min(CHUNK)).unwrap_or_default();
            FileExt::read_exact_at(&self.file, bytes, pages.offset.saturating_add(done))?;
            output.write_all(bytes)?;
            done = done.saturating_add(arith::to_u64(bytes.len()));
        }
        Ok(())
    }

    /// Opens a boot that [`save`](Self::save) wrote. The header and the description are read and checked, the pages are not read.
    ///
    /// The file may come from anybody: [`load`](Self::load) writes to memory of the guest only, and every value that a guest can be given is allowed.
    /// Whether it is the boot that the caller wants is for the caller to find out, by where the file comes from or by a digest of it.
    ///
    /// With [`FileMapping::Trusted`], the pages are mapped from the file, in the time of a few system calls: machines of several processes share them in the
    /// page cache, and nobody may write to the file or shorten it meanwhile. With [`FileMapping::Sealed`], pages of other files than sealed memory files
    /// are copied.
    ///
    /// # Errors
    ///
    /// [`PreparedFileError`].
    pub fn open(file: File, files: FileMapping) -> Result<Self, PreparedFileError> {
        let description = read(&SizedSource::new(&file)?)?;
        Ok(Self {
            description,
            file,
            files,
            sealed_len: None,
        })
    }
}

/// Reads and checks a description.
fn read(source: &SizedSource<'_>) -> Result<Description, PreparedFileError> {
    if source.len() < arith::to_u64(MAGIC.len()) || source.read::<[u8; MAGIC.len()]>(0)? != *MAGIC {
        return Err(PreparedFileError::Magic);
    }
    let header: RawHeader = source.read(0)?;
    let found = header.version.get();
    if found != PREPARED_FILE_VERSION {
        return Err(PreparedFileError::Version { found });
    }
    let found = header.description_len.get();
    let len = usize::try_from(found).ok().filter(|_| found <= DESCRIPTION_MAX);
    let len = len.ok_or(PreparedFileError::DescriptionLength { found })?;
    let description: Description = serde_json::from_slice(&source.read_vec(HEADER_LEN, len)?)?;
    check(&description, source.len())?;
    Ok(description)
}

/// Checks what types cannot express, for a file of `len` bytes.
fn check(description: &Description, len: u64) -> Result<(), PreparedFileError> {
    let expected = description.arch;
    if description.cpus.is_empty() {
        return Err(PreparedFileError::NoCpu);
    }
    if let Some(state) = description.cpus.iter().find(|state| state.arch() != expected) {
        let found = state.arch();
        return Err(PreparedFileError::CpuArch { expected, found });
    }
    let mut end = 0;
    for &MappedRange { range, offset } in &description.pages {
        if range.is_empty() || range.start() < end {
            return Err(PreparedFileError::Order(range));
        }
        end = range.end();
        if SourceRange::new(offset, range.len()).is_none_or(|bytes| bytes.end() > len) {
            return Err(PreparedFileError::PastEnd { range, offset, len });
        }
    }
    Ok(())
}
