//! Calls of the host.

use core::mem::MaybeUninit;

use sandbox_abi::{GuestStatus, Header, Message, MessageFlags, MessageKind};

use crate::call::Call;
use crate::function::Export;
use crate::port::{MAX_DEPTH, Port, ProtocolError};
use crate::reply::Reply;
use crate::window::Window;

/// Longest payload in bytes that is received on the stack.
const SHORT: usize = 1024;

/// Executes the call in the inbox by one of `exports`, and puts its result into the outbox, for the caller to [ring](Port::ring). Of a
/// result in several parts, that is the last one.
///
/// The message has to be a call; [`Port::stop`] is called for any other one. False if the host refused the result: then its next message is
/// in the inbox.
pub fn serve(port: &dyn Port, exports: &[Export]) -> bool {
    let window = Window::new(port);
    if window.header().flags.contains(MessageFlags::FLUSH) {
        port.flush_translations();
    }
    let message = window.first();
    if message.kind != MessageKind::CALL {
        let found = message.kind;
        port.stop(ProtocolError::Kind { found });
    }
    if message.depth > MAX_DEPTH {
        let found = message.depth;
        port.stop(ProtocolError::Depth { found });
    }
    let outer = window.state().depth.replace(message.depth);
    let reply = match position(message.function).and_then(|at| exports.get(at)) {
        Some(export) if message.total == 0 => export.call(&mut Call::short(&window, &[])),
        Some(export) => with_parameters(&window, &message, export),
        None => Reply::empty(GuestStatus::NO_FUNCTION),
    };
    let header = Header::new(MessageKind::RETURN, 0).with_status(reply.status);
    let is_ready = window.send_start(header, reply.body);
    window.state().depth.set(outer);
    is_ready
}

fn position(function: u32) -> Option<usize> {
    usize::try_from(function).ok()
}

#[inline(never)]
fn with_parameters(window: &Window<'_>, message: &Message, export: &Export) -> Reply {
    let mut short = [MaybeUninit::uninit(); SHORT];
    if u64::from(message.len) == message.total
        && let Some(bytes) = window.read_body(message, &mut short)
    {
        return export.call(&mut Call::short(window, bytes));
    }
    with_long_parameters(window, message, export)
}

#[inline(never)]
fn with_long_parameters(window: &Window<'_>, message: &Message, export: &Export) -> Reply {
    match window.receive(message) {
        Ok(bytes) => export.call(&mut Call::long(window, bytes)),
        Err(_) => Reply::empty(GuestStatus::NO_MEMORY),
    }
}
