//! Getting a vCPU thread out of `KVM_RUN` with a signal.
#![expect(unsafe_code, reason = "sends a signal to one particular thread")]

use std::{
    cell::Cell,
    io,
    sync::{Mutex, MutexGuard, OnceLock, PoisonError},
};

use hv_core::Interrupter;
use vmm_sys_util::signal::{SIGRTMIN, register_signal_handler, unblock_signal};

/// The signal that interrupts vCPU threads: the first real-time signal. A program that uses this harness must leave
/// it alone.
#[must_use]
pub fn kick_signal() -> libc::c_int {
    SIGRTMIN()
}

/// Does nothing: it is enough that the signal is delivered, because `KVM_RUN` then returns `EINTR`.
extern "C" fn ignore(_: libc::c_int, _: *mut libc::siginfo_t, _: *mut libc::c_void) {}

/// Installs the handler of [`kick_signal`], once per process.
///
/// # Errors
///
/// The host's error when it refuses `sigaction`.
pub fn install_kick_handler() -> io::Result<()> {
    static INSTALLED: OnceLock<Result<(), i32>> = OnceLock::new();
    INSTALLED
        .get_or_init(|| {
            register_signal_handler(kick_signal(), ignore).map_err(vmm_sys_util::errno::Error::errno)
        })
        .map_err(io::Error::from_raw_os_error)
}

/// Who is inside `KVM_RUN`, and who wants them out.
#[derive(Debug)]
pub struct Kicker(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    /// The thread that is inside `KVM_RUN`, or about to be.
    thread: Option<libc::pthread_t>,
    /// Somebody asked for it to leave.
    requested: bool,
}

impl Kicker {
    /// The kicker of one vCPU. The signal has its handler from then on.
    ///
    /// # Errors
    ///
    /// As [`install_kick_handler`].
    pub fn new() -> io::Result<Self> {
        install_kick_handler()?;
        Ok(Self(Mutex::default()))
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // Nothing in this module panics while it holds the lock.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Calls `enter`, which enters `KVM_RUN`, with the calling thread as the one to interrupt; `None` without calling it
    /// if the vCPU has been asked to leave already, which is answered by that.
    pub fn run<R>(&self, enter: impl FnOnce() -> R) -> Option<R> {
        accept_signal();
        let mut state = self.lock();
        if std::mem::take(&mut state.requested) {
            return None;
        }
        // SAFETY: pthread_self has no preconditions.
        state.thread = Some(unsafe { libc::pthread_self() });
        drop(state);
        // Taken back even if `enter` panics.
        let _entered = Entered(self);
        Some(enter())
    }

    /// Notes that the thread left because it was asked to.
    pub fn answered(&self) {
        self.lock().requested = false;
    }
}

/// A thread is registered as inside `KVM_RUN` until this is dropped.
struct Entered<'a>(&'a Kicker);

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
            // SAFETY: a thread is in `state.thread` only while it is inside `Kicker::run`, which takes it out under the
            // lock held here. So this thread is alive, and its id belongs to nobody else. The signal has a handler:
            // a `Kicker` exists only after it was installed.
            unsafe { libc::pthread_kill(thread, kick_signal()) };
        }
    }
}

/// Unblocks the signal, once per thread: a thread inherits its mask from whoever started it, and with the signal
/// blocked it could never be interrupted.
fn accept_signal() {
    thread_local!(static ACCEPTED: Cell<bool> = const { Cell::new(false) });
    if !ACCEPTED.replace(true) {
        // It can fail for an invalid signal number only, which installing the handler would have refused.
        let _ = unblock_signal(kick_signal());
    }
}

#[cfg(test)]
mod tests {
    use std::{
        sync::atomic::{AtomicBool, Ordering},
        thread,
    };

    use super::*;

    #[test]
    fn a_request_from_before_is_answered_without_entering() {
        let kicker = Kicker::new().unwrap();
        kicker.interrupt();
        assert_eq!(kicker.run(|| ()), None);
        assert_eq!(kicker.run(|| 7), Some(7));
        kicker.interrupt();
        kicker.answered();
        assert_eq!(kicker.run(|| 8), Some(8));
    }

    /// A system call that only a signal ends, as `KVM_RUN` of a guest that loops, ends when its thread is kicked.
    #[test]
    fn a_blocked_thread_is_interrupted() {
        let kicker = Kicker::new().unwrap();
        let inside = AtomicBool::new(false);
        thread::scope(|scope| {
            let blocked = scope.spawn(|| {
                kicker.run(|| {
                    inside.store(true, Ordering::Release);
                    // SAFETY: pause has no preconditions.
                    let result = unsafe { libc::pause() };
                    (result, io::Error::last_os_error().raw_os_error())
                })
            });
            while !inside.load(Ordering::Acquire) {
                thread::yield_now();
            }
            // Again and again: the first request may come just before the thread blocks.
            while !blocked.is_finished() {
                kicker.interrupt();
                thread::yield_now();
            }
            assert_eq!(blocked.join().unwrap(), Some((-1, Some(libc::EINTR))));
        });
    }

    #[test]
    fn a_panic_leaves_nobody_registered() {
        let kicker = Kicker::new().unwrap();
        let panicked = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            kicker.run(|| panic!("on purpose"));
        }));
        assert!(panicked.is_err());
        assert_eq!(kicker.lock().thread, None);
    }
}
