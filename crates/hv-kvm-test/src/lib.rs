#![doc = include_str!("../README.md")]

mod console;
#[cfg(target_os = "linux")]
pub mod faults;
pub mod gdb;
pub mod gdb_client;
mod held;
mod host;
mod recorder;

use std::{
    error::Error,
    fmt,
    sync::mpsc::{self, RecvTimeoutError},
    thread,
    time::Duration,
};

use hv_core::RunConfig;
use libtest_mimic::{Arguments, Completion, Trial};

pub use console::Console;
pub use held::Held;
#[cfg(target_os = "linux")]
pub use held::without_new_descriptors;
pub use host::{fixture, has_virtualisation, no_hardware_breakpoints, skip_reason};
pub use recorder::{RecordedAccess, Recorder};

/// Result of a check.
pub type CheckResult = Result<(), Box<dyn Error>>;

/// Result of a test. `Ok(None)`: the test passed. `Ok(Some(reason))`: it is skipped, because the host lacks a feature.
pub type TestResult = Result<Option<&'static str>, Box<dyn Error>>;

/// A test named `name`. With a `skip` reason, it is reported as ignored with that reason.
pub fn trial(name: &str, skip: Option<String>, test: impl FnOnce() -> TestResult + Send + 'static) -> Trial {
    Trial::ignorable_test(name, move || match skip {
        Some(reason) => Ok(Completion::ignored_with(reason)),
        None => match test() {
            Ok(None) => Ok(Completion::Completed),
            Ok(Some(reason)) => Ok(Completion::ignored_with(reason)),
            Err(error) => Err(explain(&*error).into()),
        },
    })
}

/// Runs the tests as the command line requests, by default one at a time, and exits.
pub fn run(tests: Vec<Trial>) -> ! {
    let mut arguments = Arguments::from_args();
    // Some count what the process holds. The guests share few CPUs: in parallel they would exceed their deadlines.
    arguments.test_threads = arguments.test_threads.or(Some(1));
    libtest_mimic::run(&arguments, tests).exit()
}

/// Reports the test target `name` as one ignored test with `reason`, and exits.
pub fn skip(name: &str, reason: &str) -> ! {
    run(vec![trial(name, Some(reason.to_owned()), || Ok(None))])
}

/// The message of an error and those of its sources.
#[must_use]
pub fn explain(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(error) = source {
        text.push_str(": ");
        text.push_str(&error.to_string());
        source = error.source();
    }
    text
}

/// Runs `work` on a thread of its own, which goes on after the deadline.
///
/// # Errors
///
/// [`RecvTimeoutError::Timeout`] if the work takes longer than `deadline`, [`RecvTimeoutError::Disconnected`] if it panics.
pub fn with_deadline<T: Send + 'static>(
    deadline: Duration,
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, RecvTimeoutError> {
    let (sender, result) = mpsc::channel();
    // Nobody receives a late result.
    thread::spawn(move || sender.send(work()).is_ok());
    result.recv_timeout(deadline)
}

/// Checks that `found` equals `expected`. `what` names the value in the message.
///
/// # Errors
///
/// A message with `what` and both values, if they differ.
pub fn expect<T: PartialEq + fmt::Debug>(what: &str, found: &T, expected: &T) -> CheckResult {
    if found == expected {
        return Ok(());
    }
    Err(format!("{what}: found {found:x?}, expected {expected:x?}").into())
}

/// A run configuration for guests that end: its deadline is sufficient on the slowest host.
#[must_use]
pub fn run_config() -> RunConfig {
    RunConfig::default().with_deadline(Duration::from_mins(1))
}

/// A run configuration for guests that do not end: a short deadline.
#[must_use]
pub fn short_run_config() -> RunConfig {
    RunConfig::default().with_deadline(Duration::from_millis(200))
}
