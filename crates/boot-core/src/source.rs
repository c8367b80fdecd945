//! Fallible random access to the bytes of an image.

mod cached;

use alloc::boxed::Box;
use alloc::rc::Rc;
use alloc::vec::Vec;
use core::error::Error;
use core::fmt;

pub use cached::CachedSource;
use zerocopy::{FromBytes, IntoBytes};

use crate::{SourceRange, arith};

/// Random access to the bytes of an image. Implemented for byte slices, arrays and vectors, for references, boxes and `Rc`s
/// of sources, and on Unix, with the feature `std`, for `std::fs::File` (a regular file or a block device).
///
/// Parsers read headers only; segments are copied from the source to guest memory. A source may fail at any time, and may
/// become shorter: both are errors.
#[expect(
    clippy::len_without_is_empty,
    reason = "`len` can fail; `SizedSource` has `is_empty`"
)]
pub trait ByteSource {
    /// The length in bytes. [`SizedSource`] reads it once.
    ///
    /// # Errors
    ///
    /// [`ReadError`] where the length cannot be read, or the source has none, such as a directory.
    fn len(&self) -> Result<u64, ReadError>;

    /// Fills `buf` with the bytes from `offset` on.
    ///
    /// # Errors
    ///
    /// [`ReadError`] where not all bytes could be read; the content of `buf` is then unspecified.
    fn read_exact_at(&self, offset: u64, buf: &mut [u8]) -> Result<(), ReadError>;

    /// The memory or file behind the source, for guest memory that can copy faster than through [`read_exact_at`].
    ///
    /// [`read_exact_at`]: Self::read_exact_at
    fn backing_store(&self) -> BackingStore<'_> {
        BackingStore::Opaque
    }
}

/// The memory or file behind a [`ByteSource`].
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub enum BackingStore<'a> {
    /// Neither: use [`ByteSource::read_exact_at`].
    Opaque,
    /// Memory with all bytes of the source.
    Bytes(&'a [u8]),
    /// A file or block device with positioned reads; its offsets are those of the source.
    #[cfg(all(unix, feature = "std"))]
    File(std::os::fd::BorrowedFd<'a>),
}

/// A read from a [`ByteSource`] that failed: a [`FailedRead`], as small as a pointer, since most functions of parsers return it.
#[derive(Debug)]
pub struct ReadError(Box<FailedRead>);

impl core::ops::Deref for ReadError {
    type Target = FailedRead;

    fn deref(&self) -> &FailedRead {
        &self.0
    }
}

/// The content of a [`ReadError`].
#[derive(Debug)]
#[non_exhaustive]
pub struct FailedRead {
    /// The bytes to read; empty where the length could not be read.
    pub range: SourceRange,
    /// Why they could not be read.
    pub kind: ReadErrorKind,
}

/// Why a read failed.
#[derive(Debug)]
#[non_exhaustive]
pub enum ReadErrorKind {
    /// The range ends past the end of the source, whose length in bytes this is.
    PastEnd(u64),
    /// The source became shorter while it was read.
    Shrunk,
    /// The source is not a regular file or block device. The text names what it is: `a directory`, `a pipe`.
    NotAFile(&'static str),
    /// The error of the source.
    Source(Box<dyn Error + Send + Sync>),
}

impl ReadError {
    /// A failed read of the `len` bytes from `offset`. The range ends at `u64::MAX` at the latest.
    #[must_use]
    #[cold]
    pub fn new(offset: u64, len: usize, kind: ReadErrorKind) -> Self {
        Self::of_range(clamped(offset, arith::to_u64(len)), kind)
    }

    /// A failed read of a range.
    fn of_range(range: SourceRange, kind: ReadErrorKind) -> Self {
        Self(Box::new(FailedRead { range, kind }))
    }
}

/// The range of `len` bytes from `offset`, or as many as there are up to `u64::MAX`.
fn clamped(offset: u64, len: u64) -> SourceRange {
    let len = len.min(u64::MAX.saturating_sub(offset));
    SourceRange::new(offset, len).unwrap_or(SourceRange::whole(u64::MAX))
}

impl fmt::Display for ReadError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let range = self.range;
        match &self.kind {
            ReadErrorKind::PastEnd(len) => {
                write!(
                    f,
                    "bytes {range} are past the end of the source, which has {len:#x} ({len}) bytes"
                )
            }
            ReadErrorKind::Shrunk => {
                write!(
                    f,
                    "bytes {range} cannot be read: the source became shorter while it was read"
                )
            }
            ReadErrorKind::NotAFile(what) => {
                write!(f, "the source is {what}, not a regular file or block device")
            }
            ReadErrorKind::Source(_) if range.is_empty() => write!(f, "cannot read the source"),
            ReadErrorKind::Source(_) => write!(f, "cannot read bytes {range}"),
        }
    }
}

