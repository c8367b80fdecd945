//! Encoding into the window, or into the heap what the window has no room for.

use core::cell::Cell;

use alloc::borrow::Cow;
use alloc::vec::Vec;
use postcard::ser_flavors::Flavor;
use serde::Serialize;

use crate::reply::Body;
use crate::window::{Window, copy_to, narrow};

/// Encodes `value` in postcard's format.
///
/// # Errors
///
/// Errors of the value; [`postcard::Error::SerializeBufferFull`] if it is longer than the host accepts, or than the heap can hold.
pub(crate) fn encode<T: Serialize + ?Sized>(
    window: &Window<'_>,
    value: &T,
) -> Result<Body<'static>, postcard::Error> {
    let writer = Writer::begin(window);
    let body = postcard::serialize_with_flavor(value, writer);
    if body.is_err() {
        window.state().is_writing.set(false);
    }
    body
}

/// Takes bytes as a payload: those that fit are copied to the window.
///
/// # Errors
///
/// [`postcard::Error::SerializeBufferFull`] if there are more than the host accepts.
pub(crate) fn encode_bytes<'b>(
    window: &Window<'_>,
    bytes: Cow<'b, [u8]>,
) -> Result<Body<'b>, postcard::Error> {
    let mut writer = Writer::begin(window);
    if bytes.len() <= writer.window.len() {
        writer.try_extend(&bytes)?;
        return writer.finalize();
    }
    if bytes.len() <= writer.max {
        return Ok(Body::Bytes(bytes));
    }
    window.state().is_writing.set(false);
    Err(postcard::Error::SerializeBufferFull)
}

/// Bytes in the window as long as they fit; then all of them in the heap.
struct Writer<'a> {
    window: &'a [Cell<u8>],
    len: usize,
    heap: Vec<u8>,
    max: usize,
}

impl<'a> Writer<'a> {
    /// Takes the body of the outbox for a message, which is then to be sent.
    ///
    /// # Panics
    ///
    /// In code that runs while a value is encoded.
    #[inline]
    fn begin(window: &Window<'a>) -> Self {
        window.flush_log();
        let was_writing = window.state().is_writing.replace(true);
        assert!(
            !was_writing,
            "a host function was called while a message is written"
        );
        Self {
            window: window.body(),
            len: 0,
            heap: Vec::new(),
            max: usize::try_from(window.port().max_payload()).unwrap_or(usize::MAX),
        }
    }

    #[cold]
    #[inline(never)]
    fn spill(&mut self, bytes: &[u8]) -> Result<(), postcard::Error> {
        let len = self.len + bytes.len();
        if len > self.max {
            return Err(postcard::Error::SerializeBufferFull);
        }
        let in_window = if self.heap.is_empty() { self.len } else { 0 };
        if self.heap.try_reserve(in_window + bytes.len()).is_err() {
            return Err(postcard::Error::SerializeBufferFull);
        }
        self.heap
            .extend(self.window.iter().take(in_window).map(Cell::get));
        self.heap.extend_from_slice(bytes);
        self.len = len;
        Ok(())
    }
}

impl Flavor for Writer<'_> {
    type Output = Body<'static>;

    #[inline]
    fn try_push(&mut self, byte: u8) -> Result<(), postcard::Error> {
        match self.window.get(self.len) {
            Some(cell) => {
                cell.set(byte);
                self.len += 1;
                Ok(())
            }
            None => self.spill(&[byte]),
        }
    }

    #[inline]
    fn try_extend(&mut self, bytes: &[u8]) -> Result<(), postcard::Error> {
        match self.window.get(self.len..self.len + bytes.len()) {
            Some(cells) => {
                copy_to(cells, bytes);
                self.len += bytes.len();
                Ok(())
            }
            None => self.spill(bytes),
        }
    }

    fn finalize(self) -> Result<Body<'static>, postcard::Error> {
        Ok(if self.heap.is_empty() {
            Body::Window(narrow(self.len))
        } else {
            Body::Bytes(Cow::Owned(self.heap))
        })
    }
}
