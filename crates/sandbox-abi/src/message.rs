//! Headers of messages, and their validation.

use core::mem::{offset_of, size_of};

use zerocopy::little_endian::{U32, U64};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

use crate::{MessageError, MessageKind};

/// Flags of a message. Receivers refuse flags that they do not know.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, Hash, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned,
)]
#[repr(transparent)]
pub struct MessageFlags(U32);

impl MessageFlags {
    /// No flag.
    pub const NONE: Self = Self(U32::new(0));
    /// Host: the page tables changed. The guest flushes the translations that its CPU cached before anything else.
    pub const FLUSH: Self = Self(U32::new(1));

    /// The bits.
    #[must_use]
    pub const fn bits(self) -> u32 {
        self.0.get()
    }

    /// Whether all bits of `other` are set.
    #[must_use]
    pub const fn contains(self, other: Self) -> bool {
        self.bits() & other.bits() == other.bits()
    }
}

/// Result of a function, in [`Header::status`]. Other values are errors of the receiver's own protocol.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, Hash, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned,
)]
#[repr(transparent)]
pub struct GuestStatus(U32);

impl GuestStatus {
    /// The payload is the result.
    pub const OK: Self = Self(U32::new(0));
    /// The function returned an error; the payload is a code and a message: postcard of `(u32, &str)`.
    pub const ERROR: Self = Self(U32::new(1));
    /// The callee could not decode the parameters; the payload is as for [`ERROR`](Self::ERROR).
    pub const BAD_PARAMETERS: Self = Self(U32::new(2));
    /// The callee has no function of this number; no payload.
    pub const NO_FUNCTION: Self = Self(U32::new(3));
    /// The callee has no memory for a payload of this length; no payload.
    pub const NO_MEMORY: Self = Self(U32::new(4));

    /// The number.
    #[must_use]
    pub const fn number(self) -> u32 {
        self.0.get()
    }
}

/// Header of a message, at the start of inbox and outbox. The body follows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C, align(8))]
pub struct Header {
    /// Host: number of this message, one more than the last. Guest: number of the message that this one answers.
    pub sequence: U64,
    /// Kind.
    pub kind: MessageKind,
    /// Number of the function: of the exports for `Call`, of the imports for `HostCall`; otherwise 0.
    pub function: U32,
    /// Length of the body in this message in bytes.
    pub len: U32,
    /// Result of the function for `Return` and `HostReply`; otherwise 0.
    pub status: GuestStatus,
    /// Length of the whole payload in bytes, of which this message has a part.
    pub total: U64,
    /// Offset of this part in the payload.
    pub offset: U64,
    /// Number of calls that are not finished below this one: 0 for a call from outside, 1 more for each call by a host function.
    pub depth: U32,
    /// Flags.
    pub flags: MessageFlags,
    /// Host: number of log records that it still accepts. Guest: number of log records that it dropped since its last message.
    pub log_budget: U32,
    /// Reserved, zero.
    pub reserved: [U32; 3],
}

const _: () = {
    assert!(size_of::<Header>() == Header::LEN);
    assert!(offset_of!(Header, kind) == 8 && offset_of!(Header, function) == 12);
    assert!(offset_of!(Header, len) == 16 && offset_of!(Header, status) == 20);
    assert!(offset_of!(Header, total) == 24 && offset_of!(Header, offset) == 32);
    assert!(offset_of!(Header, depth) == 40 && offset_of!(Header, flags) == 44);
    assert!(offset_of!(Header, log_budget) == 48 && offset_of!(Header, reserved) == 52);
};

/// What the receiver of a message expects.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Expect {
    /// Number of the last message.
    pub sequence: u64,
    /// Bytes of the window after the header.
    pub capacity: u32,
    /// Largest payload in bytes.
    pub max_total: u64,
    /// Bytes of the payload that were received before.
    pub received: u64,
    /// Length of the payload in its first part; none if this is the first part.
    pub total: Option<u64>,
}

