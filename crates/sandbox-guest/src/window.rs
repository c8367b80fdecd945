//! Messages in the window: headers, and payloads in one or more parts.
#![expect(unsafe_code, reason = "copies to memory that is not initialised")]

use core::cell::Cell;
use core::mem::{self, MaybeUninit};

use alloc::borrow::Cow;
use alloc::vec::Vec;
use sandbox_abi::{Expect, Header, Message, MessageFlags, MessageKind};

use crate::port::{Area, Port, ProtocolError, State};
use crate::reply::Body;

/// A port whose parts are at hand.
pub(crate) struct Window<'a> {
    port: &'a dyn Port,
    inbox: Area<'a>,
    outbox: Area<'a>,
    state: &'a State,
}

/// The heap has no memory for a payload of this length.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct NoMemory {
    pub(crate) total: u64,
}

impl<'a> Window<'a> {
    #[inline]
    pub(crate) fn new(port: &'a dyn Port) -> Self {
        Self {
            port,
            inbox: port.inbox(),
            outbox: port.outbox(),
            state: port.state(),
        }
    }

    #[inline]
    pub(crate) fn state(&self) -> &'a State {
        self.state
    }

    /// The outbox after the header.
    #[inline]
    pub(crate) fn body(&self) -> &'a [Cell<u8>] {
        self.outbox.body
    }

    #[inline]
    pub(crate) fn port(&self) -> &'a dyn Port {
        self.port
    }

    /// The header in the inbox.
    #[inline]
    pub(crate) fn header(&self) -> Header {
        self.inbox.header.get()
    }

    /// Sends the message with `header` as the answer to the last message. Its body is in the window. When it returns, the next message is in
    /// the inbox.
    #[inline]
    fn ring(&self, header: Header) {
        self.prepare(header);
        self.ring_prepared();
    }

    /// Sends the message that [`prepare`](Self::prepare) put into the outbox.
    #[inline]
    pub(crate) fn ring_prepared(&self) {
        self.port.ring();
        let Header { flags, kind, .. } = self.header();
        // `serve` does it for calls.
        if flags.contains(MessageFlags::FLUSH) && kind != MessageKind::CALL {
            self.port.flush_translations();
        }
    }

    /// Puts a message with `header` into the outbox as the answer to the last message. Its body is in the window.
    #[inline]
    pub(crate) fn prepare(&self, header: Header) {
        let mut header = header;
        header.sequence = self.header().sequence;
        header.depth.set(self.state.depth.get());
        header.log_budget.set(self.state.log_dropped.take());
        self.outbox.header.set(header);
        self.state.is_writing.set(false);
    }

    /// Sends the log records in the body of the outbox.
    #[inline]
    pub(crate) fn flush_log(&self) {
        if self.state.log_len.get() != 0 {
            self.send_log();
        }
    }

    #[cold]
    #[inline(never)]
    fn send_log(&self) {
        let len = self.state.log_len.take();
        self.state.log_records.set(0);
        self.ring(Header::new(MessageKind::LOG, 0).with_body(len));
        let found = self.header().kind;
        if found != MessageKind::CONTINUE {
            self.port.stop(ProtocolError::Kind { found });
        }
    }

    /// Sends a message with `payload`. When it returns, the next message is in the inbox.
    #[inline]
    pub(crate) fn send(&self, header: Header, payload: Body<'_>) {
        if self.send_start(header, payload) {
            self.ring_prepared();
        }
    }

    /// Sends a message with `payload` except for its last part, which it puts into the outbox. False if the host refused the rest: then its
    /// next message is in the inbox.
    #[inline]
    pub(crate) fn send_start(&self, header: Header, payload: Body<'_>) -> bool {
        match payload {
            Body::Window(len) => {
                self.prepare(header.with_body(len));
                true
            }
            Body::Bytes(bytes) => self.send_parts(header, bytes),
        }
    }

    #[inline(never)]
    fn send_parts(&self, header: Header, mut bytes: Cow<'_, [u8]>) -> bool {
        let body = self.body();
        let total = widen(bytes.len());
        let mut header = header;
        let mut sent = 0;
        loop {
            let rest = bytes.get(sent..).unwrap_or_default();
            let part = rest.get(..body.len()).unwrap_or(rest);
            copy_to(body, part);
            let part_len = part.len();
            header = header.with_part(narrow(part_len), widen(sent), total);
            sent += part_len;
            if sent == bytes.len() {
                // The host can take a snapshot when it has the message.
                drop(mem::take(&mut bytes));
                self.prepare(header);
                return true;
            }
            self.ring(header);
            // The host can refuse the rest by another message.
            if self.header().kind != MessageKind::CONTINUE {
                return false;
            }
            header = Header::new(MessageKind::MORE, 0);
        }
    }

    /// The message in the inbox, which is the first of a payload.
    #[inline]
    pub(crate) fn first(&self) -> Message {
        self.check(0, None)
    }

    #[inline]
    fn check(&self, received: u64, total: Option<u64>) -> Message {
        let header = self.header();
        let expect = Expect {
            sequence: header.sequence.get(),
            capacity: narrow(self.inbox.body.len()),
            max_total: self.port.max_payload(),
            received,
            total,
        };
        match header.check(&expect) {
            Ok(message) => message,
            Err(error) => self.port.stop(ProtocolError::Message(error)),
        }
    }

    /// The message in the inbox, which has to be the next part of a payload.
    fn next_part(&self, received: usize, total: u64) -> Message {
        let message = self.check(widen(received), Some(total));
        if message.kind != MessageKind::MORE {
            let found = message.kind;
            self.port.stop(ProtocolError::Kind { found });
        }
        message
    }

    /// Copies the body of `message` to the start of `to`, or none of it if there is no room.
    #[inline]
    pub(crate) fn read_body<'b>(&self, message: &Message, to: &'b mut [MaybeUninit<u8>]) -> Option<&'b [u8]> {
        let len = to_usize(message.len);
        let (from, to) = (self.inbox.body.get(..len)?, to.get_mut(..len)?);
        for (to, from) in to.iter_mut().zip(from) {
            to.write(from.get());
        }
        // SAFETY: all of them were written.
        Some(unsafe { to.assume_init_ref() })
    }

    /// Receives the payload whose first part is in the inbox, and asks for the parts that follow.
    #[inline(never)]
    pub(crate) fn receive(&self, first: &Message) -> Result<Vec<u8>, NoMemory> {
        let total = first.total;
        let len = to_usize(total);
        let mut bytes = Vec::new();
        if bytes.try_reserve_exact(len).is_err() {
            return Err(NoMemory { total });
        }
        let mut message = *first;
        loop {
            let received = bytes.len();
            let part = self.read_body(&message, bytes.spare_capacity_mut());
            let received = received + part.map_or(0, <[u8]>::len);
            // SAFETY: `read_body` wrote the bytes behind the last ones.
            unsafe { bytes.set_len(received) };
            if received >= len {
                return Ok(bytes);
            }
            self.ring(Header::new(MessageKind::CONTINUE, 0));
            message = self.next_part(received, total);
        }
    }

    /// Receives the payload whose first part is in the inbox, and forgets it: the host cannot be stopped in the middle of it.
    #[cold]
    pub(crate) fn discard(&self, first: &Message) {
        let mut received = to_usize(first.len);
        while received < to_usize(first.total) {
            self.ring(Header::new(MessageKind::CONTINUE, 0));
            received += to_usize(self.next_part(received, first.total).len);
        }
    }
}

/// Copies bytes to cells, as many as both have.
pub(crate) fn copy_to(cells: &[Cell<u8>], bytes: &[u8]) {
    for (cell, byte) in cells.iter().zip(bytes) {
        cell.set(*byte);
    }
}

/// Lengths of parts: they fit into a window, so into 32 bits.
pub(crate) fn narrow(len: usize) -> u32 {
    u32::try_from(len).unwrap_or(u32::MAX)
}

fn widen(len: usize) -> u64 {
    u64::try_from(len).unwrap_or(u64::MAX)
}

fn to_usize(len: impl TryInto<usize>) -> usize {
    len.try_into().unwrap_or(usize::MAX)
}
