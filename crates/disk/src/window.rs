//! A part of a byte source.

use boot_core::{BackingStore, ByteSource, ReadError, ReadErrorKind, SourceRange, arith};

/// A part of a [`ByteSource`], such as a partition of a disk. Offset 0 is the start of the part.
#[derive(Clone, Copy, Debug)]
pub struct Window<S> {
    source: S,
    range: SourceRange,
}

impl<S: ByteSource> Window<S> {
    /// The bytes `range` of `source`.
    ///
    /// # Errors
    ///
    /// [`ReadErrorKind::PastEnd`] if the range ends past the end of the source, or the error of [`ByteSource::len`].
    pub fn new(source: S, range: SourceRange) -> Result<Self, ReadError> {
        let len = source.len()?;
        if range.end() > len {
            let window_len = usize::try_from(range.len()).unwrap_or(usize::MAX);
            return Err(ReadError::new(
                range.offset(),
                window_len,
                ReadErrorKind::PastEnd(len),
            ));
        }
        Ok(Self { source, range })
    }

    /// The bytes of the source that the window has.
    #[must_use]
    pub const fn range(&self) -> SourceRange {
        self.range
    }
}

impl<S: ByteSource> ByteSource for Window<S> {
    fn len(&self) -> Result<u64, ReadError> {
        Ok(self.range.len())
    }

    /// An error names offsets of the window if the read is past its end, otherwise those of the source.
    fn read_exact_at(&self, offset: u64, buf: &mut [u8]) -> Result<(), ReadError> {
        let inner = offset
            .checked_add(arith::to_u64(buf.len()))
            .filter(|end| *end <= self.range.len())
            .and_then(|_| self.range.offset().checked_add(offset));
        match inner {
            Some(inner) => self.source.read_exact_at(inner, buf),
            None => Err(ReadError::new(
                offset,
                buf.len(),
                ReadErrorKind::PastEnd(self.range.len()),
            )),
        }
    }

    fn backing_store(&self) -> BackingStore<'_> {
        let BackingStore::Bytes(bytes) = self.source.backing_store() else {
            // Offsets in a file would be others.
            return BackingStore::Opaque;
        };
        let part = usize::try_from(self.range.offset())
            .ok()
            .zip(usize::try_from(self.range.end()).ok());
        part.and_then(|(start, end)| bytes.get(start..end))
            .map_or(BackingStore::Opaque, BackingStore::Bytes)
    }
}
