//! Bounded output.

use alloc::vec::Vec;

use crate::error::Problem;

/// Bytes by which the output grows at least.
#[cfg(any(feature = "bzip2", feature = "gzip", feature = "lzma", feature = "xz"))]
const GROWTH: usize = 64 << 10;

/// The decompressed data, at most as long as the caller allows.
pub(crate) struct Output {
    bytes: Vec<u8>,
    limit: usize,
}

impl Output {
    pub(crate) const fn new(limit: usize) -> Self {
        Self {
            bytes: Vec::new(),
            limit,
        }
    }

    pub(crate) fn len(&self) -> usize {
        self.bytes.len()
    }

    /// What was written.
    #[cfg_attr(
        not(any(feature = "gzip", feature = "lz4")),
        expect(dead_code, reason = "for some codecs")
    )]
    pub(crate) fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    pub(crate) fn into_bytes(self) -> Vec<u8> {
        self.bytes
    }

    /// Error of data that is longer than the limit.
    pub(crate) const fn too_long(&self) -> Problem {
        Problem::TooLong { limit: self.limit }
    }

    /// Checks that `len` more bytes are within the limit.
    #[cfg(feature = "lzo")]
    pub(crate) const fn check_room(&self, len: usize) -> Result<(), Problem> {
        if len > self.limit.saturating_sub(self.bytes.len()) {
            return Err(self.too_long());
        }
        Ok(())
    }

    pub(crate) fn extend(&mut self, bytes: &[u8]) -> Result<(), Problem> {
        let len = self.len().saturating_add(bytes.len());
        if len > self.limit {
            return Err(self.too_long());
        }
        self.reserve(bytes.len())?;
        self.bytes.extend_from_slice(bytes);
        Ok(())
    }

    /// Makes room for at least one more byte, and calls `fill` with the output and the position of the room, which is zeros. `fill` returns the number
    /// of bytes that it wrote there, and something else.
    ///
    /// At the limit the room is one byte, so that a decoder can find its end; what it writes there is too long.
    #[cfg(any(feature = "bzip2", feature = "gzip", feature = "lzma", feature = "xz"))]
    pub(crate) fn grow<T>(
        &mut self,
        fill: impl FnOnce(&mut [u8], usize) -> (usize, T),
    ) -> Result<T, Problem> {
        let start = self.len();
        let wanted = start.max(GROWTH).min(self.limit.saturating_sub(start)).max(1);
        self.reserve(wanted)?;
        self.bytes.resize(start.saturating_add(wanted), 0);
        let (written, result) = fill(&mut self.bytes, start);
        self.bytes.truncate(start.saturating_add(written.min(wanted)));
        if self.len() > self.limit {
            return Err(self.too_long());
        }
        Ok(result)
    }

    /// Calls `fill` with an empty vector whose capacity is `len` or, if that is unknown, all that the limit allows; what it writes there is the output.
    ///
    /// Pages of the capacity that are not written take no memory, and are given back.
    #[cfg(feature = "zstd-c")]
    pub(crate) fn fill<T>(
        &mut self,
        len: Option<u64>,
        fill: impl FnOnce(&mut Vec<u8>) -> T,
    ) -> Result<T, Problem> {
        let len = match len.map(usize::try_from) {
            None => self.limit,
            Some(Ok(len)) if len <= self.limit => len,
            Some(_) => return Err(self.too_long()),
        };
        let mut bytes = Vec::new();
        if bytes.try_reserve_exact(len).is_err() {
            return Err(self.no_memory());
        }
        let result = fill(&mut bytes);
        bytes.truncate(self.limit);
        bytes.shrink_to_fit();
        self.bytes = bytes;
        Ok(result)
    }

    /// Error of memory that there is not.
    pub(crate) fn no_memory(&self) -> Problem {
        Problem::Memory {
            limit: boot_core::arith::to_u64(self.limit),
        }
    }

    fn reserve(&mut self, additional: usize) -> Result<(), Problem> {
        match self.bytes.try_reserve(additional) {
            Ok(()) => Ok(()),
            Err(_) => Err(self.no_memory()),
        }
    }
}
