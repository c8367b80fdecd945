//! The tests, by what they are about.

mod call;
mod clone;
mod crash;
mod guest;
mod host;
mod interrupt;
mod payload;
mod restore;
mod snapshot;

use hv_kvm_test::CheckResult;
use libtest_mimic::Trial;

/// A test: its name, and what it does.
type Test = (&'static str, fn() -> CheckResult);

pub(super) fn trials() -> Vec<Trial> {
    let skip = guest::skip_reason(false);
    let no_exceptions = guest::skip_reason(true);
    let trial = |&(name, test): &Test, skip: &Option<String>| {
        hv_kvm_test::trial(&format!("sandbox::{name}"), skip.clone(), move || {
            test().map(|()| None)
        })
    };
    let groups = [
        call::TESTS,
        host::TESTS,
        payload::TESTS,
        crash::PANIC_TESTS,
        restore::TESTS,
        clone::TESTS,
        interrupt::TESTS,
        snapshot::TESTS,
    ];
    let tests = groups.concat();
    let exceptions = [crash::FAULT_TESTS, restore::TRANSLATION_TESTS].concat();
    let tests = tests.iter().map(|test| trial(test, &skip));
    tests.chain(exceptions.iter().map(|test| trial(test, &no_exceptions))).collect()
}
