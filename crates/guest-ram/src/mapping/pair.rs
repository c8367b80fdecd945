//! Mappings of two files, one directly after the other.

#![expect(unsafe_code, reason = "maps memory of this process at a given address")]

use std::mem;
use std::os::fd::AsRawFd;
use std::ptr::{self, NonNull};
use std::sync::RwLock;

use super::{HostMapping, MemfdSharing, Part, Source, check_pages};
use crate::mapping_error::MappingError;
use crate::memfd::Memfd;

impl HostMapping {
    /// Maps all of `first` and, directly after it, all of `second`: at the addresses directly before `before`, if they are free.
    ///
    /// Otherwise in a [reservation](Self::reserve): to place a part there takes several times as long as to map it elsewhere. Mappings that are
    /// made and dropped together, in the same order and of the same lengths, find the addresses free.
    ///
    /// # Errors
    ///
    /// As [`reserve`](Self::reserve) and [`place_memfd`](Self::place_memfd).
    pub fn pair(
        first: (&Memfd, MemfdSharing),
        second: (&Memfd, MemfdSharing),
        before: &Self,
    ) -> Result<Self, MappingError> {
        let [first_len, second_len] = [first.0.len(), second.0.len()];
        let len = first_len.saturating_add(second_len);
        check_pages(&(0..first_len))?;
        check_pages(&(first_len..len))?;
        let adjacent = || {
            let after = Self::ending_at(before.host, second)?;
            Some(Self::ending_at(after.host, first)?.joined(after))
        };
        if let Some(pair) = adjacent() {
            return Ok(pair);
        }
        let mut pair = Self::reserve(len)?;
        pair.place_memfd(0..first_len, first.0, 0, first.1)?;
        pair.place_memfd(first_len..len, second.0, 0, second.1)?;
        Ok(pair)
    }

    /// Maps all of a file so that it ends before `end`; `None` if the addresses are in use, or if the kernel fails.
    fn ending_at(end: NonNull<u8>, (memfd, sharing): (&Memfd, MemfdSharing)) -> Option<Self> {
        let len = memfd.len();
        let wanted = end.addr().get().checked_sub(len)?;
        let (source, access) = Source::of_memfd(memfd, 0, sharing);
        let flags = source.flags | libc::MAP_NORESERVE | libc::MAP_FIXED_NOREPLACE;
        let (hint, fd) = (ptr::without_provenance_mut(wanted), memfd.file().as_raw_fd());
        // SAFETY: MAP_FIXED_NOREPLACE never replaces a mapping, so no memory of the process changes. Kernels before 4.17 do not know the flag
        // and take the address as a hint.
        let start = unsafe { libc::mmap(hint, len, source.protection, flags, fd, 0) };
        let host = NonNull::new(start.cast::<u8>()).filter(|_| start != libc::MAP_FAILED)?;
        let mapping = Self {
            host,
            len,
            parts: vec![Part {
                range: 0..len,
                access,
            }],
            claims: RwLock::default(),
        };
        (host.addr().get() == wanted).then_some(mapping)
    }

    /// One value for this mapping and `after`, which is new and starts where this one ends.
    fn joined(mut self, mut after: Self) -> Self {
        let at = self.len;
        let parts = mem::take(&mut after.parts).into_iter().map(|part| Part {
            range: part.range.start.saturating_add(at)..part.range.end.saturating_add(at),
            access: part.access,
        });
        self.parts.extend(parts);
        self.len = at.saturating_add(after.len);
        // Its addresses belong to `self` now; it has no heap memory without its parts.
        mem::forget(after);
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PAGE: usize = 0x1000;

    fn file(pages: usize, bytes: [u8; 4]) -> Memfd {
        let file = Memfd::create(c"test", pages * PAGE).unwrap();
        HostMapping::shared(&file).unwrap().write(0, &bytes).unwrap();
        file
    }

    fn bytes(mapping: &HostMapping, offset: usize) -> [u8; 4] {
        let mut bytes = [0; 4];
        mapping.read(offset, &mut bytes).unwrap();
        bytes
    }

    /// Checks a pair of 3 private and 2 read-only pages.
    fn check(pair: &HostMapping, files: [&Memfd; 2]) {
        assert_eq!(pair.len(), 5 * PAGE);
        assert_eq!((bytes(pair, 0), bytes(pair, 3 * PAGE)), (*b"one.", *b"two."));
        pair.write(2 * PAGE, b"mine").unwrap();
        let refused = pair.write(3 * PAGE - 1, b"mine").unwrap_err();
        assert!(
            matches!(refused, MappingError::NoAccess { offset } if offset == 3 * PAGE),
            "{refused}"
        );
        // The file does not change, and neither does the pair by writes to it that are private.
        let [first, _] = files;
        assert_eq!(bytes(&HostMapping::shared(first).unwrap(), 2 * PAGE), [0; 4]);
        pair.dont_need(2 * PAGE..3 * PAGE).unwrap();
        assert_eq!(bytes(pair, 2 * PAGE), [0; 4]);
        assert!(pair.read(5 * PAGE - 1, &mut [0; 2]).is_err());
    }

    #[test]
    fn two_files_have_consecutive_addresses() {
        let files = [file(3, *b"one."), file(2, *b"two.")];
        let [first, second] = files.each_ref();
        let pair = |before: &HostMapping| {
            let second = (second, MemfdSharing::SharedReadOnly);
            HostMapping::pair((first, MemfdSharing::Private), second, before).unwrap()
        };
        let mut used = HostMapping::reserve(8 * PAGE).unwrap();
        used.place_anonymous(0..8 * PAGE).unwrap();
        used.write(6 * PAGE, b"used").unwrap();
        // The last page as a value of its own, so that the addresses before it are in use.
        let before = HostMapping {
            host: NonNull::new(used.host_ptr().wrapping_add(7 * PAGE)).unwrap(),
            len: PAGE,
            parts: Vec::new(),
            claims: RwLock::default(),
        };
        used.len = 7 * PAGE;
        let end = (second, MemfdSharing::Private);
        assert!(HostMapping::ending_at(before.host, end).is_none());
        let reserved = pair(&before);
        check(&reserved, [first, second]);
        assert_eq!(bytes(&used, 6 * PAGE), *b"used");
        // Two of the pages are free, and three are not.
        let len = 5 * PAGE;
        let rest = NonNull::new(used.host_ptr().wrapping_add(len)).unwrap();
        used.len = len;
        drop(HostMapping {
            host: rest,
            len: 2 * PAGE,
            parts: Vec::new(),
            claims: RwLock::default(),
        });
        check(&pair(&before), [first, second]);
        assert_eq!(bytes(&used, 4 * PAGE), [0; 4]);
        // All are free.
        drop(used);
        check(&pair(&before), [first, second]);
    }
}
