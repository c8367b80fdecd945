//! Interruption of `KVM_RUN` with a signal.
//!
//! A kick sets `immediate_exit` of the vCPU's `struct kvm_run` and then sends a signal to the vCPU's thread. A thread inside the
//! guest leaves because of the signal; a thread that is about to enter leaves because of `immediate_exit`, which KVM reads
//! after it has noticed no signal. So one kick is sufficient, and none is lost.
#![expect(
    unsafe_code,
    reason = "sends a signal to one particular thread, and keeps a pointer to a byte that its caller lends"
)]

use std::{
    cell::Cell,
    io,
    ptr::NonNull,
    sync::{
        Mutex, MutexGuard, OnceLock, PoisonError,
        atomic::{AtomicU8, Ordering},
    },
};

use hv_core::VcpuKicker;
use vmm_sys_util::signal::{SIGRTMIN, register_signal_handler, unblock_signal};

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

/// [`VcpuKicker`] of one vCPU: interrupts `KVM_RUN`, or prevents the next one.
///
/// Between two returns of [`run`](Self::run), at most one signal is sent: real-time signals are queued, so a thread that
/// receives them faster than it handles them executes nothing else.
#[derive(Debug)]
pub struct SignalKicker(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    /// The thread that is inside `KVM_RUN` or about to enter it.
    entered: Option<Entered>,
    /// A kick was requested and not acknowledged yet.
    requested: bool,
}

/// A thread inside [`SignalKicker::run`], and `immediate_exit` of its vCPU.
#[derive(Clone, Copy, Debug)]
struct Entered {
    thread: libc::pthread_t,
    immediate_exit: NonNull<AtomicU8>,
    /// The thread was kicked since it entered.
    is_signalled: bool,
}

// SAFETY: the pointer is valid while the value is in `State::entered`: `SignalKicker::run` borrows the atomic for the duration of
// the call, which sets and clears the field. Atomics can be accessed from any thread.
unsafe impl Send for Entered {}

impl Entered {
    fn set_immediate_exit(&self, value: u8) {
        // SAFETY: values of this type exist in `State::entered` only, or were just taken from it by the `Registration`, which
        // `SignalKicker::run` drops before it returns. So the borrow of the atomic has not ended; see the implementation of `Send`.
        unsafe { self.immediate_exit.as_ref() }.store(value, Ordering::SeqCst);
    }
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

    /// Calls `enter`, which enters `KVM_RUN` of the vCPU with this `immediate_exit`. Kicks interrupt the calling thread
    /// meanwhile. The byte is zero again when the function returns.
    ///
    /// If a kick is pending, clears it and returns `None` without a call of `enter`.
    pub fn run<R>(&self, immediate_exit: &AtomicU8, enter: impl FnOnce() -> R) -> Option<R> {
        accept_signal();
        let mut state = self.lock();
        if std::mem::take(&mut state.requested) {
            return None;
        }
        state.entered = Some(Entered {
            // SAFETY: pthread_self has no preconditions.
            thread: unsafe { libc::pthread_self() },
            immediate_exit: NonNull::from(immediate_exit),
            is_signalled: false,
        });
        drop(state);
        // Unregisters the thread also if `enter` panics.
        let _registration = Registration(self);
        Some(enter())
    }

    /// Clears a pending kick. Call it after a kick has interrupted `KVM_RUN`; otherwise the next [`run`](Self::run) returns
    /// `None`.
    pub fn acknowledge(&self) {
        self.lock().requested = false;
    }
}

/// Registration of a thread as inside `KVM_RUN`, until dropped.
struct Registration<'a>(&'a SignalKicker);

impl Drop for Registration<'_> {
    fn drop(&mut self) {
        if let Some(entered) = self.0.lock().entered.take() {
            entered.set_immediate_exit(0);
        }
    }
}

impl VcpuKicker for SignalKicker {
    fn kick(&self) {
        let mut state = self.lock();
        state.requested = true;
        if let Some(entered) = &mut state.entered
            && !std::mem::replace(&mut entered.is_signalled, true)
        {
            entered.set_immediate_exit(1);
            // SAFETY: `state.entered` is set only while that thread is inside `SignalKicker::run`, which clears it under the
            // lock held here. So the thread is alive and its id is valid. The signal has a handler: a `SignalKicker` exists
            // only after the handler was installed.
            unsafe { libc::pthread_kill(entered.thread, kick_signal()) };
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
        mem, ptr,
        sync::atomic::{AtomicBool, AtomicU64},
        thread,
        time::Duration,
    };

    use vmm_sys_util::signal::block_signal;

    use super::*;

    fn run<R>(kicker: &SignalKicker, enter: impl FnOnce() -> R) -> Option<R> {
        kicker.run(&AtomicU8::new(0), enter)
    }

    /// How [`guest`] ended.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    enum End {
        Interrupted,
        Deadline,
    }

