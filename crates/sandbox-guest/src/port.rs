//! The connection of a guest to its host.

use core::cell::Cell;

use sandbox_abi::{Header, MessageError, MessageKind};

/// The two halves of the window, and the doorbell.
///
/// The runtime implements it for the window of a sandbox. Tests implement it for a host that they simulate.
pub trait Port {
    /// Messages of the host. Their contents change only in [`ring`](Self::ring).
    fn inbox(&self) -> Area<'_>;

    /// Messages to the host.
    fn outbox(&self) -> Area<'_>;

    /// Passes the message in the outbox to the host, and returns when the next message is in the inbox.
    fn ring(&self);

    /// Flushes the translations of addresses that the CPU cached.
    fn flush_translations(&self) {}

    /// Largest payload that the host accepts, in bytes.
    fn max_payload(&self) -> u64;

    /// Executes the call in the inbox: [`serve`](crate::serve) with the functions of the program, and its result.
    fn serve(&self) -> bool;

    /// State of the protocol, zeroed at first.
    fn state(&self) -> &State;

    /// Ends the program after a message of the host that breaks the protocol.
    fn stop(&self, error: ProtocolError) -> !;
}

/// Largest number of unfinished calls below a call.
pub const MAX_DEPTH: u32 = 8;

/// One half of the window.
#[derive(Clone, Copy, Debug)]
pub struct Area<'a> {
    /// The header.
    pub header: &'a Cell<Header>,
    /// The rest.
    pub body: &'a [Cell<u8>],
}

/// State of the protocol between two messages.
#[derive(Debug, Default)]
#[repr(C)]
pub struct State {
    /// Unfinished calls of the call that runs.
    pub(crate) depth: Cell<u32>,
    /// Bytes of log records in the body of the outbox.
    pub(crate) log_len: Cell<u32>,
    /// Number of these records.
    pub(crate) log_records: Cell<u32>,
    /// Log records that were dropped since the last message.
    pub(crate) log_dropped: Cell<u32>,
    /// The body of the outbox has a part of the next message.
    pub(crate) is_writing: Cell<bool>,
}

impl State {
    /// The state at the start.
    #[must_use]
    pub const fn new() -> Self {
        Self {
            depth: Cell::new(0),
            log_len: Cell::new(0),
            log_records: Cell::new(0),
            log_dropped: Cell::new(0),
            is_writing: Cell::new(false),
        }
    }
}

/// A message of the host that breaks the protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ProtocolError {
    /// A header is malformed.
    Message(MessageError),
    /// A message of this kind is not expected.
    Kind {
        /// Kind of the message.
        found: MessageKind,
    },
    /// More calls are nested than [`MAX_DEPTH`].
    Depth {
        /// Number of unfinished calls below the new one.
        found: u32,
    },
}

impl core::fmt::Display for ProtocolError {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        match self {
            Self::Message(error) => error.fmt(f),
            Self::Kind { found } => write!(f, "message: {found} is not expected here"),
            Self::Depth { found } => {
                write!(
                    f,
                    "message: {found} unfinished calls, at most {MAX_DEPTH} are allowed"
                )
            }
        }
    }
}

impl core::error::Error for ProtocolError {
    fn source(&self) -> Option<&(dyn core::error::Error + 'static)> {
        match self {
            Self::Message(error) => Some(error),
            Self::Kind { .. } | Self::Depth { .. } => None,
        }
    }
}
