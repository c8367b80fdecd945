//! Test cases.

use std::error::Error;
use std::fmt;

use hv_kvm_test::{explain, faults};
use libtest_mimic::{Completion, Trial};

use super::fixtures::Needs;

/// Result of a case. The error message contains the output of the guest.
pub(crate) type TestResult = Result<(), Box<dyn Error>>;

/// Error of a case that cannot run on this host.
#[derive(Debug)]
pub(crate) struct Unsupported(pub(crate) String);

impl fmt::Display for Unsupported {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Error for Unsupported {}

/// Lets each call of `work` fail, as [`faults::every_call_fails`].
pub(crate) fn every_call_fails(work: impl Fn() -> TestResult + Send + 'static) -> TestResult {
    match faults::skip_reason() {
        Some(reason) => Err(Unsupported(reason).into()),
        None => faults::every_call_fails(work),
    }
}

/// A case and its requirements.
pub(crate) struct Case {
    pub(crate) name: String,
    pub(crate) needs: Needs,
    pub(crate) run: Box<dyn FnOnce() -> TestResult + Send>,
}

impl Case {
    pub(crate) fn into_trial(self) -> Trial {
        let Self { name, needs, run } = self;
        Trial::ignorable_test(name, move || match needs.skip_reason() {
            Some(reason) => Ok(Completion::ignored_with(reason)),
            None => match run() {
                Ok(()) => Ok(Completion::Completed),
                Err(error) => match error.downcast_ref() {
                    Some(Unsupported(reason)) => Ok(Completion::ignored_with(reason)),
                    None => Err(explain(&*error).into()),
                },
            },
        })
    }
}
