//! Watching a run without taking part in it.

use std::{
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

use crate::Access;

/// A point in the life of a machine that is worth a timestamp.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Milestone {
    /// The run loop is about to enter the guest for the first time.
    Started,
    /// The guest wrote its first byte to its console: a serial port, or a call to firmware.
    FirstConsoleByte,
    /// What the run ends with was decided. Told when every vCPU is out of the guest, with the time of the decision.
    Ended,
}

/// Told what happens during a run, from whichever thread it happens on. Every method has an empty default.
pub trait Observer: Send + Sync {
    /// `milestone` was reached `at` this time.
    fn milestone(&self, milestone: Milestone, at: Instant) {
        let _ = (milestone, at);
    }

    /// vCPU `vcpu` made an access that neither RAM nor a device has.
    fn unclaimed(&self, vcpu: u32, access: Access) {
        let _ = (vcpu, access);
    }
}

/// An observer that ignores everything.
#[derive(Clone, Copy, Debug, Default)]
pub struct Ignore;

impl Observer for Ignore {}

/// An observer that keeps every milestone with its time, counted from when the timeline was made.
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

    /// When `milestone` was reached first, if it was.
    #[must_use]
    pub fn at(&self, milestone: Milestone) -> Option<Duration> {
        self.entries()
            .into_iter()
            .find_map(|(entry, at)| (entry == milestone).then_some(at))
    }

    /// Everything that was reached, in the order in which it was reported.
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
