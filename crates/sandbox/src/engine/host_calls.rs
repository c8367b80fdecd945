//! Calls of host functions by the guest, and calls of the guest by them.

use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::time::Duration;

use sandbox_abi::{GuestStatus, Header, Message, MessageKind};

use super::Engine;
use crate::backend::Backend;
use crate::deadline;
use crate::encode;
use crate::error::{CallError, FunctionError, HostError};
use crate::function::{Exports, to_index};
use crate::host_function::{HostCall, Reenter};

/// Largest number of calls of the guest by host functions that have not ended.
const MAX_DEPTH: u32 = 8;

impl<B: Backend> Engine<B> {
    /// Executes a host function, and returns the guest's answer to its result.
    pub(super) fn host_call(&mut self, message: Message) -> Result<Message, CallError> {
        let number = message.function;
        let mut parameters = self.buffer();
        self.receive_payload(message, &mut parameters)?;
        let mut result = self.buffer();
        let status = self.handle(number, &parameters, &mut result)?;
        let header = Header::new(MessageKind::HOST_REPLY, 0).with_status(status);
        let answer = self.send_payload(header, &result);
        self.recycle(parameters);
        self.recycle(result);
        answer
    }

    /// Calls the handler of host function `number`. Returns the status for the guest; `result` has the payload.
    fn handle(
        &mut self,
        number: u32,
        parameters: &[u8],
        result: &mut Vec<u8>,
    ) -> Result<GuestStatus, CallError> {
        let Some(handler) = self.handlers.get_mut(to_index(number)) else {
            return Ok(GuestStatus::NO_FUNCTION);
        };
        // While a handler runs, it is not in the table: one that calls the guest may be called again, and has only one state.
        let Some(mut registered) = handler.take() else {
            error_payload(
                &FunctionError::new(HostError::CODE, "the host function is running"),
                result,
            );
            return Ok(GuestStatus::ERROR);
        };
        let mut call = HostCall::new(self);
        let returned = catch_unwind(AssertUnwindSafe(|| {
            registered.handler.call(&mut call, parameters, result)
        }));
        if let Some(handler) = self.handlers.get_mut(to_index(number)) {
            *handler = Some(registered);
        }
        let returned = returned.unwrap_or_else(|panic| {
            // The sandbox stays poisoned, as it is during each call.
            self.slot.end();
            resume_unwind(panic)
        });
        match (returned, self.nested) {
            (Err(HostError::Call(error)), Some(_)) if error.poisons().is_some() => Err(*error),
            (_, Some(cause)) => Err(CallError::Nested(cause)),
            (Ok(()), None) => {
                let (len, max) = (boot_core::arith::to_u64(result.len()), self.limits.max_payload);
                if len <= max {
                    return Ok(GuestStatus::OK);
                }
                let text = format!("the result has {len} bytes, more than the limit of {max}");
                error_payload(&FunctionError::new(HostError::CODE, text), result);
                Ok(GuestStatus::ERROR)
            }
            (Err(HostError::Function(error)), None) => {
                error_payload(&error, result);
                Ok(GuestStatus::ERROR)
            }
            (Err(HostError::Call(error)), None) => {
                error_payload(&FunctionError::new(HostError::CODE, error.to_string()), result);
                Ok(GuestStatus::ERROR)
            }
        }
    }
}

impl<B: Backend> Reenter for Engine<B> {
    fn exports(&self) -> &Exports {
        &self.image.exports
    }

    fn reenter(&mut self, number: u32, parameters: &[u8], result: &mut Vec<u8>) -> Result<(), CallError> {
        if let Some(cause) = self.nested {
            return Err(CallError::Nested(cause));
        }
        if self.depth >= MAX_DEPTH {
            return Err(CallError::TooDeep { max: MAX_DEPTH });
        }
        self.depth = self.depth.saturating_add(1);
        let returned = self
            .send_call(number, parameters)
            .and_then(|message| self.finish_call(number, message, result));
        self.depth = self.depth.saturating_sub(1);
        if let Err(error) = &returned {
            self.nested = self.nested.or(error.poisons());
        }
        returned
    }

    fn remaining(&self) -> Option<Duration> {
        let ends = self.ends?;
        Some(Duration::from_nanos(ends.saturating_sub(deadline::now())))
    }
}

/// Makes `payload` the encoding of an error.
fn error_payload(error: &FunctionError, payload: &mut Vec<u8>) {
    payload.clear();
    // A number and a text are always encodable.
    let _always_ok = encode::to(&(error.code, &error.message), payload);
}
