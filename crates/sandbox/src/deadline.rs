//! Deadlines of calls: one thread for the whole process.

use std::io;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError, Weak};
use std::thread::{self, Thread};
use std::time::Duration;

use rustix::time::{ClockId, clock_gettime};

use crate::call_slot::CallSlot;

/// Without a deadline, or without a wake-up.
const NEVER: u64 = u64::MAX;

/// The thread of deadlines.
struct Timer {
    /// Next time at which the thread wakes up, in nanoseconds of the monotonic clock.
    next: AtomicU64,
    slots: Mutex<Vec<Weak<CallSlot>>>,
    thread: OnceLock<Thread>,
}

static TIMER: Timer = Timer {
    next: AtomicU64::new(NEVER),
    slots: Mutex::new(Vec::new()),
    thread: OnceLock::new(),
};

/// Watches the calls of `slot` until it is dropped. Starts the thread, if there is none.
pub(crate) fn watch(slot: &Arc<CallSlot>) -> io::Result<()> {
    let mut slots = TIMER.slots.lock().unwrap_or_else(PoisonError::into_inner);
    if TIMER.thread.get().is_none() {
        let thread = thread::Builder::new()
            .name("sandbox-deadlines".to_owned())
            .spawn(run)?;
        // The lock is held, so no other thread sets it.
        TIMER.thread.get_or_init(|| thread.thread().clone());
    }
    // Rarely, so that it takes no time in proportion to the number of sandboxes each time.
    if slots.len() == slots.capacity() {
        slots.retain(|slot| slot.strong_count() > 0);
    }
    slots.push(Arc::downgrade(slot));
    Ok(())
}

/// Starts call `number` of `slot`, which is [watched](watch), and returns its deadline in nanoseconds of the monotonic clock.
#[inline]
pub(crate) fn begin(slot: &CallSlot, number: u64, limit: Option<Duration>) -> Option<u64> {
    let Some(limit) = limit else {
        slot.begin(number, NEVER);
        return None;
    };
    let deadline = after(limit);
    slot.begin(number, deadline);
    if deadline < TIMER.next.load(Ordering::SeqCst) {
        wake(deadline);
    }
    Some(deadline)
}

/// The running call of `slot` has no deadline until [`resume`].
#[cfg(feature = "debug")]
pub(crate) fn suspend(slot: &CallSlot) {
    slot.set_deadline(NEVER);
}

/// Sets the deadline of the running call of `slot`, in nanoseconds of the monotonic clock.
#[cfg(feature = "debug")]
pub(crate) fn resume(slot: &CallSlot, deadline: u64) {
    let deadline = deadline.min(NEVER - 1);
    slot.set_deadline(deadline);
    if deadline < TIMER.next.load(Ordering::SeqCst) {
        wake(deadline);
    }
}

#[cold]
fn wake(deadline: u64) {
    TIMER.next.fetch_min(deadline, Ordering::SeqCst);
    if let Some(thread) = TIMER.thread.get() {
        thread.unpark();
    }
}

/// The time at which `limit` is over.
///
/// The coarse clock takes fewer instructions, but it stands still while a busy host delays its ticks, so deadlines would be early.
#[inline]
fn after(limit: Duration) -> u64 {
    let limit = u64::try_from(limit.as_nanos()).unwrap_or(NEVER);
    // `NEVER` itself has no deadline.
    now().saturating_add(limit).min(NEVER - 1)
}

/// The time of the monotonic clock in nanoseconds.
#[inline]
pub(crate) fn now() -> u64 {
    let time = clock_gettime(ClockId::Monotonic);
    let [seconds, rest] = [time.tv_sec, time.tv_nsec].map(|value| u64::try_from(value).unwrap_or_default());
    seconds.saturating_mul(1_000_000_000).saturating_add(rest)
}

fn run() {
    loop {
        // Calls that begin from here on compare their deadline with `NEVER`, and wake this thread; all others are in their slots.
        TIMER.next.store(NEVER, Ordering::SeqCst);
        let time = now();
        let next = {
            let slots = TIMER.slots.lock().unwrap_or_else(PoisonError::into_inner);
            let later = slots
                .iter()
                .filter_map(Weak::upgrade)
                .filter_map(|slot| slot.expire(time));
            later.min().unwrap_or(NEVER)
        };
        let next = TIMER.next.fetch_min(next, Ordering::SeqCst).min(next);
        if next == NEVER {
            thread::park();
        } else {
            thread::park_timeout(Duration::from_nanos(next.saturating_sub(now())));
        }
    }
}
