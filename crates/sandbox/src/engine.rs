//! A sandbox at work: messages to and from its guest.

#[cfg(feature = "debug")]
mod debug;
mod exits;
mod host_calls;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use hv_core::Vcpu;
use sandbox_abi::{GuestStatus, Header, Message, MessageError, MessageKind};

use crate::backend::Backend;
use crate::call_slot::CallSlot;
use crate::crash::Symbolizer;
use crate::deadline;
use crate::error::{CallError, FunctionError};
use crate::function::to_index;
use crate::host_function::Registered;
use crate::image::Image;
use crate::incoming::{Incoming, MessageLimits};
use crate::limits::Limits;
use crate::log::Log;
use crate::memory::Memory;
use crate::protocol_error::ProtocolError;
use crate::status::{Cause, Event, Status, next};
use crate::window::Window;

/// Largest capacity of a buffer that is kept for later calls, in bytes.
const MAX_SPARE: usize = 0x10_0000;

/// Largest length of the text of a guest's error in bytes.
const MAX_ERROR: usize = 0x1000;

/// Everything that one sandbox needs for calls.
pub(crate) struct Engine<B: Backend> {
    pub(crate) vcpu: B::Vcpu,
    pub(crate) vm: B::Vm,
    pub(crate) window: Window,
    pub(crate) memory: Memory,
    pub(crate) image: Arc<Image>,
    pub(crate) status: Status,
    /// Number of the last message to the guest.
    pub(crate) sequence: u64,
    pub(crate) slot: Arc<CallSlot>,
    pub(crate) log: Log,
    /// Host functions, in the order of the imports; none while it runs.
    handlers: Vec<Option<Registered>>,
    pub(crate) limits: Limits,
    /// Limits of messages.
    bounds: MessageLimits,
    /// Limit of the duration of the running call.
    limit: Option<Duration>,
    /// Deadline of the running call in nanoseconds of the monotonic clock.
    ends: Option<u64>,
    depth: u32,
    /// Why a call that a host function made failed, so that the guest cannot go on.
    nested: Option<Cause>,
    /// Messages that the guest may still send in this call.
    messages: u32,
    /// Number of the last call.
    call: u64,
    spare: Vec<Vec<u8>>,
    /// Number of exits since the creation.
    pub(crate) exits: u64,
    symbolizer: Option<Arc<dyn Symbolizer>>,
    #[cfg(feature = "debug")]
    pub(crate) debug: crate::debugger::DebugState<B>,
}

impl<B: Backend> fmt::Debug for Engine<B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Engine")
            .field("status", &self.status)
            .field("sequence", &self.sequence)
            .finish_non_exhaustive()
    }
}

/// What an [`Engine`] is made of.
pub(crate) struct Parts<B: Backend> {
    pub(crate) vcpu: B::Vcpu,
    pub(crate) vm: B::Vm,
    pub(crate) window: Window,
    pub(crate) memory: Memory,
    pub(crate) image: Arc<Image>,
    pub(crate) log: Log,
    pub(crate) handlers: Vec<Registered>,
    pub(crate) limits: Limits,
    pub(crate) symbolizer: Option<Arc<dyn Symbolizer>>,
}

impl<B: Backend> Engine<B> {
    /// A sandbox that has not been entered.
    pub(crate) fn new(parts: Parts<B>) -> Self {
        let slot = Arc::new(CallSlot::new(parts.vcpu.kicker()));
        let bounds = MessageLimits {
            // Windows have at most 1 MiB.
            capacity: u32::try_from(parts.window.capacity()).unwrap_or(u32::MAX),
            max_payload: parts.limits.max_payload,
        };
        Self {
            vcpu: parts.vcpu,
            vm: parts.vm,
            window: parts.window,
            memory: parts.memory,
            image: parts.image,
            status: Status::Ready,
            sequence: 0,
            slot,
            log: parts.log,
            handlers: parts.handlers.into_iter().map(Some).collect(),
            limits: parts.limits,
            bounds,
            limit: None,
            ends: None,
            depth: 0,
            nested: None,
            messages: 0,
            call: 0,
            spare: Vec::new(),
            exits: 0,
            symbolizer: parts.symbolizer,
            #[cfg(feature = "debug")]
            debug: crate::debugger::DebugState::default(),
        }
    }

    /// The default limit of the duration of a call.
    pub(crate) fn default_limit(&self) -> Option<Duration> {
        self.limits.deadline
    }

    /// An empty buffer.
    #[inline]
    pub(crate) fn buffer(&mut self) -> Vec<u8> {
        self.spare.pop().unwrap_or_default()
    }

    /// Keeps a buffer for later calls, unless it is large.
    #[inline]
    pub(crate) fn recycle(&mut self, mut buffer: Vec<u8>) {
        if buffer.capacity() <= MAX_SPARE {
            buffer.clear();
            self.spare.push(buffer);
        }
    }

