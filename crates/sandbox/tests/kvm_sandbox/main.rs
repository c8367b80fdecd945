//! Sandboxes on KVM with the guests of `guests/sandbox`.
//!
//! On a host without KVM, every test is ignored with the reason.

#[cfg(all(
    target_os = "linux",
    any(target_arch = "x86_64", target_arch = "aarch64", target_arch = "riscv64")
))]
mod call_tests;
#[cfg(all(
    target_os = "linux",
    any(target_arch = "x86_64", target_arch = "aarch64", target_arch = "riscv64")
))]
mod debug_tests;
#[cfg(all(
    target_os = "linux",
    any(target_arch = "x86_64", target_arch = "aarch64", target_arch = "riscv64")
))]
mod fault_tests;
#[cfg(all(
    target_os = "linux",
    any(target_arch = "x86_64", target_arch = "aarch64", target_arch = "riscv64")
))]
mod gdb_tests;
#[cfg(all(
    target_os = "linux",
    any(target_arch = "x86_64", target_arch = "aarch64", target_arch = "riscv64")
))]
mod guest;
#[cfg(all(
    target_os = "linux",
    any(target_arch = "x86_64", target_arch = "aarch64", target_arch = "riscv64")
))]
mod kvm_error_tests;
#[cfg(all(
    target_os = "linux",
    any(target_arch = "x86_64", target_arch = "aarch64", target_arch = "riscv64")
))]
mod memory_tests;
#[cfg(all(
    target_os = "linux",
    any(target_arch = "x86_64", target_arch = "aarch64", target_arch = "riscv64")
))]
mod probe_tests;
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
    hv_kvm_test::skip("kvm_sandbox", "sandboxes need KVM of x86_64, arm64 or riscv64")
}

#[cfg(all(
    target_os = "linux",
    any(target_arch = "x86_64", target_arch = "aarch64", target_arch = "riscv64")
))]
fn main() {
    let skip = guest::skip_reason(false);
    let plain = call_tests::TESTS
        .iter()
        .chain(memory_tests::TESTS)
        .chain(debug_tests::TESTS);
    let plain = plain.map(|&(name, test)| (name, test, skip.clone()));
    let skip = guest::skip_reason(true);
    // The same once more, with guests that copy the pages that they write.
    let with_copies = |&(name, test): &guest::Test, skip: &Option<String>| {
        let name = name.replace("sandbox::", "sandbox::copies::runtime::");
        let run = move || guest::with_copies(test).map(|()| None);
        hv_kvm_test::trial(&name, skip.clone(), run)
    };
    let plain_copies = call_tests::TESTS.iter().chain(memory_tests::TESTS);
    let plain_copies: Vec<_> = plain_copies.map(|test| with_copies(test, &skip)).collect();
    let skip = guest::skip_reason(true);
    let hardware_copies = fault_tests::TESTS.iter().chain(call_tests::HARDWARE_TESTS);
    let hardware_copies: Vec<_> = hardware_copies.map(|test| with_copies(test, &skip)).collect();
    let probe_copies: Vec<_> = probe_tests::TESTS
        .iter()
        .filter(|(name, _)| !probe_tests::WITHOUT_COPIES.contains(name))
        .map(|&(name, test)| {
            let name = name.replace("sandbox::", "sandbox::copies::runtime::");
            hv_kvm_test::trial(&name, skip.clone(), move || guest::with_copies(test))
        })
        .collect();
    let hardware = fault_tests::TESTS
        .iter()
        .chain(call_tests::HARDWARE_TESTS)
        .map(|&(name, test)| (name, test, skip.clone()));
    let gdb = guest::skip_reason(false).or_else(gdb_tests::skip_reason);
    let gdb = gdb_tests::TESTS
        .iter()
        .map(|&(name, test)| (name, test, gdb.clone()));
    let breakpoints = guest::skip_reason(false).or_else(hv_kvm_test::no_hardware_breakpoints);
    let breakpoints = debug_tests::HARDWARE_TESTS
        .iter()
        .map(|&(name, test)| (name, test, breakpoints.clone()));
    let skip = kvm_error_tests::skip_reason();
    let kvm_errors = kvm_error_tests::TESTS
        .iter()
        .map(|&(name, test)| (name, test, skip.clone()));
    let trials = plain
        .chain(hardware)
        .chain(breakpoints)
        .chain(gdb)
        .chain(kvm_errors);
    let trials =
        trials.map(|(name, test, skip)| hv_kvm_test::trial(name, skip, move || test().map(|()| None)));
    let skip = guest::skip_reason(true);
    let probes = probe_tests::TESTS
        .iter()
        .map(|&(name, test)| hv_kvm_test::trial(name, skip.clone(), test));
    let mut arguments = libtest_mimic::Arguments::from_args();
    // Some tests count the file descriptors of the process.
    arguments.test_threads = Some(1);
    let copies = plain_copies
        .into_iter()
        .chain(hardware_copies)
        .chain(probe_copies);
    let trials = trials.chain(probes).chain(copies).chain(tests::trials());
    libtest_mimic::run(&arguments, trials.collect()).exit()
}
