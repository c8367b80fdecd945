//! The tests, by what they are about.

mod c;
mod call;
mod clone;
mod crash;
mod file;
mod guest;
mod host;
mod interrupt;
mod mapping;
mod payload;
mod picolibc;
mod restore;
mod snapshot;
mod template;
mod test;

use libtest_mimic::Trial;

pub(super) use self::mapping::file;
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
        mapping::TESTS,
    ];
    let trial = |&(name, test): &Test, skip: Option<String>| {
        hv_kvm_test::trial(&format!("sandbox::{name}"), skip, move || test().map(|()| None))
    };
    let plain = groups.into_iter().flatten().map(|test| trial(test, skip.clone()));
    let skip = c::skip_reason();
    let in_c = c::TESTS.iter().map(|test| trial(test, skip.clone()));
    let skip = picolibc::skip_reason();
    let with_library = picolibc::TESTS.iter().map(|test| trial(test, skip.clone()));
    let skip = template::skip_reason();
    let template = template::TESTS.iter().map(|test| trial(test, skip.clone()));
    let skip = crate::guest::skip_reason(true);
    let regions = mapping::GUEST_TESTS.iter().map(|test| trial(test, skip.clone()));
    let plain = plain.chain(regions);
    plain.chain(in_c).chain(with_library).chain(template).collect()
}
