//! Guest memory that is mapped in this process.

#![expect(
    unsafe_code,
    reason = "slices of raw memory rely on promises of their creator"
)]

use std::marker::PhantomData;

/// A part of a slice was asked for that the slice does not have.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{len:#x} bytes from {offset:#x} on are not in a slice of {slice_len:#x} bytes")]
pub(crate) struct OutOfSlice {
    offset: usize,
    len: usize,
    slice_len: usize,
}

/// A range of guest memory in this process.
///
/// # Safety
///
/// For as long as the value exists, `len` bytes are mapped at the address that [`with_ptr`](Self::with_ptr) passes, and no
/// Rust reference to them exists. Their values may change at any time.
pub(crate) unsafe trait HostSlice: Sized {
    /// Number of bytes.
    fn len(&self) -> usize;

    /// Calls `access` with the address of the first byte, which is valid during the call.
    fn with_ptr<R>(&self, access: impl FnOnce(*mut u8) -> R) -> R;

    /// The `len` bytes from `offset` on.
    fn subslice(&self, offset: usize, len: usize) -> Result<Self, OutOfSlice>;

    /// Marks bytes in the dirty bitmap, if there is one.
    fn mark_dirty(&self, offset: usize, len: usize);

    /// The parts before and from `mid` on.
    fn split_at(&self, mid: usize) -> Result<(Self, Self), OutOfSlice> {
        let rest = self.len().saturating_sub(mid);
        Ok((self.subslice(0, mid)?, self.subslice(mid, rest)?))
    }
}

/// Checks that `slice_len` bytes contain `len` bytes from `offset` on.
fn check(slice_len: usize, offset: usize, len: usize) -> Result<(), OutOfSlice> {
    match offset.checked_add(len) {
        Some(end) if end <= slice_len => Ok(()),
        _ => Err(OutOfSlice {
            offset,
            len,
            slice_len,
        }),
    }
}

/// Memory at a host address, without a dirty bitmap.
#[derive(Clone, Copy, Debug)]
pub(crate) struct RawSlice<'a> {
    host: *mut u8,
    len: usize,
    _memory: PhantomData<&'a ()>,
}

impl RawSlice<'_> {
    /// The `len` bytes at `host`.
    ///
    /// # Safety
    ///
    /// During the lifetime of the slice, the bytes are mapped, readable and writable, and no Rust reference to them exists.
    pub(crate) unsafe fn new(host: *mut u8, len: usize) -> Self {
        Self {
            host,
            len,
            _memory: PhantomData,
        }
    }
}

// SAFETY: `RawSlice::new` requires it, and a subslice is inside of its slice.
unsafe impl HostSlice for RawSlice<'_> {
    fn len(&self) -> usize {
        self.len
    }

    fn with_ptr<R>(&self, access: impl FnOnce(*mut u8) -> R) -> R {
        access(self.host)
    }

    fn subslice(&self, offset: usize, len: usize) -> Result<Self, OutOfSlice> {
        check(self.len, offset, len)?;
        // SAFETY: `offset` is at most the number of mapped bytes from `host` on.
        let host = unsafe { self.host.add(offset) };
        Ok(Self { host, len, ..*self })
    }

    fn mark_dirty(&self, _: usize, _: usize) {}
}

#[cfg(feature = "vm-memory")]
mod volatile {
    use vm_memory::VolatileSlice;
    use vm_memory::bitmap::BitmapSlice;

    use super::{HostSlice, OutOfSlice, check};

    // SAFETY: these are the requirements of `VolatileSlice::new`, which is unsafe. The guard keeps memory mapped that vm-memory
    // maps on access only, as on Xen.
    unsafe impl<B: BitmapSlice> HostSlice for VolatileSlice<'_, B> {
        fn len(&self) -> usize {
            VolatileSlice::len(self)
        }

        fn with_ptr<R>(&self, access: impl FnOnce(*mut u8) -> R) -> R {
            let guard = self.ptr_guard_mut();
            access(guard.as_ptr())
        }

        fn subslice(&self, offset: usize, len: usize) -> Result<Self, OutOfSlice> {
            let slice_len = VolatileSlice::len(self);
            check(slice_len, offset, len)?;
            // After the check, this does not fail.
            VolatileSlice::subslice(self, offset, len).ok().ok_or(OutOfSlice {
                offset,
                len,
                slice_len,
            })
        }

        fn mark_dirty(&self, offset: usize, len: usize) {
            self.bitmap().mark_dirty(offset, len);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_are_inside_of_their_slice() {
        let mut bytes = [0u8; 8];
        let host = bytes.as_mut_ptr();
        // SAFETY: nothing uses `bytes` until the end of the test.
        let slice = unsafe { RawSlice::new(host, 8) };
        let offset = |part: RawSlice<'_>| part.with_ptr(|ptr| ptr.addr() - host.addr());
        for (at, len, fits) in [
            (0, 8, true),
            (3, 5, true),
            (8, 0, true),
            (3, 6, false),
            (9, 0, false),
            (1, usize::MAX, false),
        ] {
            let part = slice.subslice(at, len);
            assert_eq!(part.is_ok(), fits, "{at}, {len}");
            if let Ok(part) = part {
                assert_eq!((offset(part), part.len()), (at, len));
            }
        }
        let (before, after) = slice.split_at(3).unwrap();
        assert_eq!((offset(before), before.len()), (0, 3));
        assert_eq!((offset(after), after.len()), (3, 5));
        let error = slice.split_at(9).unwrap_err();
        assert_eq!(
            error.to_string(),
            "0x9 bytes from 0x0 on are not in a slice of 0x8 bytes"
        );
    }
}
