//! The harness on real KVM: small bare-metal guests in every CPU mode.
//!
//! On a host without KVM, every test is ignored with the reason.

#[cfg(all(target_os = "linux", target_arch = "x86_64"))]
mod bare_tests;
#[cfg(all(target_os = "linux", target_arch = "x86_64"))]
mod debug_tests;
#[cfg(all(target_os = "linux", target_arch = "x86_64"))]
mod device_tests;
#[cfg(all(target_os = "linux", target_arch = "x86_64"))]
mod guest;
#[cfg(all(target_os = "linux", target_arch = "x86_64"))]
mod guest_code;
#[cfg(all(target_os = "linux", target_arch = "x86_64"))]
mod run_tests;
#[cfg(all(target_os = "linux", target_arch = "x86_64"))]
mod state_tests;

#[cfg(not(all(target_os = "linux", target_arch = "x86_64")))]
fn main() {
    hv_kvm_test::skip("kvm_vcpu", "KVM for x86_64 guests needs an x86_64 Linux host")
}

#[cfg(all(target_os = "linux", target_arch = "x86_64"))]
fn main() {
    let skip = guest::skip_reason();
    let tests = run_tests::TESTS
        .iter()
        .chain(device_tests::TESTS)
        .chain(state_tests::TESTS)
        .chain(bare_tests::TESTS);
    let trials =
        tests.map(|&(name, test)| hv_kvm_test::trial(name, skip.clone(), move || test().map(|()| None)));
    let debug = debug_tests::TESTS
        .iter()
        .map(|&(name, test)| hv_kvm_test::trial(name, skip.clone(), test));
    hv_kvm_test::run(trials.chain(debug).collect())
}
