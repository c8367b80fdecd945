//! Guests that break the protocol.

use sandbox_abi::MessageError;

/// A guest that breaks the protocol.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ProtocolError {
    /// A header is wrong, or its message is not expected.
    #[error(transparent)]
    Message(#[from] MessageError),
    /// A message belongs to another call than the innermost one.
    #[error("the message is of call depth {found}, expected {expected}")]
    Depth {
        /// Depth in the message.
        found: u32,
        /// Depth of the innermost call.
        expected: u32,
    },
    /// A part of a payload is empty, and others are missing.
    #[error("an empty part at byte {received} of a payload of {total} bytes")]
    EmptyPart {
        /// Bytes received before.
        received: u64,
        /// Length of the payload.
        total: u64,
    },
    /// The result of a function has a status that does not exist.
    #[error("the result has status {found}")]
    Status {
        /// The number.
        found: u32,
    },
    /// The guest has no function of a number that its table has.
    #[error("the guest has no function {function}, which is in its table")]
    NoFunction {
        /// The number.
        function: u32,
    },
    /// The text of an error cannot be decoded.
    #[error("the error of a function is malformed")]
    Error,
    /// A crash record is too short for its contents.
    #[error("a crash record of {len} bytes is too short for its contents")]
    CrashRecord {
        /// Length of the body in bytes.
        len: usize,
    },
    /// A log record is too short for its contents, or its level does not exist.
    #[error("the log record at byte {offset} is malformed")]
    LogRecord {
        /// Offset in the body in bytes.
        offset: usize,
    },
    /// The guest rang its doorbell too often in one call.
    #[error("the guest sent {max} messages in one call")]
    TooManyMessages {
        /// The limit.
        max: u32,
    },
}