    /// What `KVM_RUN` does for a guest that loops: it reads `immediate_exit` when signals are blocked, and then waits for a
    /// signal, which it cannot miss.
    fn guest(immediate_exit: &AtomicU8) -> End {
        let deadline = libc::timespec {
            tv_sec: 20,
            tv_nsec: 0,
        };
        // SAFETY: a set of no signals consists of zeros.
        let none: libc::sigset_t = unsafe { mem::zeroed() };
        block_signal(kick_signal()).unwrap();
        let end = if immediate_exit.load(Ordering::SeqCst) == 0
            // SAFETY: there are no descriptors; the time and the set live during the call.
            && unsafe { libc::ppoll(ptr::null_mut(), 0, &raw const deadline, &raw const none) } == 0
        {
            End::Deadline
        } else {
            End::Interrupted
        };
        unblock_signal(kick_signal()).unwrap();
        end
    }

    #[test]
    fn a_pending_kick_prevents_the_entry() {
        let kicker = SignalKicker::new().unwrap();
        kicker.kick();
        assert_eq!(run(&kicker, || ()), None);
        assert_eq!(run(&kicker, || 7), Some(7));
        kicker.kick();
        kicker.acknowledge();
        assert_eq!(run(&kicker, || 8), Some(8));
    }

    /// A kick after the registration and before the system call is not lost: the signal is handled too early, but
    /// `immediate_exit` stays set until the thread is out.
    #[test]
    fn a_kick_on_the_verge_of_the_entry_is_seen() {
        let kicker = SignalKicker::new().unwrap();
        let byte = AtomicU8::new(0);
        let end = kicker.run(&byte, || {
            kicker.kick();
            guest(&byte)
        });
        assert_eq!(end, Some(End::Interrupted));
        assert_eq!(byte.load(Ordering::SeqCst), 0);
    }

    /// One kick for each entry, at any time: every one ends that entry or prevents the next.
    #[test]
    fn no_kick_is_lost() {
        const KICKS: u64 = 20_000;
        let kicker = SignalKicker::new().unwrap();
        let (seen, stopped) = (AtomicU64::new(0), AtomicBool::new(false));
        thread::scope(|scope| {
            let vcpu = scope.spawn(|| {
                let byte = AtomicU8::new(0);
                while !stopped.load(Ordering::Acquire) {
                    match kicker.run(&byte, || guest(&byte)) {
                        Some(End::Deadline) => return Err("a kick was lost"),
                        Some(End::Interrupted) => kicker.acknowledge(),
                        None => {}
                    }
                    seen.fetch_add(1, Ordering::AcqRel);
                }
                Ok(())
            });
            for _ in 0..KICKS {
                let before = seen.load(Ordering::Acquire);
                kicker.kick();
                while seen.load(Ordering::Acquire) == before && !vcpu.is_finished() {
                    thread::yield_now();
                }
            }
            stopped.store(true, Ordering::Release);
            kicker.kick();
            assert_eq!(vcpu.join().unwrap(), Ok(()));
        });
        assert!(seen.load(Ordering::Acquire) >= KICKS);
    }

    /// Kicks without a pause send one signal, so the thread makes progress and leaves.
    #[test]
    fn a_storm_of_kicks_does_not_stall_the_thread() {
        let kicker = SignalKicker::new().unwrap();
        let inside = AtomicBool::new(false);
        thread::scope(|scope| {
            let blocked = scope.spawn(|| {
                let byte = AtomicU8::new(0);
                kicker.run(&byte, || {
                    inside.store(true, Ordering::Release);
                    thread::sleep(Duration::from_millis(20));
                    guest(&byte)
                })
            });
            while !inside.load(Ordering::Acquire) {
                thread::yield_now();
            }
            while !blocked.is_finished() {
                kicker.kick();
            }
            assert_eq!(blocked.join().unwrap(), Some(End::Interrupted));
        });
    }

    #[test]
    fn a_panic_unregisters_the_thread() {
        let kicker = SignalKicker::new().unwrap();
        let panicked = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            run(&kicker, || panic!("on purpose"));
        }));
        assert!(panicked.is_err());
        assert!(kicker.lock().entered.is_none());
    }
}
