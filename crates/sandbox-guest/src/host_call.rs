//! Calls of host functions.

use core::mem::MaybeUninit;

use alloc::borrow::Cow;
use alloc::string::String;
use alloc::vec::Vec;

use sandbox_abi::{GuestStatus, Header, Message, MessageKind};
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::decode::decode;
use crate::encode::{encode, encode_bytes};
use crate::error::HostError;
use crate::port::{Port, ProtocolError};
use crate::reply::Body;
use crate::window::{NoMemory, Window};

/// Longest result in bytes that is received on the stack.
const SHORT: usize = 1024;

/// Calls host function number `function` with a tuple of parameters. While the host executes it, it can call guest functions.
///
/// # Errors
///
/// [`HostError`].
pub fn call_host<T: DeserializeOwned>(
    port: &dyn Port,
    function: u32,
    parameters: &impl Serialize,
) -> Result<T, HostError> {
    let window = Window::new(port);
    let body = encode(&window, parameters).map_err(HostError::Encode)?;
    let message = exchange(&window, function, body);
    let mut short = [MaybeUninit::uninit(); SHORT];
    if message.status == GuestStatus::OK
        && u64::from(message.len) == message.total
        && let Some(bytes) = window.read_body(&message, &mut short)
    {
        return decode(bytes).map_err(HostError::Decode);
    }
    decode(&result(&window, &message)?).map_err(HostError::Decode)
}

/// Calls host function number `function` with bytes. While the host executes it, it can call guest functions.
///
/// # Errors
///
/// [`HostError`].
pub fn call_host_bytes(port: &dyn Port, function: u32, bytes: &[u8]) -> Result<Vec<u8>, HostError> {
    let window = Window::new(port);
    let body = encode_bytes(&window, Cow::Borrowed(bytes)).map_err(HostError::Encode)?;
    let message = exchange(&window, function, body);
    result(&window, &message)
}

/// Sends the call, executes the calls of the host meanwhile, and returns its reply.
fn exchange(window: &Window<'_>, function: u32, body: Body<'_>) -> Message {
    let header = Header::new(MessageKind::HOST_CALL, 0).with_function(function);
    window.send(header, body);
    loop {
        let message = window.first();
        match message.kind {
            MessageKind::HOST_REPLY => return message,
            MessageKind::CALL => {
                if window.port().serve() {
                    window.ring_prepared();
                }
            }
            found => window.port().stop(ProtocolError::Kind { found }),
        }
    }
}

/// Receives the payload of a reply.
fn result(window: &Window<'_>, message: &Message) -> Result<Vec<u8>, HostError> {
    let status = message.status;
    match status {
        GuestStatus::NO_FUNCTION => return Err(HostError::NoFunction),
        GuestStatus::NO_MEMORY => return Err(HostError::Refused),
        _ => {}
    }
    let bytes = match window.receive(message) {
        Ok(bytes) => bytes,
        Err(NoMemory { total }) => {
            window.discard(message);
            return Err(HostError::NoMemory { total });
        }
    };
    match status {
        GuestStatus::OK => Ok(bytes),
        GuestStatus::ERROR | GuestStatus::BAD_PARAMETERS => {
            let (code, message): (u32, String) = decode(&bytes).map_err(HostError::Decode)?;
            Err(if status == GuestStatus::ERROR {
                HostError::Function { code, message }
            } else {
                HostError::BadParameters { message }
            })
        }
        _ => Err(HostError::Status {
            found: status.number(),
        }),
    }
}