    /// Runs the guest from its entry until it is ready for the first call.
    pub(crate) fn start(&mut self) -> Result<(), CallError> {
        self.guarded(self.limits.deadline, |engine| {
            // The guest may send log records before it is ready.
            let mut header = Header::new(MessageKind::CONTINUE, 0);
            header.log_budget.set(engine.log.left());
            let is_sent = engine.window.send(&header, &[]);
            debug_assert!(is_sent, "a window has room for a header");
            let message = engine.receive(Incoming::default())?;
            if message.kind == MessageKind::READY {
                Ok(())
            } else {
                Err(unexpected(&message))
            }
        })
    }

    /// Calls function `number` from outside. `buffer` has the encoded parameters, and receives the encoded result.
    pub(crate) fn call(
        &mut self,
        number: u32,
        limit: Option<Duration>,
        buffer: &mut Vec<u8>,
    ) -> Result<(), CallError> {
        self.guarded(limit, |engine| {
            let message = engine.send_call(number, buffer)?;
            engine.finish_call(number, message, buffer)
        })
    }

    /// As [`call`](Self::call), with parameters that are not in the buffer of the result.
    pub(crate) fn call_from(
        &mut self,
        number: u32,
        limit: Option<Duration>,
        parameters: &[u8],
        result: &mut Vec<u8>,
    ) -> Result<(), CallError> {
        self.guarded(limit, |engine| {
            let message = engine.send_call(number, parameters)?;
            engine.finish_call(number, message, result)
        })
    }

    /// Runs `enter`, which enters the guest, as one call from outside.
    #[inline]
    fn guarded(
        &mut self,
        limit: Option<Duration>,
        enter: impl FnOnce(&mut Self) -> Result<(), CallError>,
    ) -> Result<(), CallError> {
        if self.status != Status::Ready {
            return Err(CallError::NotReady(self.status));
        }
        self.status = next(self.status, Event::Entered);
        self.depth = 0;
        self.nested = None;
        self.messages = self.limits.max_messages;
        self.log.begin();
        self.limit = limit;
        self.call = self.call.wrapping_add(1);
        self.ends = deadline::begin(&self.slot, self.call, limit);
        let result = enter(self);
        self.slot.end();
        let event = match &result {
            Ok(()) => Event::Parked,
            Err(error) => error.poisons().map_or(Event::Parked, Event::Failed),
        };
        self.status = next(self.status, event);
        result
    }

    /// Sends a call, and returns the first message of the guest that concerns it.
    #[inline]
    fn send_call(&mut self, number: u32, parameters: &[u8]) -> Result<Message, CallError> {
        let header = Header::new(MessageKind::CALL, 0).with_function(number);
        self.send_payload(header, parameters)
    }

    /// Answers the guest's calls of host functions until function `number` returns.
    #[inline]
    fn finish_call(
        &mut self,
        number: u32,
        mut message: Message,
        result: &mut Vec<u8>,
    ) -> Result<(), CallError> {
        loop {
            if message.depth != self.depth {
                return Err(CallError::Protocol(ProtocolError::Depth {
                    found: message.depth,
                    expected: self.depth,
                }));
            }
            match message.kind {
                MessageKind::RETURN => {
                    self.receive_payload(message, result)?;
                    return match message.status {
                        GuestStatus::OK => Ok(()),
                        status => Err(Self::failed(number, status, result)),
                    };
                }
                MessageKind::HOST_CALL => message = self.host_call(message)?,
                _ => return Err(unexpected(&message)),
            }
        }
    }

    /// The error of a function that returned `status` and `payload`.
    #[cold]
    fn failed(number: u32, status: GuestStatus, payload: &[u8]) -> CallError {
        let error = || {
            let (code, message): (u32, &str) = postcard::from_bytes(payload).ok()?;
            let mut message = message.to_owned();
            message.truncate(message.floor_char_boundary(MAX_ERROR));
            Some(FunctionError { code, message })
        };
        let malformed = CallError::Protocol(ProtocolError::Error);
        match status {
            GuestStatus::ERROR => error().map_or(malformed, CallError::Guest),
            GuestStatus::BAD_PARAMETERS => error().map_or(malformed, CallError::BadParameters),
            GuestStatus::NO_MEMORY => CallError::NoMemory,
            GuestStatus::NO_FUNCTION => CallError::Protocol(ProtocolError::NoFunction { function: number }),
            status => CallError::Protocol(ProtocolError::Status {
                found: status.number(),
            }),
        }
    }

    /// Sends a message with a payload of any length, and returns the guest's answer to its last part.
    #[inline]
    fn send_payload(&mut self, header: Header, payload: &[u8]) -> Result<Message, CallError> {
        let (len, max) = (boot_core::arith::to_u64(payload.len()), self.limits.max_payload);
        if len > max {
            return Err(CallError::TooLarge { len, max });
        }
        if payload.len() <= self.window.capacity() {
            self.send(header, payload, None)?;
            self.receive(Incoming::default())
        } else {
            self.send_parts(header, payload)
        }
    }

