//! Errors of messages.

use core::fmt;

use crate::MessageKind;

/// A message header that breaks the protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum MessageError {
    /// Reserved bytes or flags are not zero.
    Reserved {
        /// Offset of the field in the header.
        offset: usize,
    },
    /// The kind is none that the receiver expects now.
    Kind {
        /// Kind in the message.
        found: MessageKind,
    },
    /// The message answers another one than the last.
    Sequence {
        /// Number in the message.
        found: u64,
        /// Number of the last message to the sender.
        expected: u64,
    },
    /// The body is longer than the window.
    Length {
        /// Length in the message in bytes.
        found: u32,
        /// Bytes of the window after the header.
        max: u32,
    },
    /// The payload is longer than the limit, or shorter than its part in this message.
    Total {
        /// Length of the payload in the message in bytes.
        found: u64,
        /// Smallest length that is possible.
        min: u64,
        /// Largest length that the receiver accepts.
        max: u64,
    },
    /// The part of the payload is not the next one.
    Offset {
        /// Offset in the message.
        found: u64,
        /// Bytes received so far.
        expected: u64,
    },
    /// The length of the payload changed between its parts.
    TotalChanged {
        /// Length in this message.
        found: u64,
        /// Length in the first message.
        expected: u64,
    },
}

impl fmt::Display for MessageError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Reserved { offset } => write!(f, "message: reserved bits at byte {offset} are not zero"),
            Self::Kind { found } => write!(f, "message: {found} is not expected here"),
            Self::Sequence { found, expected } => {
                write!(
                    f,
                    "message: it answers message {found}, but the last one is {expected}"
                )
            }
            Self::Length { found, max } => {
                write!(f, "message: its body has {found} bytes, but the window has {max}")
            }
            Self::Total { found, min, max } => {
                write!(
                    f,
                    "message: its payload has {found} bytes, expected {min} to {max}"
                )
            }
            Self::Offset { found, expected } => {
                write!(
                    f,
                    "message: part at byte {found} of the payload, expected byte {expected}"
                )
            }
            Self::TotalChanged { found, expected } => {
                write!(
                    f,
                    "message: payload of {found} bytes, but its first part said {expected}"
                )
            }
        }
    }
}

impl core::error::Error for MessageError {}
