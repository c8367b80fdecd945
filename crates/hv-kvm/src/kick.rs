//! Interruption of `KVM_RUN` with a signal.
#![expect(unsafe_code, reason = "sends a signal to one particular thread")]

use std::{
    cell::Cell,
    io,
    sync::{Mutex, MutexGuard, OnceLock, PoisonError},
    time::{Duration, Instant},
};

use hv_core::VcpuKicker;
use vmm_sys_util::signal::{SIGRTMIN, register_signal_handler, unblock_signal};

/// Minimum time between two signals to a thread. Real-time signals are queued, so a thread that receives them faster than it
/// handles them executes nothing else.
const SIGNAL_INTERVAL: Duration = Duration::from_micros(500);

/// Signal that interrupts vCPU threads: the first real-time signal. A program that uses the harness must not use this signal.
#[must_use]
pub fn kick_signal() -> libc::c_int {
    SIGRTMIN()
}

/// Empty: delivery of the signal makes `KVM_RUN` return `EINTR`.
extern "C" fn ignore(_: libc::c_int, _: *mut libc::siginfo_t, _: *mut libc::c_void) {}

/// Installs the handler of [`kick_signal`], once per process. [`SignalKicker::new`] calls this.
///
/// # Errors
///
/// Errors of `sigaction`.
pub fn install_kick_handler() -> io::Result<()> {
    static INSTALLED: OnceLock<Result<(), i32>> = OnceLock::new();
    INSTALLED
        .get_or_init(|| {
            register_signal_handler(kick_signal(), ignore).map_err(vmm_sys_util::errno::Error::errno)
        })
        .map_err(io::Error::from_raw_os_error)
}

/// [`VcpuKicker`] of one vCPU: interrupts `KVM_RUN` with a signal to the vCPU's thread.
#[derive(Debug)]
pub struct SignalKicker(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    /// The thread that is inside `KVM_RUN` or about to enter it.
    thread: Option<libc::pthread_t>,
    /// A kick was requested and not acknowledged yet.
    requested: bool,
    /// Time of the last signal since `thread` was set.
    signalled: Option<Instant>,
}

impl SignalKicker {
    /// A kicker for one vCPU. Installs the handler of the signal.
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

    /// Calls `enter`, which enters `KVM_RUN`. Kicks interrupt the calling thread meanwhile.
    ///
    /// If a kick is pending, clears it and returns `None` without a call of `enter`.
    pub fn run<R>(&self, enter: impl FnOnce() -> R) -> Option<R> {
        accept_signal();
        let mut state = self.lock();
        if std::mem::take(&mut state.requested) {
            return None;
        }
        // SAFETY: pthread_self has no preconditions.
        state.thread = Some(unsafe { libc::pthread_self() });
        state.signalled = None;
        drop(state);
        // Unregisters the thread also if `enter` panics.
        let _entered = Entered(self);
        Some(enter())
    }

    /// Clears a pending kick. Call it after a kick has interrupted `KVM_RUN`; otherwise the next [`run`](Self::run) returns
    /// `None`.
    pub fn acknowledge(&self) {
        self.lock().requested = false;
    }
}

/// Registration of a thread as inside `KVM_RUN`, until dropped.
struct Entered<'a>(&'a SignalKicker);

impl Drop for Entered<'_> {
    fn drop(&mut self) {
        self.0.lock().thread = None;
    }
}

impl VcpuKicker for SignalKicker {
    fn kick(&self) {
        let mut state = self.lock();
        state.requested = true;
        let is_recent = |time: Instant| time.elapsed() < SIGNAL_INTERVAL;
        if let Some(thread) = state.thread
            && !state.signalled.is_some_and(is_recent)
        {
            state.signalled = Some(Instant::now());
            // SAFETY: `state.thread` is set only while that thread is inside `SignalKicker::run`, which clears it under the
            // lock held here. So the thread is alive and its id is valid. The signal has a handler: a `SignalKicker` exists
            // only after the handler was installed.
            unsafe { libc::pthread_kill(thread, kick_signal()) };
        }
    }
}

/// Unblocks the signal, once per thread: a thread inherits its signal mask from its parent, and a blocked signal does not
/// interrupt `KVM_RUN`.
fn accept_signal() {
    thread_local!(static ACCEPTED: Cell<bool> = const { Cell::new(false) });
    if !ACCEPTED.replace(true) {
        // Fails only for an invalid signal number, for which the installation of the handler has failed before.
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
    fn a_pending_kick_prevents_the_entry() {
        let kicker = SignalKicker::new().unwrap();
        kicker.kick();
        assert_eq!(kicker.run(|| ()), None);
        assert_eq!(kicker.run(|| 7), Some(7));
        kicker.kick();
        kicker.acknowledge();
        assert_eq!(kicker.run(|| 8), Some(8));
    }

    /// A kick ends a system call that only a signal can end, such as `KVM_RUN` of a guest that loops.
    #[test]
    fn a_blocked_thread_is_interrupted() {
        let kicker = SignalKicker::new().unwrap();
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
            // Repeated, because a kick can arrive just before the thread blocks. Without a pause, so that signals would queue up
            // if every kick sent one.
            while !blocked.is_finished() {
                kicker.kick();
                thread::yield_now();
            }
            assert_eq!(blocked.join().unwrap(), Some((-1, Some(libc::EINTR))));
        });
    }

    #[test]
    fn a_panic_unregisters_the_thread() {
        let kicker = SignalKicker::new().unwrap();
        let panicked = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            kicker.run(|| panic!("on purpose"));
        }));
        assert!(panicked.is_err());
        assert_eq!(kicker.lock().thread, None);
    }
}
