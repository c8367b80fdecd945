//! The tests, by what they are about.

mod call;
mod clone;
mod crash;
mod file;
mod guest;
mod host;
mod interrupt;
mod payload;
mod restore;
mod snapshot;
mod test;

use libtest_mimic::Trial;

use self::test::Test;

pub(super) fn trials() -> Vec<Trial> {
    let skip = guest::skip_reason();
    let groups = [
        call::TESTS,
        host::TESTS,
        payload::TESTS,
        crash::TESTS,
        restore::TESTS,
        clone::TESTS,
        interrupt::TESTS,
        snapshot::TESTS,
        file::TESTS,
    ];
    let trial = |&(name, test): &Test| {
        hv_kvm_test::trial(&format!("sandbox::{name}"), skip.clone(), move || {
            test().map(|()| None)
        })
    };
    groups.into_iter().flatten().map(trial).collect()
}