impl Error for ReadError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match &self.kind {
            ReadErrorKind::Source(source) => Some(&**source),
            _ => None,
        }
    }
}

/// A [`ByteSource`] whose length has been read, for parsers.
///
/// Every read is checked against the length before anything is allocated or read, so offsets of a hostile header fail
/// early.
#[derive(Clone, Copy)]
pub struct SizedSource<'a> {
    inner: &'a dyn ByteSource,
    len: u64,
}

impl<'a> SizedSource<'a> {
    /// Reads the length of `inner`.
    ///
    /// # Errors
    ///
    /// The error of [`ByteSource::len`].
    pub fn new(inner: &'a dyn ByteSource) -> Result<Self, ReadError> {
        Ok(Self {
            inner,
            len: inner.len()?,
        })
    }

    /// The length in bytes, as it was at creation.
    #[must_use]
    pub fn len(&self) -> u64 {
        self.len
    }

    /// Whether the source has no bytes.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The range of `len` bytes from `offset`, checked to be inside the source.
    ///
    /// # Errors
    ///
    /// [`ReadErrorKind::PastEnd`].
    pub fn range(&self, offset: u64, len: u64) -> Result<SourceRange, ReadError> {
        match SourceRange::new(offset, len) {
            Some(range) if range.end() <= self.len => Ok(range),
            _ => Err(ReadError::of_range(
                clamped(offset, len),
                ReadErrorKind::PastEnd(self.len),
            )),
        }
    }

    /// Fills `buf` with the bytes from `offset` on.
    ///
    /// # Errors
    ///
    /// [`ReadErrorKind::PastEnd`], or the error of the source.
    pub fn read_exact_at(&self, offset: u64, buf: &mut [u8]) -> Result<(), ReadError> {
        self.range(offset, arith::to_u64(buf.len()))?;
        self.inner.read_exact_at(offset, buf)
    }

    /// Reads a value, such as a header of `#[repr(C)]`, from `offset`.
    ///
    /// # Errors
    ///
    /// [`ReadErrorKind::PastEnd`], or the error of the source.
    pub fn read<T: FromBytes + IntoBytes>(&self, offset: u64) -> Result<T, ReadError> {
        let mut value = T::new_zeroed();
        self.read_exact_at(offset, value.as_mut_bytes())?;
        Ok(value)
    }

    /// Reads `len` bytes from `offset` into a new vector. The caller must limit `len`.
    ///
    /// # Errors
    ///
    /// [`ReadErrorKind::PastEnd`] before anything is allocated, or the error of the source.
    pub fn read_vec(&self, offset: u64, len: usize) -> Result<Vec<u8>, ReadError> {
        self.range(offset, arith::to_u64(len))?;
        let mut bytes = alloc::vec![0; len];
        self.inner.read_exact_at(offset, &mut bytes)?;
        Ok(bytes)
    }

    /// Reads up to `buf.len()` bytes from `offset`, fewer at the end of the source. Returns their number.
    ///
    /// # Errors
    ///
    /// The error of the source.
    pub fn read_prefix_at(&self, offset: u64, buf: &mut [u8]) -> Result<usize, ReadError> {
        let left = usize::try_from(self.len.saturating_sub(offset)).unwrap_or(usize::MAX);
        let take = left.min(buf.len());
        match buf.get_mut(..take) {
            Some(buf) if take > 0 => self.inner.read_exact_at(offset, buf)?,
            _ => {}
        }
        Ok(take)
    }
}

impl fmt::Debug for SizedSource<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SizedSource")
            .field("len", &self.len)
            .finish_non_exhaustive()
    }
}

impl ByteSource for [u8] {
    fn len(&self) -> Result<u64, ReadError> {
        Ok(arith::to_u64(<[u8]>::len(self)))
    }

    fn read_exact_at(&self, offset: u64, buf: &mut [u8]) -> Result<(), ReadError> {
        let bytes = usize::try_from(offset)
            .ok()
            .and_then(|start| self.get(start..))
            .and_then(|tail| tail.get(..buf.len()))
            .ok_or_else(|| {
                ReadError::new(
                    offset,
                    buf.len(),
                    ReadErrorKind::PastEnd(arith::to_u64(<[u8]>::len(self))),
                )
            })?;
        buf.copy_from_slice(bytes);
        Ok(())
    }

