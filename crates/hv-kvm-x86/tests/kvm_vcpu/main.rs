//! The harness on real KVM: small bare-metal guests in every CPU mode.
//!
//! A host without a usable KVM shows every test as ignored, with the reason.

#[cfg(all(target_os = "linux", target_arch = "x86_64"))]
mod asm;
#[cfg(all(target_os = "linux", target_arch = "x86_64"))]
mod device_tests;
#[cfg(all(target_os = "linux", target_arch = "x86_64"))]
mod guest;
#[cfg(all(target_os = "linux", target_arch = "x86_64"))]
mod run_tests;
#[cfg(all(target_os = "linux", target_arch = "x86_64"))]
mod state_tests;

use libtest_mimic::{Arguments, Completion, Trial};

fn main() {
    libtest_mimic::run(&Arguments::from_args(), trials()).exit();
}

#[cfg(not(all(target_os = "linux", target_arch = "x86_64")))]
fn trials() -> Vec<Trial> {
    let reason = "KVM for x86_64 guests needs an x86_64 Linux host";
    vec![Trial::ignorable_test("kvm_vcpu", move || {
        Ok(Completion::ignored_with(reason))
    })]
}

#[cfg(all(target_os = "linux", target_arch = "x86_64"))]
fn trials() -> Vec<Trial> {
    let obstacle = guest::obstacle();
    let tests = run_tests::TESTS
        .iter()
        .chain(device_tests::TESTS)
        .chain(state_tests::TESTS);
    tests
        .map(|&(name, test)| {
            let obstacle = obstacle.clone();
            Trial::ignorable_test(name, move || match obstacle {
                Some(reason) => Ok(Completion::ignored_with(reason)),
                None => test()
                    .map(|()| Completion::Completed)
                    .map_err(|error| guest::explain(&*error).into()),
            })
        })
        .collect()
}
