//! Whole boots on KVM: the conformance guest in every build through every protocol it supports, on machines of several
//! shapes, and stock Linux kernels to userspace.
//!
//! A case that cannot run here is shown as ignored, with the reason.

mod boot;
mod conformance;
mod console;
mod fixtures;
mod linux;
mod machine;
mod xen;

use libtest_mimic::{Arguments, Completion, Trial};

/// What a case ends with; the text of a failure holds the guest's console.
type TestResult = Result<(), Box<dyn std::error::Error>>;

/// A case and what it needs.
struct Case {
    name: String,
    needs: fixtures::Needs,
    run: Box<dyn FnOnce() -> TestResult + Send>,
}

impl Case {
    fn into_trial(self) -> Trial {
        let Self { name, needs, run } = self;
        Trial::ignorable_test(name, move || match needs.obstacle() {
            Some(reason) => Ok(Completion::ignored_with(reason)),
            None => run()
                .map(|()| Completion::Completed)
                .map_err(|error| explain(&*error).into()),
        })
    }
}

fn explain(error: &dyn std::error::Error) -> String {
    std::iter::successors(Some(error), |error| error.source())
        .map(ToString::to_string)
        .collect::<Vec<_>>()
        .join(": ")
}

fn main() {
    let mut arguments = Arguments::from_args();
    // The guests share the machine's few CPUs; side by side they would only run into their deadlines.
    arguments.test_threads = arguments.test_threads.or(Some(1));
    let cases = conformance::cases()
        .into_iter()
        .chain(linux::cases())
        .chain(xen::cases());
    libtest_mimic::run(&arguments, cases.map(Case::into_trial).collect()).exit();
}