    fn backing_store(&self) -> BackingStore<'_> {
        BackingStore::Bytes(self)
    }
}

macro_rules! forward_to_slice {
    ($($ty:ty),*) => {$(
        impl ByteSource for $ty {
            fn len(&self) -> Result<u64, ReadError> {
                ByteSource::len(&self[..])
            }

            fn read_exact_at(&self, offset: u64, buf: &mut [u8]) -> Result<(), ReadError> {
                ByteSource::read_exact_at(&self[..], offset, buf)
            }

            fn backing_store(&self) -> BackingStore<'_> {
                BackingStore::Bytes(&self[..])
            }
        }
    )*};
}

forward_to_slice!(Vec<u8>);

macro_rules! forward_to_pointee {
    ($($ty:ty),*) => {$(
        impl<T: ByteSource + ?Sized> ByteSource for $ty {
            fn len(&self) -> Result<u64, ReadError> {
                (**self).len()
            }

            fn read_exact_at(&self, offset: u64, buf: &mut [u8]) -> Result<(), ReadError> {
                (**self).read_exact_at(offset, buf)
            }

            fn backing_store(&self) -> BackingStore<'_> {
                (**self).backing_store()
            }
        }
    )*};
}

forward_to_pointee!(&T, Box<T>, Rc<T>);

impl<const N: usize> ByteSource for [u8; N] {
    fn len(&self) -> Result<u64, ReadError> {
        ByteSource::len(self.as_slice())
    }

    fn read_exact_at(&self, offset: u64, buf: &mut [u8]) -> Result<(), ReadError> {
        ByteSource::read_exact_at(self.as_slice(), offset, buf)
    }

    fn backing_store(&self) -> BackingStore<'_> {
        BackingStore::Bytes(self)
    }
}

#[cfg(all(unix, feature = "std"))]
mod file {
    use std::boxed::Box;
    use std::fs::File;
    use std::io::{ErrorKind, Seek, SeekFrom};
    use std::os::fd::AsFd;
    use std::os::unix::fs::{FileExt, FileTypeExt};

    use super::{BackingStore, ByteSource, ReadError, ReadErrorKind};

    fn io(offset: u64, len: usize, error: std::io::Error) -> ReadError {
        ReadError::new(offset, len, ReadErrorKind::Source(Box::new(error)))
    }

    /// Reads are positioned (`pread`), so that one file can serve several readers. The length of a block device is
    /// found by seeking to its end.
    impl ByteSource for File {
        fn len(&self) -> Result<u64, ReadError> {
            let metadata = self.metadata().map_err(|error| io(0, 0, error))?;
            let kind = metadata.file_type();
            if kind.is_file() {
                Ok(metadata.len())
            } else if kind.is_block_device() {
                let mut file = self;
                file.seek(SeekFrom::End(0)).map_err(|error| io(0, 0, error))
            } else {
                let what = if kind.is_dir() {
                    "a directory"
                } else if kind.is_char_device() {
                    "a character device"
                } else if kind.is_fifo() {
                    "a pipe"
                } else {
                    "a socket"
                };
                Err(ReadError::new(0, 0, ReadErrorKind::NotAFile(what)))
            }
        }

        fn read_exact_at(&self, offset: u64, buf: &mut [u8]) -> Result<(), ReadError> {
            FileExt::read_exact_at(self, buf, offset).map_err(|error| match error.kind() {
                ErrorKind::UnexpectedEof => ReadError::new(offset, buf.len(), ReadErrorKind::Shrunk),
                _ => io(offset, buf.len(), error),
            })
        }

        fn backing_store(&self) -> BackingStore<'_> {
            BackingStore::File(self.as_fd())
        }
    }
}

#[cfg(test)]
mod tests {
    use std::string::ToString;

    use super::*;

    #[test]
    fn reads_stop_at_the_end() {
        let bytes = [1u8, 2, 3, 4];
        let source = SizedSource::new(&bytes).unwrap();
        assert_eq!(source.read::<[u8; 2]>(2).unwrap(), [3, 4]);
        let error = source.read::<[u8; 2]>(3).unwrap_err();
        assert_eq!(
            error.to_string(),
            "bytes 0x3..0x5 are past the end of the source, which has 0x4 (4) bytes"
        );
        assert!(source.read_vec(u64::MAX, 2).is_err());
        let error = source.range(u64::MAX - 1, 2).unwrap_err();
        assert_eq!(error.range, SourceRange::new(u64::MAX - 1, 1).unwrap());
        let mut buf = [0; 8];
        assert_eq!(source.read_prefix_at(1, &mut buf).unwrap(), 3);
        assert_eq!(source.read_prefix_at(9, &mut buf).unwrap(), 0);
    }

