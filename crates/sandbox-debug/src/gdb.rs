//! A stub for gdb.

mod registers;
mod remote;
mod stream;

use std::{
    io::{self, Read},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
        mpsc::{self, Receiver, Sender},
    },
    thread,
};

use boot_core::Arch;
use gdbstub::{common::Signal, stub::SingleThreadStopReason, target::ext::breakpoints::WatchKind};
use hv_core::{BreakOn, VcpuKicker};

use self::remote::{Command, Event};
pub use self::stream::GdbStream;
use crate::{
    debuggee::{Breakpoints, Debuggee, Reason},
    target::{DebugTarget, Resume, Stop, TargetError},
};

/// Error of a debugging session.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum GdbError {
    /// The guest's registers, memory or breakpoints could not be accessed.
    #[error("the debugged guest could not be accessed")]
    Target(#[source] TargetError),
}

/// A gdb that is connected to a guest.
///
/// The protocol runs on two threads of its own. The guest is only accessed in [`stopped`](Self::stopped), on the thread that runs its vCPU: call
/// it once before the first run, and whenever the vCPU exits with a debug exception, because it was kicked, or with a crash. Between two calls
/// of guest functions the guest does not run, so gdb waits.
#[derive(Debug)]
pub struct GdbSession {
    commands: Receiver<Command>,
    events: Sender<Event>,
    breakpoints: Breakpoints,
    state: Arc<State>,
    stream: GdbStream,
    /// How the session ended.
    end: Option<Resume>,
}

/// What the threads of a session share.
struct State {
    /// The user pressed Ctrl-C.
    is_interrupted: AtomicBool,
    kicker: Arc<dyn VcpuKicker>,
}

impl std::fmt::Debug for State {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("State")
            .field("is_interrupted", &self.is_interrupted)
            .finish_non_exhaustive()
    }
}

impl GdbSession {
    /// Starts a session with the gdb at the other end of `stream`, for a guest of `arch` whose vCPU has the handle `kicker`.
    ///
    /// # Errors
    ///
    /// The stream cannot be duplicated, or a thread cannot be created.
    pub fn new(stream: impl Into<GdbStream>, arch: Arch, kicker: Arc<dyn VcpuKicker>) -> io::Result<Self> {
        let stream = stream.into();
        let (to_guest, commands) = mpsc::channel();
        let (events, to_gdb) = mpsc::channel();
        let state = Arc::new(State {
            is_interrupted: AtomicBool::new(false),
            kicker,
        });
        let bytes = events.clone();
        let mut reader = stream.try_clone()?;
        thread::Builder::new().name("gdb-read".into()).spawn(move || {
            let mut buffer = [0; 4096];
            loop {
                let event = match reader.read(&mut buffer) {
                    Ok(0) => Event::Closed,
                    Ok(len) => Event::Data(buffer.get(..len).unwrap_or_default().to_vec()),
                    Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                    Err(_) => Event::Closed,
                };
                let is_last = matches!(event, Event::Closed);
                // Without a receiver the session has ended.
                if bytes.send(event).is_err() || is_last {
                    break;
                }
            }
        })?;
        let writer = stream.try_clone()?;
        let shared = Arc::clone(&state);
        thread::Builder::new().name("gdb-stub".into()).spawn(move || {
            let end = remote::serve(writer, arch, &to_gdb, &to_guest, &|| {
                shared.is_interrupted.store(true, Ordering::SeqCst);
                shared.kicker.kick();
            });
            // The guest may be running, and has to learn of the end.
            let _ = to_guest.send(Command::End(end));
            shared.kicker.kick();
        })?;
        Ok(Self {
            commands,
            events,
            breakpoints: Breakpoints::default(),
            state,
            stream,
            end: None,
        })
    }

    /// Whether gdb is connected.
    #[must_use]
    pub fn is_attached(&self) -> bool {
        self.end.is_none()
    }

