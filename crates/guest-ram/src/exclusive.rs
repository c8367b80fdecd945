//! Bytes of a mapping that one owner accesses often.

#![expect(unsafe_code, reason = "accesses memory that the guest can change")]

use std::ops::Range;
use std::sync::Arc;

use crate::mapping::HostMapping;
use crate::mapping_error::MappingError;
use crate::short_copy;

/// Bytes of a [`HostMapping`] that only this value accesses in this process, without locks: a window through which host and guest
/// exchange messages.
///
/// The guest may change the bytes at any time. So every method reads each byte into the memory of the host before anything looks at it, and
/// callers check the copy.
///
/// ```
/// use std::sync::Arc;
///
/// use guest_ram::{ExclusiveBytes, HostMapping};
///
/// let mapping = Arc::new(HostMapping::anonymous(0x2000)?);
/// let mut window = ExclusiveBytes::new(Arc::clone(&mapping), 0x1000..0x2000)?;
/// assert!(window.write(8, b"message"));
/// let mut bytes = Vec::new();
/// assert!(window.read_to(8, 7, &mut bytes));
/// assert_eq!(bytes, b"message");
/// // Nothing else of this process reads or writes these bytes.
/// assert!(mapping.write(0x1008, b"other").is_err());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct ExclusiveBytes {
    mapping: Arc<HostMapping>,
    range: Range<usize>,
    /// Address of the first byte.
    start: *mut u8,
}

// SAFETY: the bytes are not tied to a thread, and stay mapped while `mapping` exists. In this process, only the methods of this value access
// them, because the mapping has a claim for them; those that write take `&mut self`.
unsafe impl Send for ExclusiveBytes {}

// SAFETY: as for `Send`: methods with `&self` only read.
unsafe impl Sync for ExclusiveBytes {}

impl ExclusiveBytes {
    /// The bytes of `mapping` at `range`, byte offsets. Until the value is dropped, methods of the mapping refuse accesses to them.
    ///
    /// # Errors
    ///
    /// [`MappingError::NoAccess`] if a byte has no memory, or memory that is not writable; [`MappingError::Claimed`] if another value has
    /// a byte of the range.
    pub fn new(mapping: Arc<HostMapping>, range: Range<usize>) -> Result<Self, MappingError> {
        mapping.claim(&range)?;
        // `claim` checked that the range is in the mapping.
        let start = mapping.host_ptr().wrapping_add(range.start);
        Ok(Self {
            mapping,
            range,
            start,
        })
    }

    /// Number of bytes.
    #[must_use]
    pub fn len(&self) -> usize {
        self.range.len()
    }

    /// Whether there are no bytes.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.range.is_empty()
    }

    /// The mapping.
    #[must_use]
    pub fn mapping(&self) -> &Arc<HostMapping> {
        &self.mapping
    }

    /// The address of the `len` bytes from `offset` on, if there are so many.
    #[inline]
    fn at(&self, offset: usize, len: usize) -> Option<*mut u8> {
        let end = offset.checked_add(len)?;
        (end <= self.range.len()).then(|| self.start.wrapping_add(offset))
    }

    /// Copies `N` words of 64 bits from `offset` on, each of which is read once, in the byte order of the host; `None` if there are fewer, or if
    /// their address is not a multiple of 8.
    #[inline]
    #[must_use]
    pub fn read_words<const N: usize>(&self, offset: usize) -> Option<[u64; N]> {
        let from = self.at(offset, size_of::<[u64; N]>())?.cast::<[u64; N]>();
        // SAFETY: `at` checked that the bytes are in the mapping, where they stay readable while `self` exists. Nothing writes them in this
        // process, because writers take `&mut self`. The address is aligned, and every value is valid.
        from.is_aligned().then(|| unsafe { from.read_volatile() })
    }

    /// Writes `words` to `offset`, each of them once, in the byte order of the host; false if they do not fit, or if their address is not a
    /// multiple of 8, and nothing is written then.
    #[inline]
    #[must_use]
    pub fn write_words<const N: usize>(&mut self, offset: usize, words: [u64; N]) -> bool {
        let Some(to) = self.at(offset, size_of::<[u64; N]>()) else {
            return false;
        };
        let to = to.cast::<[u64; N]>();
        if !to.is_aligned() {
            return false;
        }
        // SAFETY: `at` checked that the bytes are in the mapping, where they stay writable while `self` exists. In this process nothing else
        // accesses them. The address is aligned.
        unsafe { to.write_volatile(words) };
        true
    }

    /// Makes `bytes` a copy of the `len` bytes from `offset` on; false if there are fewer, and then `bytes` is empty. Allocates only if the
    /// capacity is too small.
    #[inline]
    #[must_use]
    pub fn read_to(&self, offset: usize, len: usize, bytes: &mut Vec<u8>) -> bool {
        bytes.clear();
        self.append_to(offset, len, bytes)
    }

    /// Appends a copy of the `len` bytes from `offset` on to `bytes`; false if there are fewer, and then `bytes` does not change.
    #[inline]
    #[must_use]
    pub fn append_to(&self, offset: usize, len: usize, bytes: &mut Vec<u8>) -> bool {
        let Some(from) = self.at(offset, len) else {
            return false;
        };
        bytes.reserve(len);
        let old = bytes.len();
        let to = bytes.spare_capacity_mut().as_mut_ptr().cast::<u8>();
        // SAFETY: `at` checked that the bytes are in the mapping; see `read_words`. The vector has room for as many after its length. No
        // Rust reference to the mapped bytes exists, so the two do not overlap.
        unsafe { short_copy::copy(from, to, len) };
        // SAFETY: the capacity is sufficient after `reserve`, and the bytes were just written.
        unsafe { bytes.set_len(old.saturating_add(len)) };
        true
    }

    /// Copies `bytes` to `offset`; false if they do not fit, and nothing is written then.
    #[inline]
    #[must_use]
    pub fn write(&mut self, offset: usize, bytes: &[u8]) -> bool {
        let Some(to) = self.at(offset, bytes.len()) else {
            return false;
        };
        // SAFETY: `at` checked that the bytes are in the mapping, where they stay writable while `self` exists. In this process nothing else
        // accesses them. No Rust reference to them exists, so the two do not overlap.
        unsafe { short_copy::copy(bytes.as_ptr(), to, bytes.len()) };
        true
    }

    /// Fills the `len` bytes from `offset` on with zeros; false if there are fewer, and nothing is written then.
    #[must_use]
    pub fn zero(&mut self, offset: usize, len: usize) -> bool {
        let Some(to) = self.at(offset, len) else {
            return false;
        };
        // SAFETY: as for `write`.
        unsafe { short_copy::zero(to, len) };
        true
    }

    /// Whether the bytes from `offset` on are `bytes`; false also if there are fewer.
    #[must_use]
    pub fn equals(&self, offset: usize, bytes: &[u8]) -> bool {
        let Some(from) = self.at(offset, bytes.len()) else {
            return false;
        };
        // SAFETY: `at` checked that the bytes are in the mapping; see `read_words`. `memcmp` reads as many bytes of both, and its result is
        // that of some values of the bytes at the time of the call.
        unsafe { libc::memcmp(from.cast(), bytes.as_ptr().cast(), bytes.len()) == 0 }
    }
}

impl Drop for ExclusiveBytes {
    fn drop(&mut self) {
        self.mapping.release(&self.range);
    }
}
