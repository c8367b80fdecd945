//! The harness on real KVM: small bare-metal guests at EL1.
//!
//! A host without a usable KVM shows every test as ignored, with the reason.

#[cfg(all(target_os = "linux", target_arch = "aarch64"))]
mod asm;
#[cfg(all(target_os = "linux", target_arch = "aarch64"))]
mod device_tests;
#[cfg(all(target_os = "linux", target_arch = "aarch64"))]
mod guest;
#[cfg(all(target_os = "linux", target_arch = "aarch64"))]
mod register_tests;
#[cfg(all(target_os = "linux", target_arch = "aarch64"))]
mod run_tests;
#[cfg(all(target_os = "linux", target_arch = "aarch64"))]
mod state_tests;

use libtest_mimic::{Arguments, Completion, Trial};

fn main() {
    libtest_mimic::run(&Arguments::from_args(), trials()).exit();
}

#[cfg(not(all(target_os = "linux", target_arch = "aarch64")))]
fn trials() -> Vec<Trial> {
    let reason = "KVM for arm64 guests needs an arm64 Linux host";
    vec![Trial::ignorable_test("kvm_vcpu", move || {
        Ok(Completion::ignored_with(reason))
    })]
}

#[cfg(all(target_os = "linux", target_arch = "aarch64"))]
fn trials() -> Vec<Trial> {
    use guest::Verdict;

    let obstacle = guest::obstacle();
    let tests = register_tests::TESTS
        .iter()
        .chain(run_tests::TESTS)
        .chain(device_tests::TESTS)
        .chain(state_tests::TESTS);
    tests
        .map(|&(name, test)| {
            let obstacle = obstacle.clone();
            Trial::ignorable_test(name, move || match obstacle {
                Some(reason) => Ok(Completion::ignored_with(reason)),
                None => match test() {
                    Ok(Verdict::Passed) => Ok(Completion::Completed),
                    Ok(Verdict::CannotRun(reason)) => Ok(Completion::ignored_with(reason)),
                    Err(error) => Err(guest::explain(&*error).into()),
                },
            })
        })
        .collect()
}
