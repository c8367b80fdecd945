//! Hashes of PE files as firmware measures and signatures cover them: Windows Authenticode Portable Executable Signature Format,
//! "Calculating the PE Image Hash".

use alloc::vec::Vec;

use boot_core::{ReadError, SizedSource, SourceRange, arith};
use fmt_pe::pe::{DirectoryEntry, PeFile};

use crate::content::Content;
use crate::{Digest, HashAlgorithm, Hasher};

/// Why the hash of a PE file cannot be computed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum AuthenticodeError {
    /// The file cannot be read.
    #[error("the file cannot be read")]
    Read(#[from] ReadError),
    /// A section ends past the end of the file.
    #[error("bytes {range} of a section are past the end of the file, which has {len:#x} bytes")]
    SectionTruncated {
        /// `PointerToRawData` and `SizeOfRawData`.
        range: SourceRange,
        /// Length of the file.
        len: u64,
    },
    /// The certificate table is longer than what follows the sections.
    #[error("the certificate table has {found:#x} bytes, but {max:#x} follow the sections")]
    CertificateTable {
        /// Its length.
        found: u64,
        /// The bytes that follow the sections.
        max: u64,
    },
}

/// The Authenticode hash of a PE file: of its headers without the checksum and without the location of the certificate table, of
/// its sections in the order of the file, and of what follows them up to the certificate table.
///
/// Firmware measures it into PCR 4 when it loads a boot application (TCG PC Client Platform Firmware Profile, section 3.3.4.5).
///
/// # Errors
///
/// [`AuthenticodeError`] where the file is shorter than its sections, or cannot be read.
pub fn authenticode_digest(
    pe: &PeFile<'_>,
    source: &SizedSource<'_>,
    algorithm: HashAlgorithm,
) -> Result<Digest, AuthenticodeError> {
    let mut hasher = Hasher::new(algorithm);
    let headers = pe.headers().end();
    // The entry is missing where the headers have fewer directories.
    let holes = [
        Some((pe.check_sum_offset(), 4)),
        pe.directory_offset(DirectoryEntry::CERTIFICATE)
            .map(|offset| (offset, 8)),
    ];
    let mut at = 0;
    for (hole, len) in holes.into_iter().flatten() {
        hash(&mut hasher, source, at, hole.min(headers))?;
        at = hole.saturating_add(len).min(headers);
    }
    hash(&mut hasher, source, at, headers)?;

    let mut sections: Vec<SourceRange> = pe.sections().iter().map(|section| section.raw).collect();
    sections.retain(|range| !range.is_empty());
    sections.sort_by_key(|range| range.offset());
    let mut hashed = headers;
    for range in sections {
        if range.end() > source.len() {
            return Err(AuthenticodeError::SectionTruncated {
                range,
                len: source.len(),
            });
        }
        hash(&mut hasher, source, range.offset(), range.end())?;
        hashed = hashed.saturating_add(range.len());
    }
    let table = pe.directory(DirectoryEntry::CERTIFICATE);
    let table = table.map_or(0, |table| u64::from(table.size));
    let rest = source.len().saturating_sub(hashed);
    if table > rest {
        return Err(AuthenticodeError::CertificateTable {
            found: table,
            max: rest,
        });
    }
    hash(&mut hasher, source, hashed, source.len().saturating_sub(table))?;
    Ok(hasher.finish())
}

/// Adds the bytes from `start` to `end` of a file to a hash.
fn hash(hasher: &mut Hasher, source: &SizedSource<'_>, start: u64, end: u64) -> Result<(), ReadError> {
    let mut at = start;
    let mut chunk = [0; 4096];
    while at < end {
        let len = usize::try_from(end.saturating_sub(at)).unwrap_or(usize::MAX);
        let part = chunk.split_at_mut(len.min(4096)).0;
        source.read_exact_at(at, part)?;
        hasher.update(part);
        at = at.saturating_add(arith::to_u64(part.len()));
    }
    Ok(())
}

/// The content of a section of a PE file in memory.
pub(crate) fn section_content<'a>(
    source: &'a dyn boot_core::ByteSource,
    section: &fmt_pe::pe::Section,
) -> Content<'a> {
    Content::part(source, section.data).zero_extended(section.range.len().into())
}
