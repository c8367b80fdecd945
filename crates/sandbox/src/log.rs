//! Log records of guests.

use std::fmt;
use std::mem::size_of;

use sandbox_abi::LogLevel;
use zerocopy::FromBytes;

use crate::protocol_error::ProtocolError;

/// A log record of a guest. All of it comes from the guest, so nothing in it can be trusted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct LogRecord<'a> {
    /// Level.
    pub level: tracing::Level,
    /// Target: usually a module of the guest. Bytes that are not UTF-8 are left out.
    pub target: &'a str,
    /// Text. Bytes that are not UTF-8 are left out.
    pub message: &'a str,
    /// Line of the source, if the guest sent it.
    pub line: Option<u32>,
}

/// Receiver of log records.
pub(crate) type Sink = Box<dyn FnMut(LogRecord<'_>) + Send>;

/// Emits a record as a `tracing` event with the target `sandbox::guest`.
pub(crate) fn trace(record: LogRecord<'_>) {
    macro_rules! event {
        ($($name:ident),*) => {
            match record.level {
                $(tracing::Level::$name => tracing::event!(
                    target: "sandbox::guest",
                    tracing::Level::$name,
                    guest.target = record.target,
                    guest.line = record.line,
                    "{}",
                    record.message
                ),)*
            }
        };
    }
    event!(ERROR, WARN, INFO, DEBUG, TRACE);
}

/// Where log records go, and how many are accepted.
pub(crate) struct Log {
    sink: Sink,
    /// Number of records in one call.
    max: u32,
    /// Records that are accepted until the end of the call.
    left: u32,
    /// Records that guest and host dropped.
    dropped: u64,
}

impl fmt::Debug for Log {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Log")
            .field("max", &self.max)
            .finish_non_exhaustive()
    }
}

impl Log {
    pub(crate) fn new(sink: Sink, max: u32) -> Self {
        Self {
            sink,
            max,
            left: max,
            dropped: 0,
        }
    }

    /// Counts records that were dropped.
    #[inline]
    pub(crate) fn add_dropped(&mut self, records: u32) {
        self.dropped = self.dropped.saturating_add(records.into());
    }

    /// Number of records that were dropped.
    pub(crate) fn dropped(&self) -> u64 {
        self.dropped
    }

    /// Starts a call.
    #[inline]
    pub(crate) fn begin(&mut self) {
        self.left = self.max;
    }

    /// Number of records that are accepted until the end of the call.
    #[inline]
    pub(crate) fn left(&self) -> u32 {
        self.left
    }

    /// Passes the records in `body` on, as many as are accepted.
    pub(crate) fn receive(&mut self, body: &[u8]) -> Result<(), ProtocolError> {
        let mut rest = body;
        while !rest.is_empty() {
            let offset = body.len().saturating_sub(rest.len());
            let (level, [target, message], line, next) =
                split(rest).ok_or(ProtocolError::LogRecord { offset })?;
            rest = next;
            let Some(left) = self.left.checked_sub(1) else {
                self.add_dropped(1);
                continue;
            };
            self.left = left;
            (self.sink)(LogRecord {
                level,
                target: &valid(target),
                message: &valid(message),
                line: (line != 0).then_some(line),
            });
        }
        Ok(())
    }
}

/// The text in `bytes`, without bytes that are not UTF-8.
fn valid(bytes: &[u8]) -> std::borrow::Cow<'_, str> {
    match str::from_utf8(bytes) {
        Ok(text) => text.into(),
        Err(_) => bytes.utf8_chunks().map(|chunk| chunk.valid()).collect(),
    }
}

/// Level, target and text, line, and the rest after the first record.
type Split<'a> = (tracing::Level, [&'a [u8]; 2], u32, &'a [u8]);

fn split(bytes: &[u8]) -> Option<Split<'_>> {
    let (record, rest) = sandbox_abi::LogRecord::read_from_prefix(bytes).ok()?;
    let level = match record.level {
        LogLevel::ERROR => tracing::Level::ERROR,
        LogLevel::WARN => tracing::Level::WARN,
        LogLevel::INFO => tracing::Level::INFO,
        LogLevel::DEBUG => tracing::Level::DEBUG,
        LogLevel::TRACE => tracing::Level::TRACE,
        _ => return None,
    };
    let (target, rest) = rest.split_at_checked(record.target_len.into())?;
    let len = usize::try_from(record.message_len.get()).ok()?;
    let (message, rest) = rest.split_at_checked(len)?;
    (record.reserved.get() == 0).then_some((level, [target, message], record.line.get(), rest))
}

const _: () = assert!(size_of::<sandbox_abi::LogRecord>() == 12);
