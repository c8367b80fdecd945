//! Results of functions, ready to be sent.

use alloc::borrow::Cow;
use alloc::vec::Vec;

use sandbox_abi::GuestStatus;

/// Result of a function entry.
#[derive(Debug)]
pub struct Reply {
    pub(crate) status: GuestStatus,
    pub(crate) body: Body<'static>,
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
pub(crate) enum Body<'a> {
    /// This number of bytes in the body of the outbox.
    Window(u32),
    /// Bytes that the window has no room for.
    Bytes(Cow<'a, [u8]>),
}

impl Body<'_> {
    /// The same with bytes of its own; `None` if the heap has no memory for them.
    pub(crate) fn try_into_owned(self) -> Option<Body<'static>> {
        Some(match self {
            Self::Window(len) => Body::Window(len),
            Self::Bytes(Cow::Owned(bytes)) => Body::Bytes(Cow::Owned(bytes)),
            Self::Bytes(Cow::Borrowed(bytes)) => {
                let mut copy = Vec::new();
                copy.try_reserve_exact(bytes.len()).ok()?;
                copy.extend_from_slice(bytes);
                Body::Bytes(Cow::Owned(copy))
            }
        })
    }
}
