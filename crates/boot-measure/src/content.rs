//! Bytes to measure, of memory or of a file.

use boot_core::{ByteSource, ReadError, ReadErrorKind, SourceRange, arith};

use crate::{Digest, HashAlgorithm, Hasher};

/// Bytes that are measured as a whole: of memory, or of a part of a file that zeros may follow. A file is read in pieces.
#[derive(Clone, Copy)]
pub struct Content<'a>(Kind<'a>);

#[derive(Clone, Copy)]
enum Kind<'a> {
    Bytes(&'a [u8]),
    Source {
        source: &'a dyn ByteSource,
        range: SourceRange,
        zeros: u64,
    },
}

/// Length of the pieces in bytes.
const CHUNK: usize = 4096;

impl<'a> Content<'a> {
    /// These bytes.
    #[must_use]
    pub const fn bytes(bytes: &'a [u8]) -> Self {
        Self(Kind::Bytes(bytes))
    }

    /// A whole file.
    ///
    /// # Errors
    ///
    /// The error of the source where its length cannot be read.
    pub fn file(source: &'a dyn ByteSource) -> Result<Self, ReadError> {
        Ok(Self::part(source, SourceRange::whole(source.len()?)))
    }

    /// A part of a file.
    #[must_use]
    pub const fn part(source: &'a dyn ByteSource, range: SourceRange) -> Self {
        Self(Kind::Source {
            source,
            range,
            zeros: 0,
        })
    }

    /// The same part of a file with zeros behind it, so that there are `len` bytes: a section of a PE file in memory. Content in
    /// memory, or of this length already, stays as it is.
    #[must_use]
    pub fn zero_extended(self, len: u64) -> Self {
        match self.0 {
            Kind::Source { source, range, .. } => Self(Kind::Source {
                source,
                range,
                zeros: len.saturating_sub(range.len()),
            }),
            Kind::Bytes(_) => self,
        }
    }

    /// Whether there are no bytes.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The number of bytes.
    #[must_use]
    pub fn len(&self) -> u64 {
        match self.0 {
            Kind::Bytes(bytes) => arith::to_u64(bytes.len()),
            Kind::Source { range, zeros, .. } => range.len().saturating_add(zeros),
        }
    }

    /// The digest.
    ///
    /// # Errors
    ///
    /// The error of the source.
    pub fn digest(&self, algorithm: HashAlgorithm) -> Result<Digest, ReadError> {
        let mut hasher = Hasher::new(algorithm);
        self.hash(&mut hasher)?;
        Ok(hasher.finish())
    }

    /// Adds all bytes to a hash.
    pub(crate) fn hash(&self, hasher: &mut Hasher) -> Result<(), ReadError> {
        let (source, range, mut zeros) = match self.0 {
            Kind::Bytes(bytes) => {
                hasher.update(bytes);
                return Ok(());
            }
            Kind::Source { source, range, zeros } => (source, range, zeros),
        };
        let mut chunk = [0; CHUNK];
        let mut offset = range.offset();
        while offset < range.end() {
            let part = first(&mut chunk, range.end().saturating_sub(offset));
            source.read_exact_at(offset, part)?;
            hasher.update(part);
            offset = offset.saturating_add(arith::to_u64(part.len()));
        }
        chunk.fill(0);
        while zeros > 0 {
            let part = first(&mut chunk, zeros);
            hasher.update(part);
            zeros = zeros.saturating_sub(arith::to_u64(part.len()));
        }
        Ok(())
    }
}

/// The bytes, with zeros where they are not in the file.
impl ByteSource for Content<'_> {
    fn len(&self) -> Result<u64, ReadError> {
        Ok(Content::len(self))
    }

    fn read_exact_at(&self, offset: u64, buf: &mut [u8]) -> Result<(), ReadError> {
        let len = Content::len(self);
        let past_end = || ReadError::new(offset, buf.len(), ReadErrorKind::PastEnd(len));
        match offset.checked_add(arith::to_u64(buf.len())) {
            Some(end) if end <= len => {}
            _ => return Err(past_end()),
        }
        match self.0 {
            Kind::Bytes(bytes) => bytes.read_exact_at(offset, buf),
            Kind::Source { source, range, .. } => {
                let in_file = range.len().saturating_sub(offset);
                let in_file = usize::try_from(in_file).unwrap_or(usize::MAX).min(buf.len());
                let (read, zeros) = buf.split_at_mut(in_file);
                zeros.fill(0);
                if read.is_empty() {
                    return Ok(());
                }
                source.read_exact_at(range.offset().saturating_add(offset), read)
            }
        }
    }
}

/// The first `len` bytes of a chunk, or all of it.
fn first(chunk: &mut [u8; CHUNK], len: u64) -> &mut [u8] {
    let len = usize::try_from(len).unwrap_or(CHUNK).min(CHUNK);
    chunk.split_at_mut(len).0
}

impl core::fmt::Debug for Content<'_> {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(f, "Content({} bytes)", self.len())
    }
}
