//! The harness on real KVM: small bare-metal guests.
//!
//! On a host without KVM, every test is ignored with the reason. Tests of an interrupt controller that the host does not have
//! are ignored as well.

#[cfg(all(target_os = "linux", target_arch = "riscv64"))]
mod bare_assembly;
#[cfg(all(target_os = "linux", target_arch = "riscv64"))]
mod bare_code;
#[cfg(all(target_os = "linux", target_arch = "riscv64"))]
mod bare_machine;
#[cfg(all(target_os = "linux", target_arch = "riscv64"))]
mod bare_rewind_tests;
#[cfg(all(target_os = "linux", target_arch = "riscv64"))]
mod bare_tests;
#[cfg(all(target_os = "linux", target_arch = "riscv64"))]
mod guest;
#[cfg(all(target_os = "linux", target_arch = "riscv64"))]
mod guest_code;
#[cfg(all(target_os = "linux", target_arch = "riscv64"))]
mod irq_tests;
#[cfg(all(target_os = "linux", target_arch = "riscv64"))]
mod run_tests;
#[cfg(all(target_os = "linux", target_arch = "riscv64"))]
mod sbi_tests;
#[cfg(all(target_os = "linux", target_arch = "riscv64"))]
mod state_tests;

#[cfg(not(all(target_os = "linux", target_arch = "riscv64")))]
fn main() {
    hv_kvm_test::skip("kvm_vcpu", "KVM for riscv64 guests needs a riscv64 Linux host")
}

#[cfg(all(target_os = "linux", target_arch = "riscv64"))]
fn main() {
    let host = guest::host();
    let tests = run_tests::TESTS
        .iter()
        .chain(sbi_tests::TESTS)
        .chain(irq_tests::TESTS)
        .chain(state_tests::TESTS)
        .chain(bare_tests::TESTS)
        .chain(bare_rewind_tests::TESTS);
    let trials = tests.map(|&(name, test)| match host.clone() {
        Err(reason) => hv_kvm_test::trial(name, Some(reason), || Ok(None)),
        Ok(host) => hv_kvm_test::trial(name, None, move || test(&host)),
    });
    hv_kvm_test::run(trials.collect())
}
