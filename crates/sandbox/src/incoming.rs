//! Receiving one payload, in one part or several.

use sandbox_abi::{Expect, Header, Message, MessageError, MessageKind};

use crate::protocol_error::ProtocolError;

/// Limits of messages.
#[derive(Clone, Copy, Debug)]
pub(crate) struct MessageLimits {
    /// Bytes of a window after the header.
    pub(crate) capacity: u32,
    /// Largest payload in bytes.
    pub(crate) max_payload: u64,
}

/// Progress of a payload.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Incoming {
    received: u64,
    total: Option<u64>,
}

impl Incoming {
    /// Checks a header that answers message `sequence`. Log records and crashes are payloads of their own, also between two parts.
    #[inline]
    pub(crate) fn check(
        self,
        header: &Header,
        sequence: u64,
        limits: MessageLimits,
    ) -> Result<Message, MessageError> {
        let is_part = !matches!(
            header.kind,
            MessageKind::LOG | MessageKind::CRASH | MessageKind::CONTINUE
        );
        let Self { received, total } = if is_part { self } else { Self::default() };
        header.check(&Expect {
            sequence,
            capacity: limits.capacity,
            max_total: limits.max_payload,
            received,
            total,
        })
    }

    /// Counts a part. Returns true if it was the last one.
    #[inline]
    pub(crate) fn add(&mut self, message: &Message) -> Result<bool, ProtocolError> {
        let is_last = message.is_last(self.received);
        if message.len == 0 && !is_last {
            return Err(ProtocolError::EmptyPart {
                received: self.received,
                total: message.total,
            });
        }
        self.received = self.received.saturating_add(message.len.into());
        self.total = Some(message.total);
        Ok(is_last)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMITS: MessageLimits = MessageLimits {
        capacity: 100,
        max_payload: 250,
    };

    fn part(kind: MessageKind, len: u32, offset: u64) -> Header {
        Header::new(kind, 3).with_part(len, offset, 250)
    }

    #[test]
    fn parts_follow_each_other() {
        let mut incoming = Incoming::default();
        for (kind, len, offset, is_last) in [
            (MessageKind::RETURN, 100, 0, false),
            (MessageKind::MORE, 100, 100, false),
            (MessageKind::MORE, 50, 200, true),
        ] {
            let message = incoming.check(&part(kind, len, offset), 3, LIMITS).unwrap();
            assert_eq!(incoming.add(&message), Ok(is_last));
            let again = incoming.check(&part(kind, len, offset), 3, LIMITS);
            assert!(
                matches!(again, Err(MessageError::Offset { found, .. }) if found == offset),
                "{again:?}"
            );
        }
    }

    #[test]
    fn log_records_come_between_parts() {
        let mut incoming = Incoming::default();
        let message = incoming
            .check(&part(MessageKind::RETURN, 100, 0), 3, LIMITS)
            .unwrap();
        incoming.add(&message).unwrap();
        let log = Header::new(MessageKind::LOG, 3).with_body(7);
        assert!(incoming.check(&log, 3, LIMITS).is_ok());
        let more = Header::new(MessageKind::MORE, 3).with_body(7);
        assert!(incoming.check(&more, 3, LIMITS).is_err());
    }

    #[test]
    fn an_empty_part_is_refused() {
        let mut incoming = Incoming::default();
        let message = incoming
            .check(&part(MessageKind::RETURN, 0, 0), 3, LIMITS)
            .unwrap();
        let (received, total) = (0, 250);
        assert_eq!(
            incoming.add(&message),
            Err(ProtocolError::EmptyPart { received, total })
        );
        let empty = Header::new(MessageKind::RETURN, 3);
        let message = incoming.check(&empty, 3, LIMITS).unwrap();
        assert_eq!(incoming.add(&message), Ok(true));
    }
}
