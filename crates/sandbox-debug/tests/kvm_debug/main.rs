//! Debuggers on a bare machine of KVM.
//!
//! On a host without KVM, every test is ignored with the reason.

#[cfg(all(
    target_os = "linux",
    any(target_arch = "x86_64", target_arch = "aarch64", target_arch = "riscv64")
))]
mod layout;
#[cfg(all(
    target_os = "linux",
    any(target_arch = "x86_64", target_arch = "aarch64", target_arch = "riscv64")
))]
mod machine;
#[cfg(all(
    target_os = "linux",
    any(target_arch = "x86_64", target_arch = "aarch64", target_arch = "riscv64")
))]
mod tests;

#[cfg(not(all(
    target_os = "linux",
    any(target_arch = "x86_64", target_arch = "aarch64", target_arch = "riscv64")
)))]
fn main() {
    hv_kvm_test::skip("kvm_debug", "the tests have guests of x86_64, arm64 and riscv64")
}

#[cfg(all(
    target_os = "linux",
    any(target_arch = "x86_64", target_arch = "aarch64", target_arch = "riscv64")
))]
fn main() {
    let skip = machine::skip_reason();
    let plain = tests::TESTS
        .iter()
        .map(|&(name, test)| hv_kvm_test::trial(name, skip.clone(), move || test().map(|()| None)));
    let hardware = skip.clone().or_else(hv_kvm_test::no_hardware_breakpoints);
    let hardware = tests::HARDWARE_TESTS
        .iter()
        .map(|&(name, test)| hv_kvm_test::trial(name, hardware.clone(), move || test().map(|()| None)));
    let skip = skip.clone().or_else(hv_kvm_test::gdb::skip_reason);
    let with_gdb = tests::GDB_TESTS
        .iter()
        .map(|&(name, test)| hv_kvm_test::trial(name, skip.clone(), move || test().map(|()| None)));
    hv_kvm_test::run(plain.chain(hardware).chain(with_gdb).collect())
}
