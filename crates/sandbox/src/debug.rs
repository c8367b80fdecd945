//! gdb on a sandbox.

mod target;

use std::io;

use guest_ram::MappingError;
use hv_core::{DebugRequest, DebugVcpu, Operation, RegisterAccess, Vcpu};
use sandbox_debug::{GdbError, GdbSession, GdbStream, Resume, Stop};

use self::target::Target;
use crate::backend::Backend;
use crate::debugger::{Debugger, Guest};
use crate::error::BackendError;
use crate::memory::PrivateText;
use crate::sandbox::Sandbox;
use crate::status::{Cause, Status};

/// Why a debugger does not come or go.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DebugError {
    /// The sandbox is not ready. A poisoned one has a core dump (feature `core-dump`).
    #[error("no debugger is attached: the sandbox is {0}")]
    NotReady(Status),
    /// The sandbox has a debugger.
    #[error("no debugger is attached: the sandbox has one")]
    Attached,
    /// gdb asked for the end of the guest (`kill`) before it let it run.
    #[error("the debugger ended the session with `kill`")]
    Killed,
    /// The connection cannot be used, or its threads cannot be started.
    #[error("the connection to the debugger cannot be used")]
    Connection(#[source] io::Error),
    /// The host has no memory for a copy of the guest's code.
    #[error("the host cannot make a copy of the guest's code")]
    Memory(#[from] MappingError),
    /// The hypervisor failed. If the memory of the guest is incomplete afterwards, the sandbox is [unrecoverable](Status::Unrecoverable).
    #[error(transparent)]
    Backend(#[from] BackendError),
}

/// A connected gdb.
struct Gdb {
    session: GdbSession,
    text: PrivateText,
}

impl<B: Backend> Debugger<B> for Gdb
where
    B::Vcpu: RegisterAccess + DebugVcpu,
{
    fn stopped(&mut self, stop: Stop, mut guest: Guest<'_, B>) -> Result<Resume, GdbError> {
        let mut target = Target {
            guest: &mut guest,
            text: &self.text,
        };
        self.session.stopped(stop, &mut target)
    }

    fn release(&mut self, vcpu: &mut B::Vcpu) -> Result<(), B::Error> {
        vcpu.set_debug(&DebugRequest::default())
    }
}

impl<B: Backend> Sandbox<B> {
    /// Attaches the gdb at the other end of `stream`, a TCP connection or a Unix socket, and waits until it lets the guest run: in this time
    /// its user sets breakpoints. From then on, calls stop at breakpoints and watchpoints, at Ctrl-C and at crashes, and go on when gdb
    /// says so. Host functions are called as without a debugger; between two calls nothing runs, so gdb waits.
    ///
    /// - Deadlines stand still while the guest is stopped. An [`InterruptHandle`](crate::InterruptHandle) ends a stopped call as soon as gdb
    ///   lets it run.
    /// - After `detach`, or without its connection, breakpoints are removed and the call goes on. `kill` ends it with
    ///   [`CallError::Interrupted`](crate::CallError::Interrupted).
    /// - Breakpoints are in a copy of the code that only this sandbox has: no other sandbox, no snapshot and no clone has them. They stay over a
    ///   restore. What gdb writes to data is part of the next snapshot, and gone after a restore; what it writes to code is gone when it
    ///   detaches. Other memory cannot be written, and registers that gdb changes between two calls are no part of snapshots.
    /// - riscv64 has no watchpoints (`set can-use-hw-watchpoints 0` makes gdb step instead), and steps by breakpoints.
    ///
    /// gdb can read all that the guest can, and change it: attach only those who may do that. The guest stays in its sandbox.
    ///
    /// # Errors
    ///
    /// [`DebugError`].
    pub fn attach_debugger(&mut self, stream: impl Into<GdbStream>) -> Result<(), DebugError>
    where
        B::Vcpu: RegisterAccess + DebugVcpu,
    {
        let engine = &mut self.engine;
        if engine.status != Status::Ready {
            return Err(DebugError::NotReady(engine.status));
        }
        if engine.debug.is_attached() {
            return Err(DebugError::Attached);
        }
        let text = PrivateText::new(&engine.image)?;
        let (arch, kicker) = (engine.image.entry.arch(), engine.vcpu.kicker());
        let session = GdbSession::new(stream, arch, kicker).map_err(DebugError::Connection)?;
        engine.memory.split(&engine.vm, &text).inspect_err(|error| {
            if error.operation != Operation::UnmapRam {
                engine.status = Status::Unrecoverable(Cause::Backend);
            }
        })?;
        engine.debug.attach(Box::new(Gdb { session, text }));
        match engine.report(Stop::Attached, None)? {
            Resume::Killed => Err(DebugError::Killed),
            _ => Ok(()),
        }
    }

    /// Closes the connection to the debugger, removes its breakpoints, and gives the code back to all sandboxes. Does nothing without one.
    ///
    /// # Errors
    ///
    /// [`DebugError::Backend`].
    pub fn detach_debugger(&mut self) -> Result<(), DebugError> {
        Ok(self.engine.end_debugging()?)
    }

    /// Whether a debugger is attached. One that is gone is noticed in the next call.
    #[must_use]
    pub fn is_debugged(&self) -> bool {
        self.engine.debug.is_attached()
    }

    /// Counts what debuggers wrote as written pages. Returns whether there were any.
    pub(crate) fn add_debugger_writes(&mut self) -> bool {
        let written = self.engine.debug.take_written();
        let any = !written.is_empty();
        self.tracker.add_written(written);
        any
    }
}
