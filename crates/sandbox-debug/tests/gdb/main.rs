//! Debuggers on a fake guest: the protocol, and gdb itself where it is installed.

mod core_tests;
mod fake;
mod protocol_tests;
mod stub_tests;

use hv_kvm_test::gdb;

fn main() {
    let tests = protocol_tests::TESTS
        .iter()
        .map(|&(name, test)| hv_kvm_test::trial(name, None, move || test().map(|()| None)));
    let skip = gdb::skip_reason();
    let with_gdb = stub_tests::TESTS
        .iter()
        .chain(core_tests::TESTS)
        .map(|&(name, test)| hv_kvm_test::trial(name, skip.clone(), move || test().map(|()| None)));
    let compiled = core_tests::COMPILED_TESTS
        .iter()
        .map(|&(compiler, (name, test))| {
            let skip = skip.clone().or_else(|| gdb::missing(compiler));
            hv_kvm_test::trial(name, skip, move || test().map(|()| None))
        });
    hv_kvm_test::run(tests.chain(with_gdb).chain(compiled).collect())
}