    /// Reports a stop to gdb, and does what its user asks for until the guest is to run again.
    ///
    /// An interrupt that nobody asked for is not reported: the guest continues at once.
    ///
    /// # Errors
    ///
    /// [`GdbError::Target`] if a breakpoint cannot be removed or set. Other failures are reported to gdb.
    pub fn stopped(&mut self, stop: Stop, target: &mut dyn DebugTarget) -> Result<Resume, GdbError> {
        if let Some(end) = self.end {
            return Ok(end);
        }
        let mut debuggee = Debuggee {
            target,
            breakpoints: &mut self.breakpoints,
        };
        if stop == Stop::Halted && !debuggee.halted().map_err(GdbError::Target)? {
            return Ok(Resume::OwnHalt);
        }
        if let Some(reason) = reason(stop, &mut debuggee, &self.state).map_err(GdbError::Target)? {
            // Without a receiver the session has ended, and the command that follows is its end.
            let _ = self.events.send(Event::Stopped(reason));
        } else if stop == Stop::Interrupted {
            // Nobody asked for it, or the session has ended.
            match self.commands.try_recv() {
                Ok(Command::End(end)) => {
                    self.end = Some(end);
                    debuggee.detach().map_err(GdbError::Target)?;
                    return Ok(end);
                }
                _ => return Ok(Resume::Run),
            }
        }
        loop {
            let end = match self.commands.recv() {
                Ok(Command::Access(access)) => {
                    access(&mut debuggee);
                    continue;
                }
                Ok(Command::Resume { step }) => {
                    if debuggee.resume(step).is_ok() {
                        return Ok(Resume::Run);
                    }
                    // The instruction cannot be stepped, for example because it cannot be read.
                    debuggee.end_step().map_err(GdbError::Target)?;
                    let _ = self
                        .events
                        .send(Event::Stopped(SingleThreadStopReason::Signal(Signal::SIGILL)));
                    continue;
                }
                Ok(Command::End(end)) => end,
                Err(mpsc::RecvError) => Resume::Detached,
            };
            self.end = Some(end);
            debuggee.detach().map_err(GdbError::Target)?;
            return Ok(end);
        }
    }
}

/// Closes the connection, which ends the threads.
impl Drop for GdbSession {
    fn drop(&mut self) {
        self.stream.shutdown();
    }
}

/// What gdb is told about a stop; `None` for what is not reported.
fn reason(
    stop: Stop,
    debuggee: &mut Debuggee<'_>,
    state: &State,
) -> Result<Option<SingleThreadStopReason<u64>>, TargetError> {
    let reason = match stop {
        Stop::Attached => return Ok(None),
        Stop::Interrupted => {
            if !state.is_interrupted.load(Ordering::SeqCst) {
                return Ok(None);
            }
            debuggee.end_step()?;
            SingleThreadStopReason::Signal(Signal::SIGINT)
        }
        Stop::Halted => SingleThreadStopReason::SwBreak(()),
        Stop::Crashed(signal) => {
            debuggee.end_step()?;
            SingleThreadStopReason::Signal(Signal(signal))
        }
        Stop::Debug(stop) => match debuggee.stopped(stop)? {
            Reason::Step => SingleThreadStopReason::DoneStep,
            Reason::Software => SingleThreadStopReason::SwBreak(()),
            Reason::Hardware => SingleThreadStopReason::HwBreak(()),
            Reason::Watch { address, on } => SingleThreadStopReason::Watch {
                tid: (),
                kind: match on {
                    BreakOn::ReadWrite => WatchKind::ReadWrite,
                    BreakOn::Write | BreakOn::Execute => WatchKind::Write,
                },
                addr: address,
            },
            Reason::Other => SingleThreadStopReason::Signal(Signal::SIGTRAP),
        },
    };
    // The user has the stop that Ctrl-C asked for.
    state.is_interrupted.store(false, Ordering::SeqCst);
    Ok(Some(reason))
}
