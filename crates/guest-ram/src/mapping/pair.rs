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
    /// Maps all of `first` and, directly after it, all of `second`.
    ///
    /// A [reservation](Self::reserve) is needed only where the addresses before those that the kernel chose for `second` are in use. To place
    /// a part in a reservation takes several times as long as to map it elsewhere.
    ///
    /// # Errors
    ///
    /// As [`reserve`](Self::reserve) and [`place_memfd`](Self::place_memfd).
    pub fn pair(first: (&Memfd, MemfdSharing), second: (&Memfd, MemfdSharing)) -> Result<Self, MappingError> {
        // Empty files do not exist.
        check_pages(&(0..first.0.len()))?;
        let after = Self::of_memfd(second.0, second.1)?;
        match after.with_part_before(first.0, first.1) {
            Ok(pair) => Ok(pair),
            Err(after) => {
                drop(after);
                let [first_len, second_len] = [first.0.len(), second.0.len()];
                let len = first_len.saturating_add(second_len);
                let mut pair = Self::reserve(len)?;
                pair.place_memfd(0..first_len, first.0, 0, first.1)?;
                pair.place_memfd(first_len..len, second.0, 0, second.1)?;
                Ok(pair)
            }
        }
    }

    /// Maps all of `memfd` directly before a new mapping. On an error, the mapping is as before: the addresses are in use, or the kernel has no
    /// memory.
    fn with_part_before(self, memfd: &Memfd, sharing: MemfdSharing) -> Result<Self, Self> {
        let added = memfd.len();
        let wanted = self.host.as_ptr().addr().checked_sub(added);
        let (Some(wanted), Some(len)) = (wanted, self.len.checked_add(added)) else {
            return Err(self);
        };
        let (source, access) = Source::of_memfd(memfd, 0, sharing);
        let flags = source.flags | libc::MAP_NORESERVE | libc::MAP_FIXED_NOREPLACE;
        let hint = ptr::without_provenance_mut(wanted);
        // SAFETY: MAP_FIXED_NOREPLACE never replaces a mapping, so no memory of the process changes. Kernels before 4.17 do not know the flag
        // and take the address as a hint.
        let start = unsafe { libc::mmap(hint, added, source.protection, flags, memfd.file().as_raw_fd(), 0) };
        if start == libc::MAP_FAILED {
            return Err(self);
        }
        let Some(host) = NonNull::new(start.cast::<u8>()).filter(|host| host.addr().get() == wanted) else {
            // SAFETY: the call above made this mapping, with this length, and nothing refers to it.
            unsafe { libc::munmap(start, added) };
            return Err(self);
        };
        let mut parts = vec![Part {
            range: 0..added,
            access,
        }];
        parts.extend(self.parts.iter().map(|part| Part {
            range: part.range.start.saturating_add(added)..part.range.end.saturating_add(added),
            access: part.access,
        }));
        // The new value owns the addresses of both.
        mem::forget(self);
        Ok(Self {
            host,
            len,
            parts,
            claims: RwLock::default(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PAGE: usize = 0x1000;

    fn file(pages: usize, bytes: &[u8; 4]) -> Memfd {
        let file = Memfd::create(c"test", pages * PAGE).unwrap();
        HostMapping::shared(&file).unwrap().write(0, bytes).unwrap();
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
        let files = [file(3, b"one."), file(2, b"two.")];
        let [first, second] = files.each_ref();
        let pair = HostMapping::pair(
            (first, MemfdSharing::Private),
            (second, MemfdSharing::SharedReadOnly),
        );
        check(&pair.unwrap(), [first, second]);
    }

    #[test]
    fn addresses_in_use_are_not_replaced() {
        let files = [file(3, b"one."), file(2, b"two.")];
        let [first, second] = files.each_ref();
        let mut all = HostMapping::reserve(5 * PAGE).unwrap();
        all.place_anonymous(0..3 * PAGE).unwrap();
        all.write(2 * PAGE, b"used").unwrap();
        // The end of the reservation as a value of its own.
        let after = HostMapping {
            host: NonNull::new(all.host_ptr().wrapping_add(3 * PAGE)).unwrap(),
            len: 2 * PAGE,
            parts: Vec::new(),
            claims: RwLock::default(),
        };
        all.len = 3 * PAGE;
        let after = after.with_part_before(first, MemfdSharing::Private).unwrap_err();
        assert_eq!(after.len(), 2 * PAGE);
        assert_eq!(bytes(&all, 2 * PAGE), *b"used");
        // There, the pair is in a reservation.
        let mut after = after;
        after
            .place_memfd(0..2 * PAGE, second, 0, MemfdSharing::SharedReadOnly)
            .unwrap();
        assert_eq!(bytes(&after, 0), *b"two.");
        // Where the addresses are free, it is not.
        drop(all);
        let pair = after.with_part_before(first, MemfdSharing::Private).unwrap();
        check(&pair, [first, second]);
    }
}
