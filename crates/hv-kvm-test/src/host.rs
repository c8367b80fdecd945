//! What the host has: KVM, and the fixtures of the workspace.

use std::{env, fs, path::PathBuf, sync::LazyLock};

/// The environment variable that names the directory of the fixtures.
const VARIABLE: &str = "VMBOOT_FIXTURES";

/// Reason why a test on KVM cannot run on this host. The test needs `files` of the fixtures. With `hardware`, its guest needs
/// hardware virtualisation of an x86 host (VMX or SVM), as every guest other than a small integer-only program.
#[must_use]
pub fn skip_reason(files: &[impl AsRef<str>], hardware: bool) -> Option<String> {
    if let Err(error) = fs::File::options().read(true).write(true).open("/dev/kvm") {
        return Some(format!("/dev/kvm cannot be opened: {error}"));
    }
    if hardware && !has_virtualisation() {
        return Some("the CPU has neither VMX nor SVM, so KVM cannot run a stock kernel".to_owned());
    }
    if env::var_os(VARIABLE).is_none() {
        return Some(format!(
            "{VARIABLE} is not set; `cargo xtask test` provides the fixtures"
        ));
    }
    let mut files = files.iter().map(AsRef::as_ref);
    let missing = files.find(|file| !fixture(file).exists())?;
    Some(format!("the fixture {missing} is missing"))
}

/// Whether the CPU of an x86 host has VMX or SVM, without which KVM runs small integer-only programs only.
///
/// The answer is found once for the process: tests that make system calls fail ask again.
#[must_use]
pub fn has_virtualisation() -> bool {
    static ANSWER: LazyLock<bool> = LazyLock::new(|| {
        let cpuinfo = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
        cpuinfo
            .split_whitespace()
            .any(|flag| flag == "vmx" || flag == "svm")
    });
    *ANSWER
}

/// Reason why guests of an x86 host have neither breakpoints nor watchpoints of the hardware. Other hosts have no such reason here.
#[must_use]
pub fn no_hardware_breakpoints() -> Option<String> {
    let cpuinfo = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let is_x86 = cpuinfo.contains("GenuineIntel") || cpuinfo.contains("AuthenticAMD");
    if cpuinfo.contains("QEMU TCG CPU") {
        Some(
            "QEMU's emulation of SVM (TCG) loads DR7 from the VMCB, but does not arm its breakpoints"
                .to_owned(),
        )
    } else if is_x86 && !has_virtualisation() {
        Some("a KVM without VMX and SVM reports no accesses".to_owned())
    } else {
        None
    }
}

/// The path of a fixture, which [`skip_reason`] has checked.
#[must_use]
pub fn fixture(file: &str) -> PathBuf {
    PathBuf::from(env::var_os(VARIABLE).unwrap_or_default()).join(file)
}
