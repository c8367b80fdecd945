//! Debuggers on a bare machine of KVM.
//!
//! On a host without KVM, every test is ignored with the reason.

#[cfg(all(target_os = "linux", target_arch = "x86_64"))]
#[path = "../gdb/client.rs"]
mod client;
#[cfg(all(target_os = "linux", target_arch = "x86_64"))]
#[path = "../gdb/gdb.rs"]
mod gdb;
#[cfg(all(target_os = "linux", target_arch = "x86_64"))]
mod machine;
#[cfg(all(target_os = "linux", target_arch = "x86_64"))]
mod tests;

#[cfg(not(all(target_os = "linux", target_arch = "x86_64")))]
fn main() {
    hv_kvm_test::skip("kvm_debug", "the tests have guests for x86_64 only")
}

#[cfg(all(target_os = "linux", target_arch = "x86_64"))]
fn main() {
    let skip = machine::skip_reason();
    let plain = tests::TESTS
        .iter()
        .map(|&(name, test)| hv_kvm_test::trial(name, skip.clone(), move || test().map(|()| None)));
    let skip = skip.clone().or_else(gdb::skip_reason);
    let with_gdb = tests::GDB_TESTS
        .iter()
        .map(|&(name, test)| hv_kvm_test::trial(name, skip.clone(), move || test().map(|()| None)));
    hv_kvm_test::run(plain.chain(with_gdb).collect())
}