/// A header of which [`Header::check`] proved that its body is in the window, and its part the next one of the payload.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Message {
    /// Kind; the receiver decides whether it expects it.
    pub kind: MessageKind,
    /// Number of the function; the receiver looks it up.
    pub function: u32,
    /// Length of the body in bytes, at most [`Expect::capacity`].
    pub len: u32,
    /// Result of the function.
    pub status: GuestStatus,
    /// Length of the whole payload in bytes, at most [`Expect::max_total`].
    pub total: u64,
    /// Unfinished calls.
    pub depth: u32,
    /// Flags.
    pub flags: MessageFlags,
    /// Log records accepted or dropped.
    pub log_budget: u32,
}

impl Message {
    /// Whether parts of the payload follow after this one, with `received` bytes before it.
    #[must_use]
    pub const fn is_last(&self, received: u64) -> bool {
        received.saturating_add(widen(self.len)) >= self.total
    }
}

/// `u64::from` in constant functions.
#[expect(clippy::as_conversions, reason = "lossless; `u64::from` is not const")]
const fn widen(value: u32) -> u64 {
    value as u64
}

impl Header {
    /// Length in bytes.
    pub const LEN: usize = 64;

    /// A message without a body.
    #[must_use]
    pub const fn new(kind: MessageKind, sequence: u64) -> Self {
        Self {
            sequence: U64::new(sequence),
            kind,
            function: U32::new(0),
            len: U32::new(0),
            status: GuestStatus::OK,
            total: U64::new(0),
            offset: U64::new(0),
            depth: U32::new(0),
            flags: MessageFlags::NONE,
            log_budget: U32::new(0),
            reserved: [U32::new(0); 3],
        }
    }

    /// Sets the length of a payload that fits into one message.
    #[must_use]
    pub const fn with_body(mut self, len: u32) -> Self {
        self.len = U32::new(len);
        self.total = U64::new(widen(len));
        self
    }

    /// Sets the number of the function.
    #[must_use]
    pub const fn with_function(mut self, function: u32) -> Self {
        self.function = U32::new(function);
        self
    }

    /// Sets the result of the function.
    #[must_use]
    pub const fn with_status(mut self, status: GuestStatus) -> Self {
        self.status = status;
        self
    }

    /// Sets the number of unfinished calls.
    #[must_use]
    pub const fn with_depth(mut self, depth: u32) -> Self {
        self.depth = U32::new(depth);
        self
    }

    /// Sets one part of a long payload: its length, its offset, and the length of the whole.
    #[must_use]
    pub const fn with_part(mut self, len: u32, offset: u64, total: u64) -> Self {
        self.len = U32::new(len);
        self.offset = U64::new(offset);
        self.total = U64::new(total);
        self
    }

