//! Runs of the guest under a debugger.

use hv_core::{Operation, Vcpu, VcpuExit};
use sandbox_debug::{Resume, Stop};

use super::Engine;
use crate::backend::Backend;
use crate::call_slot::Phase;
use crate::crash::{Crash, Registers, UnexpectedExit};
use crate::crash_registers;
use crate::deadline;
use crate::debugger::Guest;
use crate::error::{BackendError, CallError};
use crate::status::{Cause, Status};

impl<B: Backend> Engine<B> {
    /// Runs the guest until it rings the doorbell, with stops for the debugger.
    #[cold]
    pub(super) fn enter_debugged(&mut self) -> Result<(), CallError> {
        /// `SIGSEGV`.
        const CRASH: Stop = Stop::Crashed(11);
        while self.debug.is_attached() {
            self.exits = self.exits.wrapping_add(1);
            let exit = match self.vcpu.run() {
                Ok(exit) => exit,
                Err(error) => return Err(self.run_failed(error)),
            };
            let (stop, exit) = match exit {
                VcpuExit::Doorbell(_) => return Ok(()),
                VcpuExit::Interrupted if self.slot.phase() != Phase::Running => return Err(self.cancelled()),
                VcpuExit::Interrupted => (Stop::Interrupted, None),
                VcpuExit::Debug(stop) => (Stop::Debug(stop), None),
                VcpuExit::Halt => (Stop::Halted, None),
                exit => (CRASH, Some(UnexpectedExit::from(exit))),
            };
            let resume = self.report(stop, None)?;
            match (exit, resume) {
                // Such a guest cannot go on, whatever the debugger wants.
                (Some(exit), _) => return Err(self.exited(exit)),
                (None, Resume::OwnHalt) => return Err(self.exited(UnexpectedExit::Halt)),
                (None, Resume::Killed) => return Err(CallError::Interrupted),
                (None, Resume::Run | Resume::Detached) => {}
            }
        }
        self.enter()
    }

    /// Lets the debugger see a crash that the guest reported. The call ends with it in any case.
    pub(super) fn report_crash(&mut self, crash: &Crash) {
        let stop = Stop::Crashed(crash_registers::signal(&crash.kind));
        // The error of the call is the crash.
        let _failed_debugger = self.report(stop, Some(&crash.registers));
    }

    /// Reports a stop to the debugger, and returns what it wants. Ends the session if it is over. Without a debugger, the guest runs.
    pub(crate) fn report(&mut self, stop: Stop, crash: Option<&Registers>) -> Result<Resume, BackendError> {
        let Some((debugger, written)) = self.debug.parts() else {
            return Ok(Resume::Run);
        };
        let since = deadline::now();
        deadline::suspend(&self.slot);
        let resume = debugger.stopped(
            stop,
            Guest {
                vcpu: &mut self.vcpu,
                memory: &self.memory,
                window: &self.window,
                image: &self.image,
                written,
                crash,
            },
        );
        if let Some(ends) = &mut self.ends {
            *ends = ends.saturating_add(deadline::now().saturating_sub(since));
            deadline::resume(&self.slot, *ends);
        }
        match resume {
            Ok(resume @ (Resume::Run | Resume::OwnHalt)) => Ok(resume),
            Ok(end) => self.end_debugging().map(|()| end),
            Err(error) => {
                // Without its copy of the code, no breakpoint is left.
                self.end_debugging()?;
                Err(BackendError::at(Operation::SetDebug)(error))
            }
        }
    }

    /// Closes the connection to the debugger, removes its breakpoints, and makes the code that of all sandboxes again.
    pub(crate) fn end_debugging(&mut self) -> Result<(), BackendError> {
        let Some(mut debugger) = self.debug.take_debugger() else {
            return Ok(());
        };
        let released = debugger
            .release(&mut self.vcpu)
            .map_err(BackendError::at(Operation::SetDebug));
        let joined = self.memory.join(&self.vm);
        if joined.is_err() {
            self.status = Status::Unrecoverable(Cause::Backend);
        }
        released.and(joined)
    }
}
