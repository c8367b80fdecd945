//! Access to guest memory.

use alloc::vec::Vec;

use crate::{ByteSource, GuestRange, ReadError, arith};

/// Guest memory that a [`BootPlan`](crate::BootPlan) can be loaded into.
///
/// The crate `guest-ram` implements it over `vm-memory`, whose trait of the same name is a different one. [`SliceMemory`]
/// implements it for slices, as firmware and tests have them.
pub trait GuestMemory {
    /// Checks, without an access, that all of `range` is writable guest memory.
    ///
    /// # Errors
    ///
    /// [`MemoryError::NotBacked`] where any byte of it is not.
    fn check(&self, range: GuestRange) -> Result<(), MemoryError>;

    /// Writes `bytes` at `addr`.
    ///
    /// # Errors
    ///
    /// [`MemoryError`] where not all bytes could be written; some may have been.
    fn write(&mut self, addr: u64, bytes: &[u8]) -> Result<(), MemoryError>;

    /// Fills `range` with zeros.
    ///
    /// # Errors
    ///
    /// [`MemoryError`] where not all bytes could be written; some may have been.
    fn zero(&mut self, range: GuestRange) -> Result<(), MemoryError>;

    /// Fills `buf` with the bytes at `addr`.
    ///
    /// # Errors
    ///
    /// [`MemoryError`] where not all bytes could be read; the content of `buf` is then unspecified.
    fn read(&self, addr: u64, buf: &mut [u8]) -> Result<(), MemoryError>;

    /// Fills `range` with the bytes of `source` from `offset` on.
    ///
    /// The default copies through a buffer of 64 KiB. [`ByteSource::backing_store`] lets implementations copy directly.
    ///
    /// # Errors
    ///
    /// [`MemoryError`] where the source failed or not all bytes could be written; some may have been.
    fn copy_from(
        &mut self,
        range: GuestRange,
        source: &dyn ByteSource,
        offset: u64,
    ) -> Result<(), MemoryError> {
        const CHUNK: u64 = 0x1_0000;
        self.check(range)?;
        let first = usize::try_from(range.len().min(CHUNK)).unwrap_or_default();
        let mut buf = alloc::vec![0; first];
        let mut done = 0u64;
        while done < range.len() {
            let take = usize::try_from(range.len().saturating_sub(done))
                .unwrap_or(usize::MAX)
                .min(buf.len());
            let chunk = buf.get_mut(..take).unwrap_or_default();
            source.read_exact_at(offset.saturating_add(done), chunk)?;
            self.write(range.start().saturating_add(done), chunk)?;
            done = done.saturating_add(arith::to_u64(take));
        }
        Ok(())
    }
}

/// A failed access to guest memory.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum MemoryError {
    /// Not all of these addresses are guest memory.
    #[error("not all of {0} is guest memory")]
    NotBacked(GuestRange),
    /// The source of the bytes failed.
    #[error("the bytes to load cannot be read")]
    Source(#[from] ReadError),
    /// The access failed.
    #[error("guest memory at {range} cannot be accessed")]
    Access {
        /// The range of the access.
        range: GuestRange,
        /// The error of the implementation.
        source: alloc::boxed::Box<dyn core::error::Error + Send + Sync>,
    },
}

/// Guest memory in plain slices, each at a guest physical address.
///
/// For firmware and tests. An access must be inside one slice.
///
/// ```
/// use boot_core::{GuestMemory, SliceMemory};
///
/// let mut ram = [0; 16];
/// let mut memory = SliceMemory::new();
/// memory.add(0x1000, &mut ram).unwrap();
/// memory.write(0x1004, b"boot").unwrap();
/// assert!(memory.write(0x100d, b"boot").is_err());
/// drop(memory);
/// assert_eq!(&ram[4..8], b"boot");
/// ```
#[derive(Debug, Default)]
pub struct SliceMemory<'a> {
    slices: Vec<(GuestRange, &'a mut [u8])>,
}

impl<'a> SliceMemory<'a> {
    /// Guest memory without slices.
    #[must_use]
    pub const fn new() -> Self {
        Self { slices: Vec::new() }
    }

    /// Adds the memory `bytes` at `addr`.
    ///
    /// # Errors
    ///
    /// Returns `bytes` where they would overlap memory that was added before, or wrap around the address space.
    pub fn add(&mut self, addr: u64, bytes: &'a mut [u8]) -> Result<(), &'a mut [u8]> {
        match GuestRange::new(addr, arith::to_u64(bytes.len())) {
            Some(range) if !self.slices.iter().any(|(present, _)| present.overlaps(range)) => {
                self.slices.push((range, bytes));
                Ok(())
            }
            _ => Err(bytes),
        }
    }

    /// The bytes of `range`.
    ///
    /// # Errors
    ///
    /// [`MemoryError::NotBacked`] where no slice contains all of `range`.
    pub fn slice(&self, range: GuestRange) -> Result<&[u8], MemoryError> {
        self.slices
            .iter()
            .find(|(present, _)| present.contains(range))
            .and_then(|(present, bytes)| bytes.get(within(*present, range)?))
            .ok_or(MemoryError::NotBacked(range))
    }

    fn slice_mut(&mut self, range: GuestRange) -> Result<&mut [u8], MemoryError> {
        self.slices
            .iter_mut()
            .find(|(present, _)| present.contains(range))
            .and_then(|(present, bytes)| bytes.get_mut(within(*present, range)?))
            .ok_or(MemoryError::NotBacked(range))
    }
}

/// The indices of `range` in a slice that starts at `base.start()`.
fn within(base: GuestRange, range: GuestRange) -> Option<core::ops::Range<usize>> {
    let index = |addr: u64| usize::try_from(addr.checked_sub(base.start())?).ok();
    Some(index(range.start())?..index(range.end())?)
}

/// The range of `len` bytes at `addr`, for accesses to guest memory.
fn access(addr: u64, len: usize) -> Result<GuestRange, MemoryError> {
    let len = arith::to_u64(len);
    GuestRange::new(addr, len).ok_or_else(|| {
        let to_the_end = GuestRange::from_bounds(addr, u64::MAX).unwrap_or(GuestRange::EMPTY);
        MemoryError::NotBacked(to_the_end)
    })
}

impl GuestMemory for SliceMemory<'_> {
    fn check(&self, range: GuestRange) -> Result<(), MemoryError> {
        self.slice(range).map(|_| ())
    }