    /// Validates the header against what the receiver expects. Kind, function, status and depth are left to the receiver.
    ///
    /// # Errors
    ///
    /// [`MessageError`], for the first field that is wrong.
    pub const fn check(&self, expect: &Expect) -> Result<Message, MessageError> {
        let [a, b, c] = self.reserved;
        if a.get() | b.get() | c.get() != 0 {
            let offset = offset_of!(Self, reserved);
            return Err(MessageError::Reserved { offset });
        }
        if self.flags.bits() & !MessageFlags::FLUSH.bits() != 0 {
            let offset = offset_of!(Self, flags);
            return Err(MessageError::Reserved { offset });
        }
        let (found, expected) = (self.sequence.get(), expect.sequence);
        if found != expected {
            return Err(MessageError::Sequence { found, expected });
        }
        let (found, max) = (self.len.get(), expect.capacity);
        if found > max {
            return Err(MessageError::Length { found, max });
        }
        let (offset, expected) = (self.offset.get(), expect.received);
        if offset != expected {
            let found = offset;
            return Err(MessageError::Offset { found, expected });
        }
        let (min, max) = (offset.saturating_add(widen(self.len.get())), expect.max_total);
        let total = self.total.get();
        if total < min || total > max {
            let found = total;
            return Err(MessageError::Total { found, min, max });
        }
        if let Some(expected) = expect.total {
            if total != expected {
                let found = total;
                return Err(MessageError::TotalChanged { found, expected });
            }
        }
        Ok(Message {
            kind: self.kind,
            function: self.function.get(),
            len: self.len.get(),
            status: self.status,
            total,
            depth: self.depth.get(),
            flags: self.flags,
            log_budget: self.log_budget.get(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const EXPECT: Expect = Expect {
        sequence: 9,
        capacity: 100,
        max_total: 1000,
        received: 40,
        total: None,
    };

    #[track_caller]
    fn check(change: impl FnOnce(&mut Header), error: Option<MessageError>) {
        let mut header = Header::new(MessageKind::MORE, 9).with_part(100, 40, 500);
        change(&mut header);
        assert_eq!(header.check(&EXPECT).err(), error);
    }

    #[test]
    fn headers_are_checked_field_by_field() {
        check(|_| (), None);
        for at in 0..3 {
            check(
                |h| h.reserved[at].set(1),
                Some(MessageError::Reserved { offset: 52 }),
            );
        }
        check(
            |h| h.flags = MessageFlags(U32::new(2)),
            Some(MessageError::Reserved { offset: 44 }),
        );
        check(|h| h.flags = MessageFlags::FLUSH, None);
        let sequence = MessageError::Sequence {
            found: 8,
            expected: 9,
        };
        check(|h| h.sequence.set(8), Some(sequence));
        check(
            |h| h.len.set(101),
            Some(MessageError::Length { found: 101, max: 100 }),
        );
        check(
            |h| h.len.set(u32::MAX),
            Some(MessageError::Length {
                found: u32::MAX,
                max: 100,
            }),
        );
        let offset = |found| Some(MessageError::Offset { found, expected: 40 });
        check(|h| h.offset.set(0), offset(0));
        check(|h| h.offset.set(u64::MAX), offset(u64::MAX));
        let total = |found| {
            Some(MessageError::Total {
                found,
                min: 140,
                max: 1000,
            })
        };
        check(|h| h.total.set(139), total(139));
        check(|h| h.total.set(140), None);
        check(|h| h.total.set(1000), None);
        check(|h| h.total.set(1001), total(1001));
        check(|h| h.total.set(u64::MAX), total(u64::MAX));
    }

    #[test]
    fn parts_have_one_total() {
        let expect = Expect {
            total: Some(500),
            ..EXPECT
        };
        let header = Header::new(MessageKind::MORE, 9).with_part(100, 40, 500);
        assert_eq!(header.check(&expect).map(|message| message.total), Ok(500));
        let error = header.with_part(100, 40, 501).check(&expect);
        assert_eq!(
            error,
            Err(MessageError::TotalChanged {
                found: 501,
                expected: 500
            })
        );
    }

    #[test]
    fn the_last_part_completes_the_payload() {
        let header = Header::new(MessageKind::MORE, 9).with_part(100, 40, 140);
        let message = header.check(&EXPECT).unwrap();
        assert!(message.is_last(40) && !message.is_last(39));
    }

    #[test]
    fn fields_have_their_bytes() {
        let header = Header::new(MessageKind::RETURN, 0x0102)
            .with_function(3)
            .with_part(4, 5, 6)
            .with_status(GuestStatus::ERROR)
            .with_depth(7);
        let mut bytes = [0; Header::LEN];
        for (at, value) in [
            (0, 2),
            (1, 1),
            (8, 2),
            (12, 3),
            (16, 4),
            (20, 1),
            (24, 6),
            (32, 5),
            (40, 7),
        ] {
            bytes[at] = value;
        }
        assert_eq!(header.as_bytes(), bytes);
    }
}
