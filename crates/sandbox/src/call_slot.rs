//! The call that a sandbox executes, as other threads see it.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use hv_core::VcpuKicker;

/// What other threads did with a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Phase {
    /// No call.
    Idle,
    /// A call runs.
    Running,
    /// An interrupt handle ended it.
    Interrupted,
    /// Its deadline passed.
    Expired,
}

impl Phase {
    const BITS: u32 = 2;

    const fn number(self) -> u64 {
        match self {
            Self::Idle => 0,
            Self::Running => 1,
            Self::Interrupted => 2,
            Self::Expired => 3,
        }
    }

    const fn of(word: u64) -> Self {
        match word & 3 {
            0 => Self::Idle,
            1 => Self::Running,
            2 => Self::Interrupted,
            _ => Self::Expired,
        }
    }
}

/// The call that a sandbox executes. The sandbox starts and ends calls; other threads end the one that they see.
pub(crate) struct CallSlot {
    /// Number of the call and its phase. With the number, a thread never ends a later call than the one that it saw.
    state: AtomicU64,
    /// Deadline of the call, in nanoseconds of the monotonic clock; `u64::MAX` without one.
    deadline: AtomicU64,
    kicker: Arc<dyn VcpuKicker>,
}

impl fmt::Debug for CallSlot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CallSlot")
            .field("phase", &self.phase())
            .finish_non_exhaustive()
    }
}

impl CallSlot {
    /// Without a call.
    pub(crate) fn new(kicker: Arc<dyn VcpuKicker>) -> Self {
        Self {
            state: AtomicU64::new(Phase::Idle.number()),
            deadline: AtomicU64::new(u64::MAX),
            kicker,
        }
    }

    /// Starts call `number` with `deadline` in nanoseconds of the monotonic clock.
    ///
    /// The second store is sequentially consistent: with it and the load of the next wake-up, the thread of deadlines sees the call, or this
    /// thread sees that it has to wake that thread.
    #[inline]
    pub(crate) fn begin(&self, number: u64, deadline: u64) {
        self.deadline.store(deadline, Ordering::Relaxed);
        let running = number << Phase::BITS | Phase::Running.number();
        self.state.store(running, Ordering::SeqCst);
    }

    /// Ends the call.
    #[inline]
    pub(crate) fn end(&self) {
        self.state.store(Phase::Idle.number(), Ordering::Release);
    }

    /// What other threads did with the call.
    #[inline]
    pub(crate) fn phase(&self) -> Phase {
        Phase::of(self.state.load(Ordering::Acquire))
    }

    /// Ends the running call with `phase`; false if none runs.
    fn stop(&self, seen: u64, phase: Phase) -> bool {
        let stopped = seen & !3 | phase.number();
        let is_running = Phase::of(seen) == Phase::Running;
        let stops = is_running
            && self
                .state
                .compare_exchange(seen, stopped, Ordering::SeqCst, Ordering::Relaxed)
                .is_ok();
        if stops {
            self.kicker.kick();
        }
        stops
    }

    /// Replaces the deadline of the running call, in nanoseconds of the monotonic clock; `u64::MAX` is none.
    ///
    /// The second operation changes nothing; its order is that of [`begin`](Self::begin).
    #[cfg(feature = "debug")]
    pub(crate) fn set_deadline(&self, deadline: u64) {
        self.deadline.store(deadline, Ordering::Relaxed);
        self.state.fetch_or(0, Ordering::SeqCst);
    }

    /// Interrupts the running call; false if none runs.
    pub(crate) fn interrupt(&self) -> bool {
        self.stop(self.state.load(Ordering::SeqCst), Phase::Interrupted)
    }

    /// Ends the running call if its deadline is not after `now`. Returns the deadline if it is later.
    pub(crate) fn expire(&self, now: u64) -> Option<u64> {
        let seen = self.state.load(Ordering::SeqCst);
        if Phase::of(seen) != Phase::Running {
            return None;
        }
        // It may belong to a later call than `seen`; then the exchange fails, and that call sees the wake-up time.
        let deadline = self.deadline.load(Ordering::Relaxed);
        if now < deadline {
            return Some(deadline);
        }
        self.stop(seen, Phase::Expired);
        None
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicU32;

    use super::*;

    #[derive(Default)]
    struct Kicks(AtomicU32);

    impl VcpuKicker for Kicks {
        fn kick(&self) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }

    fn slot() -> (CallSlot, Arc<Kicks>) {
        let kicks = Arc::new(Kicks::default());
        (CallSlot::new(Arc::<Kicks>::clone(&kicks)), kicks)
    }

    #[test]
    fn only_a_running_call_is_interrupted_once() {
        let (slot, kicks) = slot();
        assert!(!slot.interrupt());
        slot.begin(1, u64::MAX);
        assert!(slot.interrupt() && !slot.interrupt());
        assert_eq!(slot.phase(), Phase::Interrupted);
        assert_eq!(slot.expire(u64::MAX), None);
        assert_eq!(slot.phase(), Phase::Interrupted);
        slot.end();
        assert!(!slot.interrupt());
        assert_eq!(kicks.0.load(Ordering::Relaxed), 1);
    }

    #[test]
    fn a_later_call_is_not_ended() {
        let (slot, kicks) = slot();
        slot.begin(1, 10);
        let seen = slot.state.load(Ordering::SeqCst);
        slot.end();
        slot.begin(2, 20);
        assert!(!slot.stop(seen, Phase::Interrupted));
        assert_eq!(
            (slot.phase(), kicks.0.load(Ordering::Relaxed)),
            (Phase::Running, 0)
        );
    }

    #[test]
    fn deadlines_expire_when_they_are_reached() {
        let (slot, kicks) = slot();
        assert_eq!(slot.expire(u64::MAX), None);
        slot.begin(1, 10);
        assert_eq!(slot.expire(9), Some(10));
        assert_eq!(slot.expire(10), None);
        assert_eq!(
            (slot.phase(), kicks.0.load(Ordering::Relaxed)),
            (Phase::Expired, 1)
        );
    }
}
