//! The tests, by what they are about.

mod c;
mod call;
mod clone;
mod copies;
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
use crate::guest::with_copies;

/// Tests whose guest uses page tables of its own, which are in memory that it does not find by physical addresses if it copied that, or in
/// which page tables cannot be written.
const WITHOUT_COPIES: &[&str] = &[
    "fault::access_to_page_tables",
    "fault::physical_address_without_memory",
    "file::guest_with_its_own_page_tables_is_not_saved",
    "mapping::restore_of_changed_page_tables",
    "restore::page_tables",
    "restore::text_is_shared_and_cannot_be_written",
    "restore::translations_are_flushed",
];

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
    let all = || groups.into_iter().flatten();
    let plain = all().map(|test| trial(test, skip.clone()));
    // The same once more, with guests that copy the pages that they write.
    let skip = guest::copies_skip_reason();
    let copies = copies::TESTS.iter().map(|test| trial(test, skip.clone()));
    let with_copies = all()
        .filter(|(name, _)| !WITHOUT_COPIES.contains(name))
        .map(|&(name, test)| {
            let run = move || with_copies(test).map(|()| None);
            hv_kvm_test::trial(&format!("sandbox::copies::{name}"), skip.clone(), run)
        });
    let with_copies: Vec<_> = with_copies.collect();
    let skip = c::skip_reason();
    let in_c = c::TESTS.iter().map(|test| trial(test, skip.clone()));
    let skip = picolibc::skip_reason();
    let with_library = picolibc::TESTS.iter().map(|test| trial(test, skip.clone()));
    let skip = template::skip_reason();
    let template = template::TESTS.iter().map(|test| trial(test, skip.clone()));
    let skip = crate::guest::skip_reason(true);
    let regions = mapping::GUEST_TESTS.iter().map(|test| trial(test, skip.clone()));
    plain
        .chain(copies)
        .chain(with_copies)
        .chain(regions)
        .chain(in_c)
        .chain(with_library)
        .chain(template)
        .collect()
}
