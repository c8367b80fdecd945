//! Several initrds as one.

use alloc::vec::Vec;
use core::ops::Range;

use crate::{BackingStore, ByteSource, ReadError, ReadErrorKind, arith};

/// Initrds one after the other, each padded with zeros to a multiple of four bytes: the kernel accepts archives only there
/// (`Documentation/driver-api/early-userspace/buffer-format.rst`).
#[derive(Clone, Debug)]
pub struct Initrds<S> {
    /// Each with its first offset and its length.
    parts: Vec<(u64, u64, S)>,
    len: u64,
}

/// Archives begin at multiples of it.
const ALIGN: u64 = 4;

impl<S: ByteSource> Initrds<S> {
    /// The archives of `files`.
    ///
    /// # Errors
    ///
    /// [`ReadError`] if the length of a file cannot be read, or that of all is not below 2^64.
    pub fn new(files: Vec<S>) -> Result<Self, ReadError> {
        let (mut parts, mut end) = (Vec::new(), 0_u64);
        for file in files {
            let len = file.len()?;
            let start = end.checked_next_multiple_of(ALIGN);
            let Some((start, next)) = start.and_then(|start| Some((start, start.checked_add(len)?))) else {
                return Err(ReadError::new(end, 0, ReadErrorKind::PastEnd(u64::MAX)));
            };
            parts.push((start, len, file));
            end = next;
        }
        Ok(Self { parts, len: end })
    }
}

impl<S: ByteSource> ByteSource for Initrds<S> {
    fn len(&self) -> Result<u64, ReadError> {
        Ok(self.len)
    }

    fn read_exact_at(&self, offset: u64, buf: &mut [u8]) -> Result<(), ReadError> {
        let len = arith::to_u64(buf.len());
        let end = offset.checked_add(len).filter(|end| *end <= self.len);
        let end = end.ok_or_else(|| ReadError::new(offset, buf.len(), ReadErrorKind::PastEnd(self.len)))?;
        let mut previous_end = 0;
        for (start, len, file) in &self.parts {
            let part_end = start.saturating_add(*len);
            if let Some((_, padding)) = overlap(buf, offset..end, previous_end..*start) {
                padding.fill(0);
            }
            if let Some((first, part)) = overlap(buf, offset..end, *start..part_end) {
                file.read_exact_at(first.saturating_sub(*start), part)?;
            }
            previous_end = part_end;
        }
        Ok(())
    }

    /// That of a single initrd.
    fn backing_store(&self) -> BackingStore<'_> {
        match self.parts.as_slice() {
            [(0, _, file)] => file.backing_store(),
            _ => BackingStore::Opaque,
        }
    }
}

/// The bytes of `buf`, which has the offsets `of`, that are in `part`, with the offset of the first.
fn overlap(buf: &mut [u8], of: Range<u64>, part: Range<u64>) -> Option<(u64, &mut [u8])> {
    let (first, end) = (part.start.max(of.start), part.end.min(of.end));
    let index = |offset: u64| usize::try_from(offset.checked_sub(of.start)?).ok();
    let bytes = buf.get_mut(index(first)?..index(end)?)?;
    (!bytes.is_empty()).then_some((first, bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn initrds(files: &[&'static [u8]]) -> Initrds<&'static [u8]> {
        Initrds::new(files.to_vec()).unwrap()
    }

    #[test]
    fn archives_begin_at_multiples_of_four() {
        let source = initrds(&[b"abcde", b"", b"fgh", b"ijkl"]);
        let expected = b"abcde\0\0\0fgh\0ijkl";
        assert_eq!(source.len().unwrap(), 16);
        for start in 0..=16 {
            for end in start..=16 {
                let mut buf = alloc::vec![0xff; end - start];
                source.read_exact_at(start as u64, &mut buf).unwrap();
                assert_eq!(buf, expected[start..end], "{start}..{end}");
            }
        }
        assert!(source.read_exact_at(15, &mut [0; 2]).is_err());
        assert!(source.read_exact_at(u64::MAX, &mut [0; 2]).is_err());
        assert_eq!(initrds(&[]).len().unwrap(), 0);
    }

    #[test]
    fn a_single_initrd_is_copied_from_where_it_is() {
        assert!(matches!(
            initrds(&[b"abc"]).backing_store(),
            BackingStore::Bytes(b"abc")
        ));
        assert!(matches!(
            initrds(&[b"abc", b"d"]).backing_store(),
            BackingStore::Opaque
        ));
    }
}
