//! Fields of containers.

use crate::error::{At, Problem};

/// The rest of the input, and the position of it.
#[derive(Clone, Copy)]
pub(crate) struct Input<'a> {
    rest: &'a [u8],
    position: usize,
}

impl<'a> Input<'a> {
    pub(crate) const fn new(bytes: &'a [u8]) -> Self {
        Self {
            rest: bytes,
            position: 0,
        }
    }

    pub(crate) const fn rest(&self) -> &'a [u8] {
        self.rest
    }

    pub(crate) const fn position(&self) -> usize {
        self.position
    }

    /// The next `len` bytes.
    pub(crate) fn take(&mut self, len: usize) -> Result<&'a [u8], At> {
        let (bytes, rest) = self
            .rest
            .split_at_checked(len)
            .ok_or((self.position, Problem::Truncated))?;
        self.rest = rest;
        self.position = self.position.saturating_add(len);
        Ok(bytes)
    }

    /// The next `N` bytes.
    pub(crate) fn array<const N: usize>(&mut self) -> Result<[u8; N], At> {
        let position = self.position;
        let bytes = self.take(N)?.first_chunk();
        bytes.copied().ok_or((position, Problem::Truncated))
    }

    #[cfg(any(feature = "gzip", feature = "lz4"))]
    pub(crate) fn u32(&mut self) -> Result<u32, At> {
        self.array().map(u32::from_le_bytes)
    }
}
