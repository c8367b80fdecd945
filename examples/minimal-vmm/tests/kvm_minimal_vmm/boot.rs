//! The test.

use std::time::Duration;

use hv_kvm_test::{Console, TestResult, explain, fixture, skip_reason, trial, with_deadline};
use minimal_vmm::{Config, Outcome, boot};

const KERNEL: &str = "kernels/x86_64/debian-13.bzImage";
const INITRD: &str = "initrd/x86_64/linux.cpio";

const CMDLINE: &str = "console=ttyS0 reboot=k panic=-1 quiet";

pub(crate) fn run() -> ! {
    let skip = skip_reason(&[KERNEL, INITRD], true);
    hv_kvm_test::run(vec![trial(
        "example::minimal-vmm::to-userspace",
        skip,
        to_userspace,
    )])
}

fn to_userspace() -> TestResult {
    let console = Console::default();
    let output = console.clone();
    let outcome = with_deadline(Duration::from_mins(4), || {
        let config = Config {
            kernel: &fixture(KERNEL),
            initrd: Some(&fixture(INITRD)),
            cmdline: CMDLINE,
            memory: 512 << 20,
        };
        boot(&config, output).map_err(|error| explain(&*error))
    });
    let text = String::from_utf8_lossy(&console.bytes()).into_owned();
    let expected = ["userspace reached: Linux ", &format!("cmdline: {CMDLINE}")];
    if outcome == Ok(Ok(Outcome::Reset)) && expected.iter().all(|line| text.contains(line)) {
        return Ok(None);
    }
    Err(format!("{outcome:?}; expected {expected:?} and a reset; console:\n{text}").into())
}
