//! Messages in the window: headers, and payloads in one or more parts.

use core::cell::Cell;
use core::mem;

use alloc::vec::Vec;
use sandbox_abi::{Expect, Header, Message, MessageFlags, MessageKind};
use zerocopy::IntoBytes as _;

use crate::port::{Port, ProtocolError, State};
use crate::reply::Body;

/// A port whose parts are at hand.
pub(crate) struct Window<'a> {
    port: &'a dyn Port,
    inbox: &'a [Cell<u8>],
    outbox: &'a [Cell<u8>],
    state: &'a State,
}

/// The heap has no memory for a payload of this length.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct NoMemory {
    pub(crate) total: u64,
}

impl<'a> Window<'a> {
    pub(crate) fn new(port: &'a dyn Port) -> Self {
        Self {
            port,
            inbox: port.inbox(),
            outbox: port.outbox(),
            state: port.state(),
        }
    }

    pub(crate) fn state(&self) -> &'a State {
        self.state
    }

    /// The outbox after the header.
    pub(crate) fn body(&self) -> &'a [Cell<u8>] {
        self.outbox.get(Header::LEN..).unwrap_or_default()
    }

    pub(crate) fn port(&self) -> &'a dyn Port {
        self.port
    }

    /// The header in the inbox.
    pub(crate) fn header(&self) -> Header {
        let mut bytes = [0; Header::LEN];
        copy_from(self.inbox, &mut bytes);
        zerocopy::transmute!(bytes)
    }

    /// Sends the message with `header` as the answer to the last message. Pending log records are sent first.
    ///
    /// The body has been written to the window. When it returns, the next message is in the inbox.
    fn ring(&self, header: Header) {
        let mut header = header;
        header.sequence = self.header().sequence;
        header.depth.set(self.state.depth.get());
        header.log_budget.set(self.state.log_dropped.take());
        copy_to(self.outbox, header.as_bytes());
        self.port.ring();
        if self.header().flags.contains(MessageFlags::FLUSH) {
            self.port.flush_translations();
        }
    }

    /// Sends the log records in the body of the outbox.
    pub(crate) fn flush_log(&self) {
        let len = self.state.log_len.get();
        if len == 0 {
            return;
        }
        self.state.log_len.set(0);
        self.state.log_records.set(0);
        self.ring(Header::new(MessageKind::LOG, 0).with_body(len));
        let answer = self.header().kind;
        if answer != MessageKind::CONTINUE {
            self.port.stop(ProtocolError::Kind { found: answer });
        }
    }

    /// Sends a message with `payload`. When it returns, the next message is in the inbox.
    pub(crate) fn send(&self, header: Header, payload: Body) {
        match payload {
            Body::Window(len) => self.ring(header.with_body(len)),
            Body::Heap(bytes) => self.send_parts(header, bytes),
        }
    }

    #[inline(never)]
    fn send_parts(&self, header: Header, mut bytes: Vec<u8>) {
        self.flush_log();
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
            let is_last = sent == bytes.len();
            if is_last {
                // The host can take a snapshot now.
                drop(mem::take(&mut bytes));
            }
            self.ring(header);
            // The host can refuse the rest by another message.
            if is_last || self.header().kind != MessageKind::CONTINUE {
                return;
            }
            header = Header::new(MessageKind::MORE, 0);
        }
    }

    /// The message in the inbox, which is the first of a payload.
    pub(crate) fn first(&self) -> Message {
        self.check(0, None)
    }

    fn check(&self, received: u64, total: Option<u64>) -> Message {
        let header = self.header();
        let expect = Expect {
            sequence: header.sequence.get(),
            capacity: narrow(self.inbox.len().saturating_sub(Header::LEN)),
            max_total: self.port.max_payload(),
            received,
            total,
        };
        match header.check(&expect) {
            Ok(message) => message,
            Err(error) => self.port.stop(ProtocolError::Message(error)),
        }
    }

    /// Copies the body of a message in one part.
    pub(crate) fn read_body(&self, bytes: &mut [u8]) {
        let body = self.inbox.get(Header::LEN..).unwrap_or_default();
        copy_from(body, bytes);
    }

    /// Receives the payload whose first part is in the inbox, and asks for the parts that follow.
    #[inline(never)]
    pub(crate) fn receive(&self, first: &Message) -> Result<Vec<u8>, NoMemory> {
        let total = first.total;
        let len = usize::try_from(total).unwrap_or(usize::MAX);
        let mut bytes = Vec::new();
        if bytes.try_reserve_exact(len).is_err() {
            return Err(NoMemory { total });
        }
        let mut message = *first;
        loop {
            let start = bytes.len();
            bytes.resize(start + to_usize(message.len), 0);
            if let Some(part) = bytes.get_mut(start..) {
                self.read_body(part);
            }
            if bytes.len() >= len {
                return Ok(bytes);
            }
            self.ring(Header::new(MessageKind::CONTINUE, 0));
            message = self.check(widen(bytes.len()), Some(total));
            if message.kind != MessageKind::MORE {
                let found = message.kind;
                self.port.stop(ProtocolError::Kind { found });
            }
        }
    }
}

/// Copies cells to bytes, as many as both have.
fn copy_from(cells: &[Cell<u8>], bytes: &mut [u8]) {
    for (byte, cell) in bytes.iter_mut().zip(cells) {
        *byte = cell.get();
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

fn to_usize(len: u32) -> usize {
    usize::try_from(len).unwrap_or(usize::MAX)
}
