//! The harness on real KVM: small bare-metal guests.
//!
//! A host without a usable KVM shows every test as ignored, with the reason; so do tests of an interrupt controller that
//! the host does not have.

#[cfg(all(target_os = "linux", target_arch = "riscv64"))]
mod asm;
#[cfg(all(target_os = "linux", target_arch = "riscv64"))]
mod guest;
#[cfg(all(target_os = "linux", target_arch = "riscv64"))]
mod irq_tests;
#[cfg(all(target_os = "linux", target_arch = "riscv64"))]
mod run_tests;
#[cfg(all(target_os = "linux", target_arch = "riscv64"))]
mod sbi_tests;
#[cfg(all(target_os = "linux", target_arch = "riscv64"))]
mod state_tests;

use libtest_mimic::{Arguments, Completion, Trial};

fn main() {
    libtest_mimic::run(&Arguments::from_args(), trials()).exit();
}

#[cfg(not(all(target_os = "linux", target_arch = "riscv64")))]
fn trials() -> Vec<Trial> {
    let reason = "KVM for riscv64 guests needs a riscv64 Linux host";
    vec![Trial::ignorable_test("kvm_vcpu", move || {
        Ok(Completion::ignored_with(reason))
    })]
}

#[cfg(all(target_os = "linux", target_arch = "riscv64"))]
fn trials() -> Vec<Trial> {
    let host = guest::host();
    let tests = run_tests::TESTS
        .iter()
        .chain(sbi_tests::TESTS)
        .chain(irq_tests::TESTS)
        .chain(state_tests::TESTS);
    tests
        .map(|&(name, test)| {
            let host = host.clone();
            Trial::ignorable_test(name, move || match host {
                Err(reason) => Ok(Completion::ignored_with(reason)),
                Ok(host) => match test(&host) {
                    Ok(None) => Ok(Completion::Completed),
                    Ok(Some(missing)) => Ok(Completion::ignored_with(missing)),
                    Err(error) => Err(guest::explain(&*error).into()),
                },
            })
        })
        .collect()
}
