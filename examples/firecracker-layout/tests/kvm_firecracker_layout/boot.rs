//! The tests.

use std::time::Duration;

use firecracker_layout::boot::Protocol;
use firecracker_layout::boot_kernel;
use hv_kvm_test::{Console, TestResult, explain, fixture, skip_reason, trial, with_deadline};
use minimal_vmm::{Config, Outcome};

const KERNEL: &str = "kernels/x86_64/debian-13.vmlinux";
const INITRD: &str = "initrd/x86_64/linux.cpio";

/// init resets the machine: without an ACPI sleep state it cannot be turned off.
const QUIET: &str = "console=ttyS0 reboot=k panic=-1 init.end=reboot quiet";
const VERBOSE: &str = "console=ttyS0 reboot=k panic=-1 init.end=reboot";

pub(crate) fn run() -> ! {
    let skip = skip_reason(&[KERNEL, INITRD], true);
    let trial = |name, check: fn() -> TestResult| trial(name, skip.clone(), check);
    hv_kvm_test::run(vec![
        trial("example::firecracker-layout::pvh", || {
            to_userspace(Protocol::Pvh, QUIET, &[])
        }),
        trial("example::firecracker-layout::linux", || {
            // The messages show that the kernel has the memory map and the tables.
            let messages = [
                "[mem 0x0000000000000000-0x000000000009fbff] usable",
                "[mem 0x000000000009fc00-0x00000000000dffff] reserved",
                "[mem 0x0000000000100000-0x000000001fffffff] usable",
                "ACPI: RSDP 0x00000000000E0000",
                "ACPI: Using ACPI (MADT) for SMP configuration information",
            ];
            to_userspace(Protocol::Linux, VERBOSE, &messages)
        }),
    ])
}

fn to_userspace(protocol: Protocol, cmdline: &'static str, messages: &[&str]) -> TestResult {
    let console = Console::default();
    let output = console.clone();
    let outcome = with_deadline(Duration::from_mins(4), move || {
        let config = Config {
            kernel: &fixture(KERNEL),
            initrd: Some(&fixture(INITRD)),
            cmdline,
            memory: 512 << 20,
        };
        boot_kernel(&config, Some(protocol), output).map_err(|error| explain(&*error))
    });
    let text = String::from_utf8_lossy(&console.bytes()).into_owned();
    let cmdline = format!("cmdline: {cmdline}");
    let expected = ["userspace reached: Linux ", &cmdline];
    let expected: Vec<_> = expected.iter().chain(messages).collect();
    if outcome == Ok(Ok(Outcome::Reset)) && expected.iter().all(|line| text.contains(**line)) {
        return Ok(None);
    }
    Err(format!("{outcome:?}; expected {expected:#?} and a reset; console:\n{text}").into())
}
