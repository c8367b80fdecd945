//! Sandboxes on real KVM, with the demo guest.
//!
//! On a host without KVM, every test is ignored with the reason.

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
    hv_kvm_test::skip("kvm_sandbox", "sandboxes need a 64-bit Linux host with KVM")
}

#[cfg(all(
    target_os = "linux",
    any(target_arch = "x86_64", target_arch = "aarch64", target_arch = "riscv64")
))]
fn main() {
    let mut arguments = libtest_mimic::Arguments::from_args();
    // Some tests count the file descriptors of the process.
    arguments.test_threads = Some(1);
    libtest_mimic::run(&arguments, tests::trials()).exit()
}
