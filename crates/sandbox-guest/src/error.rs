//! Errors of functions, in both directions.

use core::fmt;

use alloc::borrow::Cow;
use alloc::string::{String, ToString as _};

/// Error of a guest function, which the host receives as a code and a message.
///
/// Every error type converts to it, with the code 0.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Error {
    code: u32,
    message: Cow<'static, str>,
}

impl Error {
    /// An error with a `code` for the host's program and a `message` for its user.
    #[must_use]
    pub fn new(code: u32, message: impl Into<Cow<'static, str>>) -> Self {
        let message = message.into();
        Self { code, message }
    }

    /// An error with the code 0.
    pub(crate) const fn of_text(message: &'static str) -> Self {
        let message = Cow::Borrowed(message);
        Self { code: 0, message }
    }

    /// The code.
    #[must_use]
    pub const fn code(&self) -> u32 {
        self.code
    }

    /// The message.
    #[must_use]
    pub fn message(&self) -> &str {
        &self.message
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

// It does not implement `core::error::Error`, because then this conversion would include the identity.
impl<E: core::error::Error> From<E> for Error {
    fn from(error: E) -> Self {
        Self::new(0, error.to_string())
    }
}

/// Why a host function has no result.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum HostError {
    /// The function returned an error.
    Function {
        /// Its code.
        code: u32,
        /// Its message.
        message: String,
    },
    /// The host could not decode the parameters.
    BadParameters {
        /// Message of the host.
        message: String,
    },
    /// The host has no such function.
    NoFunction,
    /// The host does not accept a payload of this length.
    Refused,
    /// A status that this version does not know.
    Status {
        /// The number.
        found: u32,
    },
    /// The parameters cannot be encoded, or are longer than the host accepts.
    Encode(postcard::Error),
    /// The result is not of the declared type.
    Decode(postcard::Error),
    /// The heap has no memory for the result.
    NoMemory {
        /// Length of the result in bytes.
        total: u64,
    },
    /// The program does not run in a sandbox.
    NoHost,
}

impl fmt::Display for HostError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Function { code: 0, message } => write!(f, "host function: {message}"),
            Self::Function { code, message } => write!(f, "host function: {message} (code {code})"),
            Self::BadParameters { message } => {
                write!(f, "host function: parameters were not accepted: {message}")
            }
            Self::NoFunction => f.write_str("host function: the host has no such function"),
            Self::Refused => f.write_str("host function: the host has no memory for the parameters"),
            Self::Status { found } => write!(f, "host function: unknown status {found}"),
            Self::Encode(_) => f.write_str("host function: the parameters cannot be encoded"),
            Self::Decode(_) => f.write_str("host function: the result is not of the declared type"),
            Self::NoMemory { total } => {
                write!(f, "host function: no memory for a result of {total} bytes")
            }
            Self::NoHost => f.write_str("host function: the program does not run in a sandbox"),
        }
    }
}

impl core::error::Error for HostError {
    fn source(&self) -> Option<&(dyn core::error::Error + 'static)> {
        match self {
            Self::Encode(error) | Self::Decode(error) => Some(error),
            _ => None,
        }
    }
}
