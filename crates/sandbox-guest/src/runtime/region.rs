//! Accesses to mapped files and regions.
#![expect(unsafe_code, reason = "the host chooses the addresses of regions")]

use core::{ptr, slice};

use zerocopy::{FromBytes, IntoBytes};

use super::boot::address;
use crate::region::Region;

/// Size of a word in bytes.
const WORD: usize = size_of::<u64>();

impl Region {
    /// Copies the bytes from `offset` on to `bytes`; false if the region has fewer, and then nothing is copied.
    ///
    /// Others can change a region while it is read: the host, other sandboxes, whoever can write the file. The copy does not change; what is
    /// to be checked is the copy.
    #[must_use]
    pub fn read(&self, offset: usize, bytes: &mut [u8]) -> bool {
        let Some(start) = self.at(offset, bytes.len()) else {
            return false;
        };
        let head = to_word(start).min(bytes.len());
        let (first, rest) = bytes.split_at_mut(head);
        let (words, last) = rest.as_chunks_mut::<WORD>();
        let tail = start + head + words.len() * WORD;
        for (bytes, from) in [(first, start), (last, tail)] {
            for (byte, from) in bytes.iter_mut().zip(from..) {
                // SAFETY: the address is in the region, as `at` checked for all of them.
                *byte = unsafe { load(from) };
            }
        }
        for (word, from) in words.iter_mut().zip((start + head..).step_by(WORD)) {
            // SAFETY: as above, for all bytes of the word; it is aligned after the head.
            *word = unsafe { load::<u64>(from) }.to_ne_bytes();
        }
        true
    }

    /// Copies `bytes` to the region from `offset` on; false if the region has fewer, and then nothing is written. An exception if the
    /// program may not write it.
    #[must_use]
    pub fn write(&self, offset: usize, bytes: &[u8]) -> bool {
        let Some(start) = self.at(offset, bytes.len()) else {
            return false;
        };
        let head = to_word(start).min(bytes.len());
        let (first, rest) = bytes.split_at(head);
        let (words, last) = rest.as_chunks::<WORD>();
        let tail = start + head + words.len() * WORD;
        for (bytes, to) in [(first, start), (last, tail)] {
            for (byte, to) in bytes.iter().zip(to..) {
                // SAFETY: the address is in the region, as `at` checked for all of them.
                unsafe { store(to, *byte) };
            }
        }
        for (word, to) in words.iter().zip((start + head..).step_by(WORD)) {
            // SAFETY: as above, for all bytes of the word; it is aligned after the head.
            unsafe { store(to, u64::from_ne_bytes(*word)) };
        }
        true
    }

    /// The first byte, for accesses of the program's own: volatile or atomic ones, as others can change the region.
    #[must_use]
    pub fn as_ptr(&self) -> *mut u8 {
        ptr::with_exposed_provenance_mut(address(self.address()))
    }

    /// The bytes, without a copy.
    ///
    /// # Safety
    ///
    /// While the slice exists, the region stays mapped and nobody changes its bytes: neither the host nor another sandbox of the same region,
    /// nobody who can write the file, and not this program.
    #[must_use]
    pub unsafe fn as_slice(&self) -> &'static [u8] {
        // SAFETY: the caller guarantees that the bytes are mapped and do not change. `Region::new` checked that they are in the lower half of
        // the address space, so there are not too many.
        unsafe { slice::from_raw_parts(self.as_ptr(), self.len()) }
    }

    /// The address of `len` bytes from `offset` on.
    fn at(&self, offset: usize, len: usize) -> Option<usize> {
        let end = offset.checked_add(len)?;
        (end <= self.len()).then(|| address(self.address()) + offset)
    }
}

/// Number of bytes from an address to the next word.
const fn to_word(address: usize) -> usize {
    address.wrapping_neg() % WORD
}

/// Reads a value of a region in one access.
///
/// # Safety
///
/// The value is in a [`Region`], and its address is a multiple of its size.
unsafe fn load<T: FromBytes>(address: usize) -> T {
    let from = ptr::with_exposed_provenance::<T>(address);
    // SAFETY: nothing of the program is in a region, so no access of its own conflicts with this one. An address without memory is an exception,
    // which ends the program. All values are valid.
    unsafe { from.read_volatile() }
}

/// Writes a value of a region in one access.
///
/// # Safety
///
/// As for [`load`].
unsafe fn store<T: IntoBytes>(address: usize, value: T) {
    let to = ptr::with_exposed_provenance_mut::<T>(address);
    // SAFETY: as in `load`; an address that cannot be written is an exception.
    unsafe { to.write_volatile(value) };
}
