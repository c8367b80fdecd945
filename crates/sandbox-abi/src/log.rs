//! Records of a guest's log.

use core::mem::size_of;

use zerocopy::little_endian::{U16, U32};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

/// Level of a log record.
#[derive(
    Clone, Copy, PartialEq, Eq, Hash, Debug, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned,
)]
#[repr(transparent)]
pub struct LogLevel(u8);

impl LogLevel {
    /// Error.
    pub const ERROR: Self = Self(1);
    /// Warning.
    pub const WARN: Self = Self(2);
    /// Information.
    pub const INFO: Self = Self(3);
    /// Details for developers.
    pub const DEBUG: Self = Self(4);
    /// Every step.
    pub const TRACE: Self = Self(5);

    /// The number: 1 is the most severe.
    #[must_use]
    pub const fn number(self) -> u8 {
        self.0
    }
}

/// A log record in the body of a [`LOG`](crate::MessageKind::LOG) message. Target and text follow, then the next record.
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub struct LogRecord {
    /// Level.
    pub level: LogLevel,
    /// Length of the target in bytes, UTF-8.
    pub target_len: u8,
    /// Reserved, zero.
    pub reserved: U16,
    /// Length of the text in bytes, UTF-8.
    pub message_len: U32,
    /// Line of the source, or 0.
    pub line: U32,
}

const _: () = assert!(size_of::<LogRecord>() == 12);