    #[test]
    fn a_huge_length_is_refused_before_it_is_allocated() {
        let source = SizedSource::new(&[0u8; 4]).unwrap();
        let error = source.read_vec(0, usize::MAX).unwrap_err();
        assert!(matches!(error.kind, ReadErrorKind::PastEnd(4)));
    }

    #[cfg(unix)]
    #[test]
    fn files_read_like_slices_and_special_files_are_refused() {
        use std::fs::File;
        use std::io::Write;

        let mut file = tempfile::tempfile().unwrap();
        file.write_all(b"kernel").unwrap();
        let source = SizedSource::new(&file).unwrap();
        assert_eq!(&source.read::<[u8; 3]>(3).unwrap(), b"nel");
        file.set_len(2).unwrap();
        let error = source.read::<[u8; 3]>(3).unwrap_err();
        assert!(matches!(error.kind, ReadErrorKind::Shrunk), "{error}");

        let error = SizedSource::new(&File::open("/").unwrap()).unwrap_err();
        assert_eq!(
            error.to_string(),
            "the source is a directory, not a regular file or block device"
        );
        let error = SizedSource::new(&File::open("/dev/null").unwrap()).unwrap_err();
        assert_eq!(
            error.to_string(),
            "the source is a character device, not a regular file or block device"
        );
    }

    /// A source of `LEN` bytes that cannot be read.
    struct Failing;

    impl Failing {
        const LEN: u64 = 16;
    }

    impl ByteSource for Failing {
        fn len(&self) -> Result<u64, ReadError> {
            Ok(Self::LEN)
        }

        fn read_exact_at(&self, offset: u64, buf: &mut [u8]) -> Result<(), ReadError> {
            Err(ReadError::new(
                offset,
                buf.len(),
                ReadErrorKind::Source("broken".into()),
            ))
        }
    }

    #[test]
    fn errors_keep_their_range_and_source() {
        let range = |offset, len| ReadError::new(offset, len, ReadErrorKind::Shrunk).range;
        assert_eq!(range(2, 3), SourceRange::new(2, 3).unwrap());
        assert_eq!(range(u64::MAX, 1), SourceRange::new(u64::MAX, 0).unwrap());
        let source = SizedSource::new(&Failing).unwrap();
        let error = source.read_vec(4, 4).unwrap_err();
        assert_eq!(error.to_string(), "cannot read bytes 0x4..0x8");
        assert_eq!(error.source().unwrap().to_string(), "broken");
        let error = ReadError::new(0, 0, ReadErrorKind::Source("broken".into()));
        assert_eq!(error.to_string(), "cannot read the source");
        let error = ReadError::new(1, 1, ReadErrorKind::Shrunk);
        assert_eq!(
            error.to_string(),
            "bytes 0x1..0x2 cannot be read: the source became shorter while it was read"
        );
        assert!(error.source().is_none());
    }

    #[test]
    fn a_prefix_ends_with_the_source_and_reads_only_if_it_has_bytes() {
        let source = SizedSource::new(&Failing).unwrap();
        assert_eq!((source.len(), source.is_empty()), (16, false));
        assert_eq!(source.read_prefix_at(16, &mut [0; 4]).unwrap(), 0);
        assert!(source.read_prefix_at(15, &mut [0; 4]).is_err());
        assert_eq!(source.range(8, 8).unwrap(), SourceRange::new(8, 8).unwrap());
        assert!(source.range(8, 9).is_err());
        assert_eq!(std::format!("{source:?}"), "SizedSource { len: 16, .. }");
        assert!(matches!(Failing.backing_store(), BackingStore::Opaque));
        assert!(SizedSource::new(&[0u8; 0]).unwrap().is_empty());
    }

    #[test]
    fn all_kinds_of_memory_are_sources() {
        fn check(source: &dyn ByteSource) {
            assert_eq!(source.len().unwrap(), 3);
            let mut buf = [0; 2];
            source.read_exact_at(1, &mut buf).unwrap();
            assert_eq!(buf, [8, 9]);
            assert!(source.read_exact_at(2, &mut buf).is_err());
            assert!(matches!(source.backing_store(), BackingStore::Bytes([7, 8, 9])));
        }
        let bytes = [7u8, 8, 9];
        check(&bytes);
        check(&&bytes[..]);
        check(&bytes.to_vec());
        let source: Box<dyn ByteSource> = Box::new(bytes);
        check(&source);
        check(&&*source);
        check(&Rc::new(bytes));
    }
}
