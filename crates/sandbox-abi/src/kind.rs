//! Kinds of messages.

use core::fmt;

use zerocopy::little_endian::U32;
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

/// Kind of a message.
#[derive(Clone, Copy, PartialEq, Eq, Hash, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(transparent)]
pub struct MessageKind(U32);

impl MessageKind {
    /// Host: call function [`Header::function`](crate::Header::function) of the guest's exports.
    pub const CALL: Self = Self(U32::new(1));
    /// Guest: result of the call.
    pub const RETURN: Self = Self(U32::new(2));
    /// Guest: call function [`Header::function`](crate::Header::function) of the guest's imports.
    pub const HOST_CALL: Self = Self(U32::new(3));
    /// Host: result of the host function.
    pub const HOST_REPLY: Self = Self(U32::new(4));
    /// Sender of a long payload: its next part.
    pub const MORE: Self = Self(U32::new(5));
    /// Receiver of a long payload: send the next part.
    pub const CONTINUE: Self = Self(U32::new(6));
    /// Guest: initialised, ready for the first call.
    pub const READY: Self = Self(U32::new(7));
    /// Guest: panic or fault; the body is a [`CrashRecord`](crate::CrashRecord) and a message.
    pub const CRASH: Self = Self(U32::new(8));
    /// Guest: log records; the host answers [`CONTINUE`](Self::CONTINUE).
    pub const LOG: Self = Self(U32::new(9));

    /// The number.
    #[must_use]
    pub const fn number(self) -> u32 {
        self.0.get()
    }

    /// Name in this documentation.
    #[must_use]
    pub const fn name(self) -> Option<&'static str> {
        Some(match self.number() {
            1 => "Call",
            2 => "Return",
            3 => "HostCall",
            4 => "HostReply",
            5 => "More",
            6 => "Continue",
            7 => "Ready",
            8 => "Crash",
            9 => "Log",
            _ => return None,
        })
    }
}

impl fmt::Debug for MessageKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.name() {
            Some(name) => f.write_str(name),
            None => write!(f, "MessageKind({:#x})", self.number()),
        }
    }
}

impl fmt::Display for MessageKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.name() {
            Some(name) => write!(f, "kind {name}"),
            None => write!(f, "kind {:#x}", self.number()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kinds_have_names() {
        for number in 0..=10 {
            let kind = MessageKind(U32::new(number));
            assert_eq!(kind.name().is_some(), (1..=9).contains(&number), "{kind}");
        }
        assert_eq!(
            std::format!("{} {:?}", MessageKind::LOG, MessageKind(U32::new(77))),
            "kind Log MessageKind(0x4d)"
        );
    }
}
