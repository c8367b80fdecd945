//! Interruption of `KVM_RUN` with a signal.
//!
//! A kick sets `immediate_exit` of the vCPU's `struct kvm_run` and then sends a signal to the vCPU's thread. A thread inside the
//! guest leaves because of the signal; a thread that is about to enter leaves because of `immediate_exit`, which KVM reads
//! after it has noticed no signal. So one kick is sufficient, and none is lost.
//!
//! Entries are frequent and kicks are rare. An entry and a return without a kick are one atomic operation each; kicks, and what follows a
//! kick, hold a lock.
#![expect(
    unsafe_code,
    reason = "sends a signal to one particular thread, and shares a pointer to a byte that its caller lends"
)]

use std::{
    cell::{Cell, UnsafeCell},
    io,
    ptr::NonNull,
    sync::{
        Arc, Mutex, MutexGuard, OnceLock, PoisonError,
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

/// Installs the handler of [`kick_signal`], once per process. [`VcpuEntry::new`] calls this.
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

/// No thread is inside `KVM_RUN`, and no kick is pending.
const IDLE: u8 = 0;

/// A thread is inside [`VcpuEntry::run`].
const ENTERED: u8 = 1;

/// A kick was requested and not acknowledged yet.
const REQUESTED: u8 = 2;

/// The thread was kicked since it entered.
const SIGNALLED: u8 = 4;

/// [`VcpuKicker`] of one vCPU: interrupts the `KVM_RUN` of its [`VcpuEntry`], or prevents the next one.
///
/// Between two returns of [`VcpuEntry::run`], at most one signal is sent: real-time signals are queued, so a thread that
/// receives them faster than it handles them executes nothing else.
#[derive(Debug)]
pub struct SignalKicker {
    /// Bits [`ENTERED`], [`REQUESTED`] and [`SIGNALLED`]. Other transitions than [`IDLE`] to [`ENTERED`] and back need `kicks`.
    state: AtomicU8,
    /// Held by kicks, and by the vCPU's thread when there was a kick.
    kicks: Mutex<()>,
    /// The thread that entered last.
    thread: UnsafeCell<Option<Thread>>,
}

/// A thread inside [`VcpuEntry::run`], and `immediate_exit` of its vCPU.
#[derive(Clone, Copy, Debug)]
struct Thread {
    id: libc::pthread_t,
    immediate_exit: NonNull<AtomicU8>,
}

// SAFETY: `thread` is the only field that is not `Send` and `Sync` by itself; it has an id and a pointer to an atomic, which any thread may
// use. There is one `VcpuEntry`, whose method `run` takes it by `&mut`, so one thread at a time writes the field, and only while `state`
// lacks `ENTERED`. Another thread reads it in `kick` only: with the lock, after its operation on `state` has found `ENTERED`
// and has set `REQUESTED`. That operation happens after the exchange that set `ENTERED`, and so after the write. From then on, the exchange
// from `ENTERED` to `IDLE` fails, and the thread of the vCPU cannot leave `run`, and write again, before it has had the lock.
unsafe impl Send for SignalKicker {}
// SAFETY: as above.
unsafe impl Sync for SignalKicker {}

impl SignalKicker {
    fn lock(&self) -> MutexGuard<'_, ()> {
        // The lock protects no data of its own, so a panic leaves nothing behind.
        self.kicks.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Enters, unless a kick is pending, which this clears. Returns whether the thread is registered.
    fn enter(&self, thread: Thread) -> bool {
        // SAFETY: the caller is `VcpuEntry::run`, and the thread is not registered, so nothing reads the field; see `Sync`.
        unsafe { *self.thread.get() = Some(thread) };
        let entered = self
            .state
            .compare_exchange(IDLE, ENTERED, Ordering::SeqCst, Ordering::SeqCst);
        if entered.is_err() {
            self.acknowledge();
        }
        entered.is_ok()
    }

    /// Ends what [`enter`](Self::enter) began.
    fn leave(&self, immediate_exit: &AtomicU8) {
        let left = self
            .state
            .compare_exchange(ENTERED, IDLE, Ordering::SeqCst, Ordering::SeqCst);
        if left.is_err() {
            // Waits for the kick that may be about to signal this thread.
            let _kicks = self.lock();
            immediate_exit.store(0, Ordering::SeqCst);
            self.state.fetch_and(REQUESTED, Ordering::SeqCst);
        }
    }

    fn acknowledge(&self) {
        let _kicks = self.lock();
        self.state.fetch_and(!REQUESTED, Ordering::SeqCst);
    }
}

impl VcpuKicker for SignalKicker {
    fn kick(&self) {
        let _kicks = self.lock();
        let before = self.state.fetch_or(REQUESTED, Ordering::SeqCst);
        if before & (ENTERED | SIGNALLED) != ENTERED {
            return;
        }
        self.state.fetch_or(SIGNALLED, Ordering::SeqCst);
        // SAFETY: this thread has the lock, and has found `ENTERED` and set `REQUESTED`; see `Sync`.
        let Some(thread) = (unsafe { *self.thread.get() }) else {
            return;
        };
        // SAFETY: the thread is inside `VcpuEntry::run`, which borrows the byte until it returns, and cannot return before the lock is free.
        unsafe { thread.immediate_exit.as_ref() }.store(1, Ordering::SeqCst);
        // SAFETY: the thread is inside `VcpuEntry::run`, as above, so it is alive and its id is valid. The signal has a handler: a
        // `SignalKicker` exists only after the handler was installed.
        unsafe { libc::pthread_kill(thread.id, kick_signal()) };
    }
}

/// Entries of one vCPU, which its [`SignalKicker`] interrupts.
#[derive(Debug)]
pub struct VcpuEntry(Arc<SignalKicker>);

impl VcpuEntry {
    /// For one vCPU. Installs the handler of the signal.
    ///
    /// # Errors
    ///
    /// As [`install_kick_handler`].
    pub fn new() -> io::Result<Self> {
        install_kick_handler()?;
        Ok(Self(Arc::new(SignalKicker {
            state: AtomicU8::new(IDLE),
            kicks: Mutex::default(),
            thread: UnsafeCell::new(None),
        })))
    }

    /// The kicker, for other threads.
    #[must_use]
    pub fn kicker(&self) -> Arc<SignalKicker> {
        Arc::clone(&self.0)
    }

    /// Calls `enter`, which enters `KVM_RUN` of the vCPU with this `immediate_exit`. Kicks interrupt the calling thread
    /// meanwhile. The byte is zero again when the function returns.
    ///
    /// If a kick is pending, clears it and returns `None` without a call of `enter`.
    #[inline]
    pub fn run<R>(&mut self, immediate_exit: &AtomicU8, enter: impl FnOnce() -> R) -> Option<R> {
        accept_signal();
        let thread = Thread {
            // SAFETY: pthread_self has no preconditions.
            id: unsafe { libc::pthread_self() },
            immediate_exit: NonNull::from(immediate_exit),
        };
        if !self.0.enter(thread) {
            return None;
        }
        // Unregisters the thread also if `enter` panics.
        let _registration = Registration {
            kicker: &self.0,
            immediate_exit,
        };
        Some(enter())
    }

    /// Clears a pending kick. Call it after a kick has interrupted `KVM_RUN`; otherwise the next [`run`](Self::run) returns
    /// `None`.
    pub fn acknowledge(&self) {
        self.0.acknowledge();
    }
}

/// Registration of a thread as inside `KVM_RUN`, until dropped.
struct Registration<'a> {
    kicker: &'a SignalKicker,
    immediate_exit: &'a AtomicU8,
}

impl Drop for Registration<'_> {
    fn drop(&mut self) {
        self.kicker.leave(self.immediate_exit);
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

    fn run<R>(entry: &mut VcpuEntry, enter: impl FnOnce() -> R) -> Option<R> {
        entry.run(&AtomicU8::new(0), enter)
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
        let mut entry = VcpuEntry::new().unwrap();
        let kicker = entry.kicker();
        kicker.kick();
        assert_eq!(run(&mut entry, || ()), None);
        assert_eq!(run(&mut entry, || 7), Some(7));
        kicker.kick();
        entry.acknowledge();
        assert_eq!(run(&mut entry, || 8), Some(8));
    }

    /// A kick after the registration and before the system call is not lost: the signal is handled too early, but
    /// `immediate_exit` stays set until the thread is out.
    #[test]
    fn a_kick_on_the_verge_of_the_entry_is_seen() {
        let mut entry = VcpuEntry::new().unwrap();
        let kicker = entry.kicker();
        let byte = AtomicU8::new(0);
        let end = entry.run(&byte, || {
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
        let mut entry = VcpuEntry::new().unwrap();
        let kicker = entry.kicker();
        let (seen, stopped) = (AtomicU64::new(0), AtomicBool::new(false));
        thread::scope(|scope| {
            let vcpu = scope.spawn(|| {
                let byte = AtomicU8::new(0);
                while !stopped.load(Ordering::Acquire) {
                    match entry.run(&byte, || guest(&byte)) {
                        Some(End::Deadline) => return Err("a kick was lost"),
                        Some(End::Interrupted) => entry.acknowledge(),
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

    /// Kicks at the moments of entry and return: each is seen, and leaves the byte zero.
    #[test]
    fn kicks_during_short_entries_are_seen() {
        const KICKS: u64 = 5_000;
        let mut entry = VcpuEntry::new().unwrap();
        let kicker = entry.kicker();
        let (seen, stopped) = (AtomicU64::new(0), AtomicBool::new(false));
        thread::scope(|scope| {
            let vcpu = scope.spawn(|| {
                let byte = AtomicU8::new(0);
                while !stopped.load(Ordering::Acquire) {
                    if entry.run(&byte, || ()).is_none() {
                        seen.fetch_add(1, Ordering::AcqRel);
                    }
                    assert_eq!(byte.load(Ordering::SeqCst), 0);
                }
            });
            for _ in 0..KICKS {
                let before = seen.load(Ordering::Acquire);
                kicker.kick();
                while seen.load(Ordering::Acquire) == before && !vcpu.is_finished() {
                    thread::yield_now();
                }
            }
            stopped.store(true, Ordering::Release);
            vcpu.join().unwrap();
        });
        assert_eq!(seen.load(Ordering::Acquire), KICKS);
        assert_eq!(kicker.state.load(Ordering::SeqCst), IDLE);
    }

    /// Kicks without a pause send one signal, so the thread makes progress and leaves.
    #[test]
    fn a_storm_of_kicks_does_not_stall_the_thread() {
        let mut entry = VcpuEntry::new().unwrap();
        let kicker = entry.kicker();
        let inside = AtomicBool::new(false);
        thread::scope(|scope| {
            let blocked = scope.spawn(|| {
                let byte = AtomicU8::new(0);
                entry.run(&byte, || {
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
        let mut entry = VcpuEntry::new().unwrap();
        let kicker = entry.kicker();
        let byte = AtomicU8::new(0);
        let panicked = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            entry.run(&byte, || {
                kicker.kick();
                panic!("on purpose")
            })
        }));
        assert!(panicked.is_err());
        assert_eq!(kicker.state.load(Ordering::SeqCst), REQUESTED);
        assert_eq!(byte.load(Ordering::SeqCst), 0);
    }
}
