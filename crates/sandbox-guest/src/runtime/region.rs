//! Accesses to mapped files and regions.
#![expect(unsafe_code, reason = "the host chooses the addresses of regions")]

use core::{ptr, slice};

use super::boot::address;
use crate::region::Region;

/// Size of a word in bytes.
const WORD: usize = size_of::<u64>();

impl Region {
    /// Copies the bytes from `offset` on to `bytes`; false if the region has fewer, and then nothing is copied.
    ///
    /// Others can change a region while it is read: the host, other sandboxes, whoever can write the file. The copy does not change; what is
    /// to be checked is the copy.
    pub fn read(&self, offset: usize, bytes: &mut [u8]) -> bool {
        let Some(from) = self.at(offset, bytes.len()) else {
            return false;
        };
        let (from, to) = (from.cast_const(), bytes.as_mut_ptr());
        copy(
            from,
            bytes.len(),
            |at| {
                // SAFETY: `at` is less than the length, and nothing of the program is in the region. An address without memory is an exception,
                // which ends the program.
                let value = unsafe { from.add(at).read_volatile() };
                // SAFETY: `bytes` has as many.
                unsafe { to.add(at).write(value) };
            },
            |at| {
                // SAFETY: as above, for `WORD` bytes from `at` on, whose address is aligned.
                let value = unsafe { from.add(at).cast::<u64>().read_volatile() };
                // SAFETY: `bytes` has as many.
                unsafe { to.add(at).cast::<u64>().write_unaligned(value) };
            },
        );
        true
    }

    /// Copies `bytes` to the region from `offset` on; false if the region has fewer, and then nothing is written. An exception if the
    /// program may not write it.
    pub fn write(&self, offset: usize, bytes: &[u8]) -> bool {
        let Some(to) = self.at(offset, bytes.len()) else {
            return false;
        };
        let from = bytes.as_ptr();
        copy(
            to.cast_const(),
            bytes.len(),
            |at| {
                // SAFETY: `at` is less than the length.
                let value = unsafe { from.add(at).read() };
                // SAFETY: nothing of the program is in the region. An address that cannot be written is an exception, which ends the program.
                unsafe { to.add(at).write_volatile(value) };
            },
            |at| {
                // SAFETY: as above, for `WORD` bytes from `at` on.
                let value = unsafe { from.add(at).cast::<u64>().read_unaligned() };
                // SAFETY: as above; the address is aligned.
                unsafe { to.add(at).cast::<u64>().write_volatile(value) };
            },
        );
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
    /// nobody who can write the file, and not this program. For the file of a private copy, that includes pages that the program wrote.
    #[must_use]
    pub unsafe fn as_slice(&self) -> &'static [u8] {
        // SAFETY: the caller guarantees that the bytes are mapped and do not change. `Region::new` checked that they are in the lower half of
        // the address space, so there are not too many.
        unsafe { slice::from_raw_parts(self.as_ptr(), self.len()) }
    }

    /// The address of `len` bytes from `offset` on.
    fn at(&self, offset: usize, len: usize) -> Option<*mut u8> {
        let end = offset.checked_add(len)?;
        (end <= self.len()).then(|| self.as_ptr().wrapping_add(offset))
    }
}

/// Calls `byte` or `word` for all offsets of `len` bytes at `start`: for words where their addresses are aligned.
fn copy(start: *const u8, len: usize, mut byte: impl FnMut(usize), mut word: impl FnMut(usize)) {
    let head = start.align_offset(WORD).min(len);
    let words = (len - head) / WORD;
    (0..head).for_each(&mut byte);
    (0..words).for_each(|number| word(head + number * WORD));
    (head + words * WORD..len).for_each(byte);
}
