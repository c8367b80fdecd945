//! A source of borrowed bytes that counts reads.

use std::cell::Cell;

use boot_core::{ByteSource, ReadError};

/// Bytes, with zeros after them, that count their reads. A read past the end panics.
#[derive(Clone, Debug)]
pub struct CountingSource<'a> {
    bytes: &'a [u8],
    len: u64,
    reads: Cell<u64>,
    bytes_read: Cell<u64>,
}

impl<'a> CountingSource<'a> {
    /// A source of exactly these bytes.
    #[must_use]
    pub fn new(bytes: &'a [u8]) -> Self {
        Self::sparse(bytes, 0)
    }

    /// A source of these bytes, with zeros after them up to a length of `len` bytes.
    #[must_use]
    pub fn sparse(bytes: &'a [u8], len: u64) -> Self {
        Self {
            bytes,
            len: len.max(bytes.len() as u64),
            reads: Cell::new(0),
            bytes_read: Cell::new(0),
        }
    }

    /// Number of reads.
    #[must_use]
    pub fn reads(&self) -> u64 {
        self.reads.get()
    }

    /// Sum of the lengths of all reads, in bytes.
    #[must_use]
    pub fn bytes_read(&self) -> u64 {
        self.bytes_read.get()
    }

    /// Runs `f`, which may make `max` reads.
    ///
    /// # Panics
    ///
    /// If it makes more.
    pub fn limited<R>(&self, max: u64, f: impl FnOnce() -> R) -> R {
        let before = self.reads.get();
        let result = f();
        let reads = self.reads.get() - before;
        assert!(reads <= max, "{reads} reads, at most {max} expected");
        result
    }
}

impl ByteSource for CountingSource<'_> {
    fn len(&self) -> Result<u64, ReadError> {
        Ok(self.len)
    }

    fn read_exact_at(&self, offset: u64, buf: &mut [u8]) -> Result<(), ReadError> {
        self.reads.set(self.reads.get() + 1);
        self.bytes_read.set(self.bytes_read.get() + buf.len() as u64);
        let end = offset.checked_add(buf.len() as u64);
        assert!(end.is_some_and(|end| end <= self.len), "a read past the end");
        let start = usize::try_from(offset).unwrap_or(usize::MAX);
        let bytes = self.bytes.get(start..).unwrap_or_default();
        let len = bytes.len().min(buf.len());
        buf[..len].copy_from_slice(&bytes[..len]);
        buf[len..].fill(0);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn zeros_follow_the_bytes_and_reads_are_counted() {
        let source = CountingSource::sparse(&[1, 2], 4);
        let mut buf = [9; 3];
        source.limited(1, || source.read_exact_at(1, &mut buf)).unwrap();
        assert_eq!(buf, [2, 0, 0]);
        assert_eq!((source.reads(), source.bytes_read()), (1, 3));
        assert_eq!(CountingSource::new(&[1, 2]).len().unwrap(), 2);
    }
}