    #[cold]
    fn send_parts(&mut self, mut header: Header, payload: &[u8]) -> Result<Message, CallError> {
        let total = boot_core::arith::to_u64(payload.len());
        let is_call = header.kind == MessageKind::CALL;
        let mut sent = 0;
        for part in payload.chunks(self.window.capacity().max(1)) {
            self.send(header, part, Some((sent, total)))?;
            let answer = self.receive(Incoming::default())?;
            sent = sent.saturating_add(boot_core::arith::to_u64(part.len()));
            // The callee may refuse before it has all parts.
            let is_refusal =
                is_call && answer.kind == MessageKind::RETURN && answer.status != GuestStatus::OK;
            if sent == total || is_refusal {
                return Ok(answer);
            }
            if answer.kind != MessageKind::CONTINUE {
                return Err(unexpected(&answer));
            }
            header = Header::new(MessageKind::MORE, 0);
        }
        // Not reached: the payload is not empty, and its last part returns.
        let max = self.bounds.capacity.into();
        Err(CallError::TooLarge { len: total, max })
    }

    /// Sends one message; `part` is the offset of the body in its payload and the length of the payload, if there are several parts.
    #[inline]
    fn send(&mut self, header: Header, body: &[u8], part: Option<(u64, u64)>) -> Result<(), CallError> {
        let capacity = self.bounds.capacity;
        let too_large = || CallError::TooLarge {
            len: boot_core::arith::to_u64(body.len()),
            max: capacity.into(),
        };
        let len = u32::try_from(body.len()).ok().ok_or_else(too_large)?;
        self.sequence = self.sequence.wrapping_add(1);
        let mut header = match part {
            None => header.with_body(len),
            Some((offset, total)) => header.with_part(len, offset, total),
        }
        .with_depth(self.depth);
        header.sequence.set(self.sequence);
        header.log_budget.set(self.log.left());
        if self.window.send(&header, body) {
            Ok(())
        } else {
            Err(too_large())
        }
    }

    /// Runs the guest until it sends a message that is not a log record.
    #[inline]
    fn receive(&mut self, incoming: Incoming) -> Result<Message, CallError> {
        loop {
            self.enter()?;
            let Some(messages) = self.messages.checked_sub(1) else {
                let max = self.limits.max_messages;
                return Err(CallError::Protocol(ProtocolError::TooManyMessages { max }));
            };
            self.messages = messages;
            let header = self.window.header();
            let message = incoming.check(&header, self.sequence, self.bounds)?;
            self.log.add_dropped(message.log_budget);
            match message.kind {
                MessageKind::LOG => self.log(&message)?,
                MessageKind::CRASH => return Err(self.crashed(&message)),
                _ => return Ok(message),
            }
        }
    }

    /// Receives the rest of a payload whose first part is `message`.
    #[inline]
    fn receive_payload(&mut self, message: Message, payload: &mut Vec<u8>) -> Result<(), CallError> {
        payload.clear();
        let mut incoming = Incoming::default();
        let mut part = message;
        loop {
            let is_last = incoming.add(&part)?;
            self.append_body(&part, payload)?;
            if is_last {
                return Ok(());
            }
            self.send(Header::new(MessageKind::CONTINUE, 0), &[], None)?;
            part = self.receive(incoming)?;
            if part.kind != MessageKind::MORE {
                return Err(unexpected(&part));
            }
        }
    }

    /// Appends the body of `message`, which is the last one.
    #[inline]
    fn append_body(&self, message: &Message, bytes: &mut Vec<u8>) -> Result<(), MessageError> {
        if self.window.append_body(to_index(message.len), bytes) {
            Ok(())
        } else {
            Err(MessageError::Length {
                found: message.len,
                max: self.bounds.capacity,
            })
        }
    }

    /// Passes log records on.
    #[cold]
    fn log(&mut self, message: &Message) -> Result<(), CallError> {
        self.check_single(message)?;
        let mut body = self.buffer();
        self.append_body(message, &mut body)?;
        self.log.receive(&body)?;
        self.recycle(body);
        self.send(Header::new(MessageKind::CONTINUE, 0), &[], None)
    }

    /// Checks that a message is the only part of its payload.
    fn check_single(&self, message: &Message) -> Result<(), MessageError> {
        if message.is_last(0) {
            Ok(())
        } else {
            Err(MessageError::Total {
                found: message.total,
                min: message.len.into(),
                max: self.bounds.capacity.into(),
            })
        }
    }
}

/// A message that the guest may not send now.
#[cold]
fn unexpected(message: &Message) -> CallError {
    MessageError::Kind { found: message.kind }.into()
}
