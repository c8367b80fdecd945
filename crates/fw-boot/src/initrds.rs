//! Several initrds as one.

use alloc::boxed::Box;
use alloc::vec::Vec;
use core::ops::Range;

use boot_core::{ByteSource, ReadError, ReadErrorKind};
use disk::Window;

/// A file of an entry.
pub(crate) type File<'a> = Window<Box<dyn ByteSource + 'a>>;

/// Initrds one after the other, each padded with zeros to a multiple of four bytes: the kernel accepts archives only there
/// (`Documentation/driver-api/early-userspace/buffer-format.rst`).
pub(crate) struct Initrds<'a> {
    /// Each with its first offset and its length.
    parts: Vec<(u64, u64, File<'a>)>,
    len: u64,
}

/// Archives begin at multiples of it.
const ALIGN: u64 = 4;

impl<'a> Initrds<'a> {
    /// The archives of `files`.
    pub(crate) fn new(files: Vec<File<'a>>) -> Result<Self, ReadError> {
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

impl ByteSource for Initrds<'_> {
    fn len(&self) -> Result<u64, ReadError> {
        Ok(self.len)
    }

    fn read_exact_at(&self, offset: u64, buf: &mut [u8]) -> Result<(), ReadError> {
        let len = boot_core::arith::to_u64(buf.len());
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
    use boot_core::SourceRange;

    use super::*;

    fn initrds(files: &[&'static [u8]]) -> Initrds<'static> {
        let files = files.iter().map(|bytes| {
            let source: Box<dyn ByteSource> = Box::new(*bytes);
            let all = SourceRange::whole(source.len().unwrap());
            Window::new(source, all).unwrap()
        });
        Initrds::new(files.collect()).unwrap()
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
}
