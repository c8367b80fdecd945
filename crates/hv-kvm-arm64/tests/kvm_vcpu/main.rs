//! The harness on real KVM: small bare-metal guests at EL1.
//!
//! On a host without KVM, every test is ignored with the reason.

#[cfg(all(target_os = "linux", target_arch = "aarch64"))]
mod bare;
#[cfg(all(target_os = "linux", target_arch = "aarch64"))]
mod bare_code;
#[cfg(all(target_os = "linux", target_arch = "aarch64"))]
mod bare_debug_tests;
#[cfg(all(target_os = "linux", target_arch = "aarch64"))]
mod bare_rewind_tests;
#[cfg(all(target_os = "linux", target_arch = "aarch64"))]
mod bare_tests;
#[cfg(all(target_os = "linux", target_arch = "aarch64"))]
mod device_tests;
#[cfg(all(target_os = "linux", target_arch = "aarch64"))]
mod guest;
#[cfg(all(target_os = "linux", target_arch = "aarch64"))]
mod guest_code;
#[cfg(all(target_os = "linux", target_arch = "aarch64"))]
mod register_tests;
#[cfg(all(target_os = "linux", target_arch = "aarch64"))]
mod run_tests;
#[cfg(all(target_os = "linux", target_arch = "aarch64"))]
mod state_tests;

#[cfg(not(all(target_os = "linux", target_arch = "aarch64")))]
fn main() {
    hv_kvm_test::skip("kvm_vcpu", "KVM for arm64 guests needs an arm64 Linux host")
}

#[cfg(all(target_os = "linux", target_arch = "aarch64"))]
fn main() {
    let skip = guest::skip_reason();
    let tests = register_tests::TESTS
        .iter()
        .chain(run_tests::TESTS)
        .chain(device_tests::TESTS)
        .chain(state_tests::TESTS)
        .chain(bare_tests::TESTS)
        .chain(bare_rewind_tests::TESTS)
        .chain(bare_debug_tests::TESTS);
    let trials = tests.map(|&(name, test)| hv_kvm_test::trial(name, skip.clone(), test));
    hv_kvm_test::run(trials.collect())
}
