//! Timeline of a run.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use hv_core::{Milestone, Observer};

/// Events with their times. Clones share the list.
#[derive(Clone, Debug)]
pub(crate) struct Timeline {
    origin: Instant,
    events: Arc<Mutex<Vec<(String, Duration)>>>,
}

impl Timeline {
    /// A timeline that starts now.
    pub(crate) fn new() -> Self {
        Self {
            origin: Instant::now(),
            events: Arc::default(),
        }
    }

    /// Records `event` with the current time.
    pub(crate) fn reached(&self, event: impl Into<String>) {
        self.record(event.into(), Instant::now());
    }

    fn record(&self, event: String, at: Instant) {
        let since = at.saturating_duration_since(self.origin);
        self.events
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .push((event, since));
    }
}

impl Observer for Timeline {
    fn milestone(&self, milestone: Milestone, at: Instant) {
        let event = match milestone {
            Milestone::Started => "guest started",
            Milestone::FirstConsoleByte => "first console byte",
            // `run` records the outcome itself.
            _ => return,
        };
        self.record(event.to_owned(), at);
    }
}

/// One line per event: the time since the start and since the previous event, in milliseconds.
impl fmt::Display for Timeline {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let events = self.events.lock().unwrap_or_else(PoisonError::into_inner);
        let mut before = Duration::ZERO;
        writeln!(f, "timeline:")?;
        for (event, at) in events.iter() {
            let (at_ms, step_ms) = (
                at.as_secs_f64() * 1e3,
                at.saturating_sub(before).as_secs_f64() * 1e3,
            );
            writeln!(f, "{at_ms:>10.1} ms {:>11} {event}", format!("(+{step_ms:.1})"))?;
            before = *at;
        }
        Ok(())
    }
}
