//! How a boot fails.

use std::time::Duration;

use super::monitor::Ending;
use super::timeline::Milestone;

/// How a boot failed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub(crate) enum Failure {
    #[error("{} was not reached within {} s", milestone.name(), deadline.as_secs())]
    Deadline {
        milestone: Milestone,
        deadline: Duration,
    },
    #[error("the machine stopped before {} was reached", milestone.name())]
    Stopped { milestone: Milestone },
    #[error("userspace did not end the machine within {} s", deadline.as_secs())]
    NoEnd { deadline: Duration },
    #[error("the machine ended by a {}, expected a {}", found.name(), expected.name())]
    Ending { found: Ending, expected: Ending },
    #[error("QEMU ended for another reason than a {}", expected.name())]
    NoEnding { expected: Ending },
    #[error("init reports {name:?} as {found:?}, expected {expected}")]
    Report {
        name: &'static str,
        found: String,
        expected: String,
    },
    #[error("the clock {name} of the guest differs by {difference} s")]
    Clock { name: String, difference: u64 },
}
