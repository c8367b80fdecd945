//! A call of a guest function: its parameters, and the ways to reply.

use core::fmt;
use core::mem;

use alloc::borrow::Cow;
use alloc::vec::Vec;

use sandbox_abi::GuestStatus;
use serde::{Deserialize, Serialize};

use crate::decode::decode;
use crate::encode::{encode, encode_bytes};
use crate::error::Error;
use crate::reply::{Body, Reply};
use crate::window::Window;

/// A call of a function, as its entry sees it. The attribute `guest_function` generates the code that uses it.
pub struct Call<'a> {
    window: &'a Window<'a>,
    parameters: Parameters<'a>,
}

/// What the host gets instead of a result that is too long.
const RESULT_TOO_LONG: Error =
    Error::of_text("the result is longer than the host accepts, or than the heap can hold");

/// The payload of a call.
enum Parameters<'a> {
    /// On the stack.
    Short(&'a [u8]),
    /// In the heap.
    Long(Vec<u8>),
}

impl<'a> Call<'a> {
    pub(crate) fn short(window: &'a Window<'a>, parameters: &'a [u8]) -> Self {
        let parameters = Parameters::Short(parameters);
        Self { window, parameters }
    }

    pub(crate) fn long(window: &'a Window<'a>, parameters: Vec<u8>) -> Self {
        let parameters = Parameters::Long(parameters);
        Self { window, parameters }
    }

    /// The payload.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        match &self.parameters {
            Parameters::Short(bytes) => bytes,
            Parameters::Long(bytes) => bytes,
        }
    }

    /// Takes the payload out of the call.
    #[must_use]
    pub fn take_bytes(&mut self) -> Vec<u8> {
        match &mut self.parameters {
            Parameters::Short(bytes) => mem::take(bytes).to_vec(),
            Parameters::Long(bytes) => mem::take(bytes),
        }
    }

    /// Decodes the payload as a tuple of parameters.
    ///
    /// # Errors
    ///
    /// The reply that reports wrong parameters.
    pub fn parameters<'p, T: Deserialize<'p>>(&'p self) -> Result<T, Reply> {
        decode(self.bytes()).map_err(|error| self.fail(GuestStatus::BAD_PARAMETERS, &error.into()))
    }

    /// The reply with an encoded result.
    #[must_use]
    pub fn reply<T: Serialize + ?Sized>(&self, value: &T) -> Reply {
        self.finish(encode(self.window, value))
    }

    /// The reply with bytes as the result.
    #[must_use]
    pub fn reply_bytes<'b>(&self, value: impl Into<Cow<'b, [u8]>>) -> Reply {
        let body = encode_bytes(self.window, value.into());
        self.finish(body.and_then(|body| body.try_into_owned().ok_or(postcard::Error::SerializeBufferFull)))
    }

    fn finish(&self, body: Result<Body<'static>, postcard::Error>) -> Reply {
        match body {
            Ok(body) => {
                let status = GuestStatus::OK;
                Reply { status, body }
            }
            Err(postcard::Error::SerializeBufferFull) => self.fail(GuestStatus::ERROR, &RESULT_TOO_LONG),
            Err(error) => self.fail(GuestStatus::ERROR, &error.into()),
        }
    }

    /// The reply with an error.
    #[must_use]
    pub fn error(&self, error: impl Into<Error>) -> Reply {
        self.fail(GuestStatus::ERROR, &error.into())
    }

    #[cold]
    #[inline(never)]
    fn fail(&self, status: GuestStatus, error: &Error) -> Reply {
        // The error takes the place of what was written.
        self.window.state().is_writing.set(false);
        match encode(self.window, &(error.code(), error.message())) {
            Ok(body) => Reply { status, body },
            Err(_) => Reply::empty(status),
        }
    }
}

impl fmt::Debug for Call<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Call")
            .field("bytes", &self.bytes())
            .finish_non_exhaustive()
    }
}
