//! The example boots Debian's kernel to userspace.

#[cfg(all(target_os = "linux", target_arch = "x86_64"))]
mod boot;

#[cfg(all(target_os = "linux", target_arch = "x86_64"))]
fn main() {
    boot::run()
}

#[cfg(not(all(target_os = "linux", target_arch = "x86_64")))]
fn main() {
    hv_kvm_test::skip("kvm_minimal_vmm", "the example needs Linux on x86_64")
}
