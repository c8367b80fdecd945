//! A source that misbehaves on demand and counts reads.

use std::cell::Cell;

use boot_core::{ByteSource, ReadError, ReadErrorKind};

/// Source of `len` bytes that holds only the first of them. Reading a byte beyond those fails as in a file that shrank,
/// or gives zero if the source is sparse.
#[derive(Clone, Debug)]
pub struct TestSource {
    bytes: Vec<u8>,
    len: u64,
    is_sparse: bool,
    operations_left: Cell<u32>,
    reads: Cell<usize>,
    bytes_read: Cell<usize>,
    largest_read: Cell<usize>,
}

impl TestSource {
    /// A source of exactly these bytes.
    #[must_use]
    pub fn new(bytes: Vec<u8>) -> Self {
        Self {
            len: bytes.len() as u64,
            bytes,
            is_sparse: false,
            operations_left: Cell::new(u32::MAX),
            reads: Cell::new(0),
            bytes_read: Cell::new(0),
            largest_read: Cell::new(0),
        }
    }

    /// The same with zeros up to a length of `len` bytes.
    #[must_use]
    pub fn sparse(self, len: u64) -> Self {
        Self {
            len,
            is_sparse: true,
            ..self
        }
    }

    /// The same, but shrunk to `held` bytes after its length was reported.
    #[must_use]
    pub fn shrunk_to(mut self, held: usize) -> Self {
        self.bytes.truncate(held);
        self
    }

    /// The same, but every operation after the first `operations` fails. Asking for the length is an operation, too.
    #[must_use]
    pub fn failing_after(self, operations: u32) -> Self {
        self.operations_left.set(operations);
        self
    }

    /// Number of successful reads.
    #[must_use]
    pub fn reads(&self) -> usize {
        self.reads.get()
    }

    /// Sum of the lengths of all successful reads, in bytes.
    #[must_use]
    pub fn bytes_read(&self) -> usize {
        self.bytes_read.get()
    }

    /// Length of the longest read that was tried, in bytes.
    #[must_use]
    pub fn largest_read(&self) -> usize {
        self.largest_read.get()
    }

    fn start_operation(&self, offset: u64, len: usize) -> Result<(), ReadError> {
        match self.operations_left.get().checked_sub(1) {
            Some(left) => {
                self.operations_left.set(left);
                Ok(())
            }
            None => Err(ReadError::new(
                offset,
                len,
                ReadErrorKind::Source("no operation is left".into()),
            )),
        }
    }
}

impl ByteSource for TestSource {
    fn len(&self) -> Result<u64, ReadError> {
        self.start_operation(0, 0)?;
        Ok(self.len)
    }

    fn read_exact_at(&self, offset: u64, buf: &mut [u8]) -> Result<(), ReadError> {
        self.start_operation(offset, buf.len())?;
        self.largest_read.set(self.largest_read.get().max(buf.len()));
        let end = offset.checked_add(buf.len() as u64);
        assert!(end.is_some_and(|end| end <= self.len), "a read past the end");
        for (at, byte) in (offset..).zip(buf.iter_mut()) {
            let held = usize::try_from(at).ok().and_then(|at| self.bytes.get(at));
            *byte = match held {
                Some(byte) => *byte,
                None if self.is_sparse => 0,
                None => return Err(ReadError::new(offset, 1, ReadErrorKind::Shrunk)),
            };
        }
        self.reads.set(self.reads.get() + 1);
        self.bytes_read.set(self.bytes_read.get() + buf.len());
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(source: &TestSource, offset: u64, len: usize) -> Result<Vec<u8>, ReadError> {
        let mut buf = vec![0xaa; len];
        source.read_exact_at(offset, &mut buf)?;
        Ok(buf)
    }

    #[test]
    fn sources_are_sparse_or_shrink() {
        let source = TestSource::new(vec![1, 2, 3, 4]);
        assert_eq!(read(&source, 1, 3).unwrap(), [2, 3, 4]);
        assert_eq!(read(&source.clone().sparse(6), 3, 3).unwrap(), [4, 0, 0]);
        let shrunk = source.shrunk_to(2);
        assert_eq!(shrunk.len().unwrap(), 4);
        let error = read(&shrunk, 1, 2).unwrap_err();
        assert!(matches!(error.kind, ReadErrorKind::Shrunk), "{error}");
    }

    #[test]
    fn operations_are_counted_and_limited() {
        let source = TestSource::new(vec![1, 2, 3, 4]).failing_after(3);
        source.len().unwrap();
        read(&source, 0, 4).unwrap();
        read(&source, 0, 1).unwrap();
        let error = read(&source, 0, 1).unwrap_err();
        assert!(matches!(error.kind, ReadErrorKind::Source(_)), "{error}");
        assert_eq!(
            (source.reads(), source.bytes_read(), source.largest_read()),
            (2, 5, 4)
        );
    }
}
