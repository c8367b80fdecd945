//! Errors of calls, and of everything else that one can do with a sandbox.

use std::error::Error;
use std::fmt;
use std::time::Duration;

use hv_core::Operation;
use sandbox_abi::MessageError;

use crate::crash::Crash;
use crate::file_truncated::FileTruncated;
use crate::protocol_error::ProtocolError;
use crate::status::{Cause, Status};

/// A failed operation of the hypervisor.
#[derive(Debug, thiserror::Error)]
#[error("the hypervisor failed at {operation}")]
pub struct BackendError {
    /// What failed.
    pub operation: Operation,
    /// The error of the hypervisor.
    pub source: Box<dyn Error + Send + Sync>,
}

impl BackendError {
    /// A function for `map_err`.
    pub(crate) fn at<E: Error + Send + Sync + 'static>(operation: Operation) -> impl FnOnce(E) -> Self {
        move |source| Self {
            operation,
            source: Box::new(source),
        }
    }
}

/// A function that a sandbox does not have, or has with other types.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ResolveError {
    /// No function of this name.
    #[error("the guest has no function {name:?}")]
    NotFound {
        /// The name.
        name: String,
    },
    /// The types of parameters and result differ.
    #[error("function {name:?} has other types: signature {found:#018x} in the guest, {expected:#018x} here")]
    Signature {
        /// The name.
        name: String,
        /// Signature of the types here: [`sandbox_abi::signature`].
        expected: u64,
        /// Signature in the guest's table.
        found: u64,
    },
    /// The guest's function takes bytes, and is called with typed parameters.
    #[error("function {name:?} of the guest takes bytes, not typed parameters")]
    TakesBytes {
        /// The name.
        name: String,
    },
    /// The guest's function takes typed parameters, and is called with bytes.
    #[error("function {name:?} of the guest takes typed parameters, not bytes")]
    TakesTypes {
        /// The name.
        name: String,
    },
    /// The handle was resolved for another image.
    #[error("the function belongs to another image")]
    OtherImage,
}

/// An error that a function returned: of the guest, or of the host.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message} (code {code})")]
#[non_exhaustive]
pub struct FunctionError {
    /// Number of the error; its meaning belongs to the function.
    pub code: u32,
    /// Text.
    pub message: String,
}

impl FunctionError {
    /// An error with `code` and `message`.
    #[must_use]
    pub fn new(code: u32, message: impl Into<String>) -> Self {
        let message = message.into();
        Self { code, message }
    }
}

/// A failed call.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CallError {
    /// The sandbox is not ready, so nothing was called.
    #[error("nothing was called: the sandbox is {0}")]
    NotReady(Status),
    /// The function cannot be called in this way, so nothing was called.
    #[error(transparent)]
    Resolve(#[from] ResolveError),
    /// The parameters are longer than the limit, so nothing was called.
    #[error("the parameters have {len} bytes, more than the limit of {max}")]
    TooLarge {
        /// Their length in bytes.
        len: u64,
        /// The limit in bytes.
        max: u64,
    },
    /// Host functions called the guest too deeply, so nothing was called.
    #[error("host functions called the guest {max} times without an end")]
    TooDeep {
        /// The limit.
        max: u32,
    },
    /// The parameters cannot be encoded, so nothing was called.
    #[error("the parameters cannot be encoded")]
    Encode(#[source] postcard::Error),
    /// The result cannot be decoded. The guest waits for the next call.
    #[error("the result cannot be decoded as the expected type")]
    Decode(#[source] postcard::Error),
    /// The function returned an error. The guest waits for the next call.
    #[error("the function failed: {0}")]
    Guest(#[source] FunctionError),
    /// The guest could not decode the parameters. It waits for the next call.
    #[error("the guest cannot decode the parameters: {0}")]
    BadParameters(#[source] FunctionError),
    /// The guest has no memory for the parameters. It waits for the next call.
    #[error("the guest has no memory for the parameters")]
    NoMemory,
    /// The guest panicked, had an exception, ran out of memory, or stopped without a message.
    #[error(transparent)]
    Crashed(Box<Crash>),
    /// An [`InterruptHandle`](crate::InterruptHandle) ended the call, or the command `kill` of a debugger.
    #[error("the call was interrupted")]
    Interrupted,
    /// The deadline passed.
    #[error("the call took longer than {limit:?}")]
    Deadline {
        /// The limit of the call.
        limit: Duration,
    },
    /// The guest accessed a page of a mapped file that the file no longer has.
    #[error(transparent)]
    FileTruncated(#[from] FileTruncated),
    /// A call that a host function made had failed before, so the guest cannot go on.
    #[error("a call by a host function had failed: {0}")]
    Nested(Cause),
    /// The guest broke the protocol.
    #[error("the guest broke the protocol")]
    Protocol(#[from] ProtocolError),
    /// The hypervisor failed.
    #[error(transparent)]
    Backend(#[from] BackendError),
}

impl From<MessageError> for CallError {
    fn from(error: MessageError) -> Self {
        Self::Protocol(error.into())
    }
}

impl CallError {
    /// Why the sandbox is poisoned after this error; none if it is as before the call.
    #[must_use]
    pub fn poisons(&self) -> Option<Cause> {
        Some(match self {
            Self::Crashed(crash) if crash.is_exit() => Cause::Exit,
            Self::Crashed(_) => Cause::Crash,
            Self::Interrupted => Cause::Interrupted,
            Self::Deadline { .. } => Cause::Deadline,
            Self::FileTruncated(_) => Cause::File,
            Self::Nested(cause) => *cause,
            Self::Protocol(_) => Cause::Protocol,
            Self::Backend(_) => Cause::Backend,
            Self::NotReady(_)
            | Self::Resolve(_)
            | Self::TooLarge { .. }
            | Self::TooDeep { .. }
            | Self::Encode(_)
            | Self::Decode(_)
            | Self::Guest(_)
            | Self::BadParameters(_)
            | Self::NoMemory => return None,
        })
    }
}

/// Why a handler of a host function failed.
#[derive(Debug)]
#[non_exhaustive]
pub enum HostError {
    /// An error for the guest, whose call of the host function returns it.
    Function(FunctionError),
    /// A call of the guest failed. The guest gets its text; if the guest cannot go on, the outer call fails with this error.
    Call(Box<CallError>),
}

impl HostError {
    /// Code of errors that the host makes itself: parameters that cannot be decoded, a function that is busy, a failed call.
    pub const CODE: u32 = u32::MAX;

    /// An error for the guest.
    #[must_use]
    pub fn new(code: u32, message: impl Into<String>) -> Self {
        Self::Function(FunctionError::new(code, message))
    }
}

impl fmt::Display for HostError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Function(error) => error.fmt(f),
            Self::Call(error) => error.fmt(f),
        }
    }
}

impl Error for HostError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            Self::Function(_) => None,
            Self::Call(error) => error.source(),
        }
    }
}

impl From<FunctionError> for HostError {
    fn from(error: FunctionError) -> Self {
        Self::Function(error)
    }
}

impl From<CallError> for HostError {
    fn from(error: CallError) -> Self {
        Self::Call(Box::new(error))
    }
}
