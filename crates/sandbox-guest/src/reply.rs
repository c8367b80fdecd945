//! Results of functions, ready to be sent.

use alloc::vec::Vec;

use sandbox_abi::GuestStatus;

/// Result of a function entry.
#[derive(Debug)]
pub struct Reply {
    pub(crate) status: GuestStatus,
    pub(crate) body: Body,
}

impl Reply {
    /// A status without a payload.
    pub(crate) const fn empty(status: GuestStatus) -> Self {
        let body = Body::Window(0);
        Self { status, body }
    }
}

/// A payload.
#[derive(Debug)]
pub(crate) enum Body {
    /// This number of bytes in the body of the outbox.
    Window(u32),
    /// Bytes that the window has no room for.
    Heap(Vec<u8>),
}
