//! Byte sources in pieces, such as files of a file system.

use alloc::vec::Vec;

use boot_core::{ByteSource, ReadError, ReadErrorKind, SourceRange, arith};

/// A list of pieces of a source that follow each other in a file. A piece may be a hole, whose bytes are zero.
///
/// Pieces that continue their predecessor are merged with it. The memory is proportional to the number of pieces that remain.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Extents {
    pieces: Vec<Extent>,
    len: u64,
}

/// A piece of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Extent {
    /// Offset of the piece in the file.
    pub start: u64,
    /// Length in bytes, never 0.
    pub len: u64,
    /// Offset of the piece in the source; `None` for a hole.
    pub source: Option<u64>,
}

impl Extent {
    /// Offset in the file after the piece.
    const fn end(&self) -> u64 {
        self.start.saturating_add(self.len)
    }

    /// Offset in the source after the piece.
    const fn source_end(&self) -> Option<u64> {
        match self.source {
            Some(source) => Some(source.saturating_add(self.len)),
            None => None,
        }
    }
}

/// A piece whose end, in the file or in the source, is above `u64::MAX`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a piece of {len:#x} bytes at offset {file_offset:#x} of the file ends past the last byte offset")]
pub struct ExtentError {
    /// Offset of the piece in the file.
    pub file_offset: u64,
    /// Length of the piece in bytes.
    pub len: u64,
}

impl Extents {
    /// No piece.
    #[must_use]
    pub const fn new() -> Self {
        Self {
            pieces: Vec::new(),
            len: 0,
        }
    }

    /// Appends `range` of the source. An empty range changes nothing.
    ///
    /// # Errors
    ///
    /// [`ExtentError`] if the length would be above `u64::MAX`.
    pub fn push(&mut self, range: SourceRange) -> Result<(), ExtentError> {
        self.append(Some(range.offset()), range.len())
    }

    /// Appends a hole of `len` bytes.
    ///
    /// # Errors
    ///
    /// [`ExtentError`] if the length would be above `u64::MAX`.
    pub fn push_hole(&mut self, len: u64) -> Result<(), ExtentError> {
        self.append(None, len)
    }

    fn append(&mut self, source: Option<u64>, len: u64) -> Result<(), ExtentError> {
        let start = self.len;
        let end = start.checked_add(len).ok_or(ExtentError {
            file_offset: start,
            len,
        })?;
        if len == 0 {
            return Ok(());
        }
        self.len = end;
        match self.pieces.last_mut() {
            Some(last) if last.source_end() == source => last.len = last.len.saturating_add(len),
            _ => self.pieces.push(Extent { start, len, source }),
        }
        Ok(())
    }

    /// Shortens the file to `len` bytes; the end may be inside a piece. A greater `len` changes nothing.
    pub fn truncate(&mut self, len: u64) {
        if len >= self.len {
            return;
        }
        self.len = len;
        let keep = self.pieces.partition_point(|piece| piece.start < len);
        self.pieces.truncate(keep);
        if let Some(last) = self.pieces.last_mut() {
            last.len = last.len.min(len.saturating_sub(last.start));
        }
    }

    /// Length of the file in bytes.
    #[must_use]
    pub const fn len(&self) -> u64 {
        self.len
    }

    /// Whether the length is 0.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The pieces in the order of the file.
    #[must_use]
    pub fn pieces(&self) -> &[Extent] {
        &self.pieces
    }

    /// Fills `buf` with the bytes from `offset` of the file, read from `source`. One read for each piece.
    ///
    /// # Errors
    ///
    /// [`ReadErrorKind::PastEnd`] if the file is shorter, or the error of the source, with its offsets.
    pub fn read(
        &self,
        source: &(impl ByteSource + ?Sized),
        offset: u64,
        buf: &mut [u8],
    ) -> Result<(), ReadError> {
        match offset.checked_add(arith::to_u64(buf.len())) {
            Some(end) if end <= self.len => {}
            _ => {
                return Err(ReadError::new(
                    offset,
                    buf.len(),
                    ReadErrorKind::PastEnd(self.len),
                ));
            }
        }
        let first = self.pieces.partition_point(|piece| piece.end() <= offset);
        let mut position = offset;
        let mut rest = buf;
        for piece in self.pieces.iter().skip(first) {
            if rest.is_empty() {
                break;
            }
            let skip = position.saturating_sub(piece.start);
            let left = usize::try_from(piece.len.saturating_sub(skip)).unwrap_or(usize::MAX);
            let (part, after) = rest.split_at_mut(left.min(rest.len()));
            match piece.source {
                Some(start) => source.read_exact_at(start.saturating_add(skip), part)?,
                None => part.fill(0),
            }
            position = position.saturating_add(arith::to_u64(part.len()));
            rest = after;
        }
        Ok(())
    }
}

/// A file in pieces as a [`ByteSource`].
#[derive(Clone, Debug)]
pub struct ExtentSource<S> {
    source: S,
    extents: Extents,
}

impl<S: ByteSource> ExtentSource<S> {
    /// The pieces `extents` of `source`. Pieces past the end of the source cannot be read.
    pub const fn new(source: S, extents: Extents) -> Self {
        Self { source, extents }
    }

    /// The pieces.
    pub const fn extents(&self) -> &Extents {
        &self.extents
    }
}

impl<S: ByteSource> ByteSource for ExtentSource<S> {
    fn len(&self) -> Result<u64, ReadError> {
        Ok(self.extents.len())
    }

    fn read_exact_at(&self, offset: u64, buf: &mut [u8]) -> Result<(), ReadError> {
        self.extents.read(&self.source, offset, buf)
    }
}
