//! Observation of a run.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use crate::{Access, ExitReason};

/// Point in a run that is reported to observers with its time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Milestone {
    /// The run loop is about to enter the guest for the first time.
    Started,
    /// The guest wrote the first byte to its console, through a serial port or a firmware call. Reported to the observer of
    /// the console ([`BoardDevices::with_observer`](crate::BoardDevices::with_observer)); the other milestones are reported to
    /// that of the run ([`RunConfig::with_observer`](crate::RunConfig::with_observer)).
    FirstConsoleByte,
    /// The outcome of the run was decided. Reported after every vCPU has left the guest, with the time of the decision.
    Ended,
}

/// Callbacks for events of a run, called on the thread of the event. Every method does nothing by default.
///
/// A run and a console have one observer each. To observe all events, give a clone of one observer to both.
pub trait Observer: Send + Sync {
    /// `milestone` was reached at time `at`.
    fn milestone(&self, milestone: Milestone, at: Instant) {
        let _ = (milestone, at);
    }

    /// vCPU `vcpu` left the guest for `reason`. Called before the exit is handled.
    fn exit(&self, vcpu: u32, reason: ExitReason) {
        let _ = (vcpu, reason);
    }

    /// vCPU `vcpu` accessed an address without RAM and without a device.
    fn unhandled_access(&self, vcpu: u32, access: Access) {
        let _ = (vcpu, access);
    }
}

/// An observer that ignores all events.
#[derive(Clone, Copy, Debug, Default)]
pub struct NullObserver;

impl Observer for NullObserver {}

impl<T: Observer + ?Sized> Observer for Arc<T> {
    fn milestone(&self, milestone: Milestone, at: Instant) {
        T::milestone(self, milestone, at);
    }

    fn exit(&self, vcpu: u32, reason: ExitReason) {
        T::exit(self, vcpu, reason);
    }

    fn unhandled_access(&self, vcpu: u32, access: Access) {
        T::unhandled_access(self, vcpu, access);
    }
}

/// An observer that passes each event to two others.
impl<A: Observer, B: Observer> Observer for (A, B) {
    fn milestone(&self, milestone: Milestone, at: Instant) {
        self.0.milestone(milestone, at);
        self.1.milestone(milestone, at);
    }

    fn exit(&self, vcpu: u32, reason: ExitReason) {
        self.0.exit(vcpu, reason);
        self.1.exit(vcpu, reason);
    }

    fn unhandled_access(&self, vcpu: u32, access: Access) {
        self.0.unhandled_access(vcpu, access);
        self.1.unhandled_access(vcpu, access);
    }
}

/// An observer that records each milestone with its time since the creation of the timeline.
#[derive(Debug)]
pub struct Timeline {
    origin: Instant,
    entries: Mutex<Vec<(Milestone, Duration)>>,
}

impl Default for Timeline {
    fn default() -> Self {
        Self::new()
    }
}

impl Timeline {
    /// A timeline that starts now.
    #[must_use]
    pub fn new() -> Self {
        Self {
            origin: Instant::now(),
            entries: Mutex::default(),
        }
    }

    /// Time of the first `milestone` since the creation of the timeline; `None` if it was not reached.
    #[must_use]
    pub fn at(&self, milestone: Milestone) -> Option<Duration> {
        self.entries()
            .into_iter()
            .find_map(|(entry, at)| (entry == milestone).then_some(at))
    }

    /// All milestones, in the order of their reports.
    #[must_use]
    pub fn entries(&self) -> Vec<(Milestone, Duration)> {
        self.entries
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }
}

impl Observer for Timeline {
    fn milestone(&self, milestone: Milestone, at: Instant) {
        let since = at.saturating_duration_since(self.origin);
        self.entries
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .push((milestone, since));
    }
}
