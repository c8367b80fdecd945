//! Runs of the guest, and the ways in which they end.

use std::error::Error;
use std::io;
use std::ops::ControlFlow;

use hv_core::{Fault, Operation, Vcpu, VcpuExit, run_inline};
use sandbox_abi::{Message, ScratchState, layout};

use super::Engine;
use crate::backend::Backend;
use crate::call_slot::Phase;
use crate::crash::{Crash, CrashKind, UnexpectedExit};
use crate::error::{BackendError, CallError};
use crate::unwind;

/// How a run of the guest ended.
enum Stop {
    Doorbell,
    Cancelled,
    Exit(UnexpectedExit),
}

/// `EFAULT`: the kernel has no memory for an access of the guest.
const EFAULT: u32 = 14;

/// Whether a source of `error` is [`EFAULT`].
fn is_bad_address(error: &BackendError) -> bool {
    let mut next: Option<&(dyn Error + 'static)> = Some(&*error.source);
    while let Some(error) = next {
        let number = error
            .downcast_ref::<io::Error>()
            .and_then(io::Error::raw_os_error);
        if number.is_some_and(|number| u32::try_from(number) == Ok(EFAULT)) {
            return true;
        }
        next = error.source();
    }
    false
}

impl<B: Backend> Engine<B> {
    /// Runs the guest until it rings the doorbell.
    #[inline]
    pub(super) fn enter(&mut self) -> Result<(), CallError> {
        #[cfg(feature = "debug")]
        if self.debug.is_attached() {
            return self.enter_debugged();
        }
        let (slot, exits) = (&self.slot, &mut self.exits);
        let stop = run_inline(&mut self.vcpu, |exit| {
            *exits = exits.wrapping_add(1);
            match exit {
                VcpuExit::Doorbell(_) => ControlFlow::Break(Stop::Doorbell),
                // A kick for an earlier call, or a signal of something else.
                VcpuExit::Interrupted if slot.phase() == Phase::Running => ControlFlow::Continue(()),
                VcpuExit::Interrupted => ControlFlow::Break(Stop::Cancelled),
                exit => ControlFlow::Break(Stop::Exit(exit.into())),
            }
        });
        match stop.map_err(|error| self.run_failed(error))? {
            Stop::Doorbell => Ok(()),
            Stop::Cancelled => Err(self.cancelled()),
            Stop::Exit(exit) => Err(self.exited(exit)),
        }
    }

    #[cold]
    pub(super) fn cancelled(&self) -> CallError {
        match (self.slot.phase(), self.limit) {
            (Phase::Expired, Some(limit)) => CallError::Deadline { limit },
            _ => CallError::Interrupted,
        }
    }

    /// The error of a run that failed.
    #[cold]
    pub(super) fn run_failed(&self, error: B::Error) -> CallError {
        let error = BackendError::at(Operation::Run)(error);
        let is_truncated = self.memory.mappings.count() != 0 && is_bad_address(&error);
        let truncated = is_truncated.then(|| self.memory.mappings.truncated(None));
        truncated
            .flatten()
            .map_or(CallError::Backend(error), CallError::FileTruncated)
    }

    /// The error of an access that the host could not make, if the reason is a mapped file that is too short.
    fn truncated(&self, exit: &UnexpectedExit) -> Option<CallError> {
        let address = match exit {
            UnexpectedExit::Fault(Fault::MemoryFault { address, .. }) => Some(*address),
            UnexpectedExit::Fault(Fault::InternalError { suberror, .. }) if *suberror == EFAULT => None,
            _ => return None,
        };
        let truncated = self.memory.mappings.truncated(address)?;
        Some(CallError::FileTruncated(truncated))
    }

    #[cold]
    pub(super) fn exited(&mut self, exit: UnexpectedExit) -> CallError {
        if let Some(error) = self.truncated(&exit) {
            return error;
        }
        // Some exits leave no registers; the report is then without them.
        let state = self.vcpu.state().ok();
        let crash = Crash::from_exit(exit, state.as_ref());
        CallError::Crashed(Box::new(self.complete(crash)))
    }

    #[cold]
    pub(super) fn crashed(&mut self, message: &Message) -> CallError {
        let mut body = Vec::new();
        let received = self
            .check_single(message)
            .and_then(|()| self.append_body(message, &mut body));
        if let Err(error) = received {
            return error.into();
        }
        match Crash::from_record(&body) {
            Ok(crash) => {
                let crash = self.complete(crash);
                #[cfg(feature = "debug")]
                self.report_crash(&crash);
                CallError::Crashed(Box::new(crash))
            }
            Err(error) => CallError::Protocol(error),
        }
    }

    /// Adds what the host finds out about a crash.
    fn complete(&self, mut crash: Crash) -> Crash {
        let areas = &self.image.areas;
        let address = crash.registers.fault_address;
        let is_exception = matches!(crash.kind, CrashKind::Exception { .. });
        if is_exception && areas.is_guard(address) {
            crash.kind = CrashKind::StackOverflow;
        }
        if crash.kind == (CrashKind::OutOfCopies { pages: 0 }) {
            let pages = areas.copies.len() / layout::PAGE;
            let pages = pages.saturating_sub(ScratchState::RESERVE);
            crash.kind = CrashKind::OutOfCopies { pages };
        }
        let word = |addr| {
            let mut bytes = [0; 8];
            let is_read = self.memory.read_as_guest(&self.image, addr, &mut bytes);
            is_read.then(|| u64::from_le_bytes(bytes))
        };
        crash.backtrace = unwind::backtrace(
            self.image.entry.arch(),
            &crash.registers,
            areas.image,
            areas.stack,
            word,
        );
        if let Some(symbolizer) = &self.symbolizer {
            symbolizer.symbolize(&mut crash.backtrace);
        }
        crash
    }
}
