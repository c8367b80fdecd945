//! Test cases.

use hv_kvm_test::explain;
use libtest_mimic::{Completion, Trial};

use super::fixtures::Needs;

/// Result of a case. The error message contains the output of the guest.
pub(crate) type TestResult = Result<(), Box<dyn std::error::Error>>;

/// A case and its requirements.
pub(crate) struct Case {
    pub(crate) name: String,
    pub(crate) needs: Needs,
    pub(crate) run: Box<dyn FnOnce() -> TestResult + Send>,
}

impl Case {
    pub(crate) fn into_trial(self) -> Trial {
        let Self { name, needs, run } = self;
        Trial::ignorable_test(name, move || match needs.obstacle() {
            Some(reason) => Ok(Completion::ignored_with(reason)),
            None => run()
                .map(|()| Completion::Completed)
                .map_err(|error| explain(&*error).into()),
        })
    }
}
