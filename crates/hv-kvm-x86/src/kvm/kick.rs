//! Getting a vCPU thread out of `KVM_RUN` with a signal.
#![expect(unsafe_code, reason = "sends a signal to one particular thread")]

use std::{
    cell::Cell,
    io,
    sync::{Mutex, MutexGuard, OnceLock, PoisonError},
};

use hv_core::Interrupter;
use vmm_sys_util::signal::{SIGRTMIN, register_signal_handler, unblock_signal};

use crate::KvmError;

/// The signal that interrupts vCPU threads: the first real-time signal. A program that uses this harness must leave
/// it alone.
#[must_use]
pub fn kick_signal() -> libc::c_int {
    SIGRTMIN()
}

/// Does nothing: it is enough that the signal is delivered, because `KVM_RUN` then returns `EINTR`.
extern "C" fn ignore(_: libc::c_int, _: *mut libc::siginfo_t, _: *mut libc::c_void) {}

/// Installs the handler, once per process.
pub(crate) fn install() -> Result<(), KvmError> {
    static INSTALLED: OnceLock<Result<(), i32>> = OnceLock::new();
    INSTALLED
        .get_or_init(|| register_signal_handler(kick_signal(), ignore).map_err(kvm_ioctls::Error::errno))
        .map_err(|errno| KvmError::Request {
            request: "sigaction",
            source: io::Error::from_raw_os_error(errno),
        })
}

/// Who is inside `KVM_RUN`, and who wants them out.
#[derive(Debug, Default)]
pub(crate) struct Kicker(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    /// The thread that is inside `KVM_RUN`, or about to be.
    thread: Option<libc::pthread_t>,
    /// Somebody asked for it to leave.
    requested: bool,
}

impl Kicker {
    fn lock(&self) -> MutexGuard<'_, State> {
        // Nothing in this module panics while it holds the lock.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Registers the calling thread; `None` if it has been asked to leave already, which is answered by that.
    pub(crate) fn enter(&self) -> Option<Entered<'_>> {
        accept_signal();
        let mut state = self.lock();
        if std::mem::take(&mut state.requested) {
            return None;
        }
        // SAFETY: pthread_self has no preconditions.
        state.thread = Some(unsafe { libc::pthread_self() });
        Some(Entered(self))
    }

    /// Notes that the thread left because it was asked to.
    pub(crate) fn answered(&self) {
        self.lock().requested = false;
    }
}

/// A thread is registered as inside `KVM_RUN` until this is dropped.
pub(crate) struct Entered<'a>(&'a Kicker);

impl Drop for Entered<'_> {
    fn drop(&mut self) {
        self.0.lock().thread = None;
    }
}

impl Interrupter for Kicker {
    fn interrupt(&self) {
        let mut state = self.lock();
        state.requested = true;
        if let Some(thread) = state.thread {
            // SAFETY: a thread takes itself out of `state.thread` before it leaves `KvmVcpu::run`, under the lock held
            // here. So this thread is alive, and its id belongs to nobody else. The signal has a handler: a vCPU
            // exists only after `install` succeeded.
            unsafe { libc::pthread_kill(thread, kick_signal()) };
        }
    }
}

/// Unblocks the signal, once per thread: a thread inherits its mask from whoever started it, and with the signal
/// blocked it could never be interrupted.
fn accept_signal() {
    thread_local!(static ACCEPTED: Cell<bool> = const { Cell::new(false) });
    if !ACCEPTED.replace(true) {
        // It can fail for an invalid signal number only, which `install` would have refused.
        let _ = unblock_signal(kick_signal());
    }
}