    fn write(&mut self, addr: u64, bytes: &[u8]) -> Result<(), MemoryError> {
        self.slice_mut(access(addr, bytes.len())?)?.copy_from_slice(bytes);
        Ok(())
    }

    fn zero(&mut self, range: GuestRange) -> Result<(), MemoryError> {
        self.slice_mut(range)?.fill(0);
        Ok(())
    }

    fn read(&self, addr: u64, buf: &mut [u8]) -> Result<(), MemoryError> {
        buf.copy_from_slice(self.slice(access(addr, buf.len())?)?);
        Ok(())
    }

    fn copy_from(
        &mut self,
        range: GuestRange,
        source: &dyn ByteSource,
        offset: u64,
    ) -> Result<(), MemoryError> {
        Ok(source.read_exact_at(offset, self.slice_mut(range)?)?)
    }
}

#[cfg(test)]
mod tests {
    use std::vec;

    use super::*;

    fn range(start: u64, end: u64) -> GuestRange {
        GuestRange::from_bounds(start, end).unwrap()
    }

    /// Only what the trait requires, so that the default of `copy_from` runs.
    struct Minimal<'a>(SliceMemory<'a>);

    impl GuestMemory for Minimal<'_> {
        fn check(&self, range: GuestRange) -> Result<(), MemoryError> {
            self.0.check(range)
        }
        fn write(&mut self, addr: u64, bytes: &[u8]) -> Result<(), MemoryError> {
            self.0.write(addr, bytes)
        }
        fn zero(&mut self, range: GuestRange) -> Result<(), MemoryError> {
            self.0.zero(range)
        }
        fn read(&self, addr: u64, buf: &mut [u8]) -> Result<(), MemoryError> {
            self.0.read(addr, buf)
        }
    }

    #[test]
    fn copying_in_chunks_equals_copying_at_once() {
        let source: Vec<u8> = (0..200_000u32)
            .map(|i| i.to_le_bytes()[0] ^ i.to_le_bytes()[1])
            .collect();
        for len in [0, 1, 0xffff, 0x1_0000, 0x1_0001, 0x2_0000, 199_999] {
            let (mut chunked, mut whole) = (vec![0; 200_000], vec![0; 200_000]);
            let target = GuestRange::new(0x1000, len).unwrap();
            let mut memory = Minimal(SliceMemory::new());
            memory.0.add(0x1000, &mut chunked).unwrap();
            memory.copy_from(target, &source, 1).unwrap();
            let mut memory = SliceMemory::new();
            memory.add(0x1000, &mut whole).unwrap();
            memory.copy_from(target, &source, 1).unwrap();
            assert!(chunked == whole, "{len:#x}");
            let len = usize::try_from(len).unwrap();
            assert!(chunked[..len] == source[1..=len], "{len:#x}");
        }
    }

    #[test]
    fn accesses_outside_fail_and_change_nothing() {
        let (mut ram, mut overlapping, mut wrapping) = ([1u8; 16], [0], [0, 0]);
        let mut memory = SliceMemory::new();
        memory.add(0x10, &mut ram).unwrap();
        assert!(memory.add(0x1f, &mut overlapping).is_err());
        assert!(memory.add(u64::MAX, &mut wrapping).is_err());
        assert!(memory.write(0xf, &[0, 0]).is_err());
        assert!(memory.write(u64::MAX, &[0, 0]).is_err());
        assert!(memory.zero(range(0x10, 0x21)).is_err());
        assert!(memory.read(0x1f, &mut [0, 0]).is_err());
        assert!(memory.copy_from(range(0x10, 0x18), &[0u8; 4], 0).is_err());
        assert!(memory.check(range(0x10, 0x20)).is_ok());
        assert_eq!(ram, [1; 16]);
    }

    #[test]
    fn accesses_reach_the_slice_at_their_address() {
        let (mut low, mut high) = ([1u8, 2, 3, 4], [5u8, 6, 7, 8]);
        let mut memory = SliceMemory::new();
        memory.add(0x10, &mut low).unwrap();
        memory.add(0x14, &mut high).unwrap();
        assert_eq!(memory.slice(range(0x11, 0x13)).unwrap(), [2, 3]);
        let mut buf = [0; 2];
        memory.read(0x15, &mut buf).unwrap();
        assert_eq!(buf, [6, 7]);
        memory.write(0x16, &[9]).unwrap();
        memory.zero(range(0x10, 0x12)).unwrap();
        assert!(matches!(
            memory.check(range(0x13, 0x15)),
            Err(MemoryError::NotBacked(found)) if found == range(0x13, 0x15)
        ));
        let error = memory.read(u64::MAX - 1, &mut [0; 4]).unwrap_err();
        assert!(matches!(error, MemoryError::NotBacked(found) if found == range(u64::MAX - 1, u64::MAX)));
        drop(memory);
        assert_eq!((low, high), ([0, 0, 3, 4], [5, 6, 9, 8]));
    }
}
