//! Stock Linux kernels, to userspace.

use std::fs;
use std::time::Duration;

use contract::Digest;
use hv_core::Outcome;

use super::boot::{Setup, boot};
use super::fixtures::{Needs, path};
use super::{Case, TestResult};

const INITRD: &str = "initrd/x86_64/linux.cpio";
const PAYLOAD: &str = "initrd/x86_64/payload.bin";

/// A kernel and the protocol that starts it.
const BOOTS: [(&str, &str, &str); 3] = [
    ("debian-13-bzimage", "kernels/x86_64/debian-13.bzImage", "linux"),
    ("debian-13-vmlinux-pvh", "kernels/x86_64/debian-13.vmlinux", "pvh"),
    ("debian-13-vmlinux", "kernels/x86_64/debian-13.vmlinux", "linux"),
];

pub(crate) fn cases() -> Vec<Case> {
    BOOTS
        .into_iter()
        .map(|(name, file, protocol)| Case {
            name: format!("linux::{name}"),
            needs: Needs {
                files: vec![file, INITRD, PAYLOAD],
                hardware: true,
            },
            run: Box::new(move || to_userspace(file, protocol)),
        })
        .collect()
}

fn to_userspace(file: &str, protocol: &str) -> TestResult {
    let cmdline = "console=ttyS0 panic=-1 reboot=k quiet words=\"two words\"";
    let setup = Setup {
        memory: 512 << 20,
        initrd: Some(fs::read(path(INITRD))?),
        deadline: Duration::from_mins(4),
        ..Setup::default()
    };
    let run = boot(file, protocol, &setup, cmdline)?;
    let Digest { len, hash } = Digest::of(&fs::read(path(PAYLOAD))?);
    let expected = [
        "userspace reached: Linux ".to_owned(),
        format!("cmdline: {cmdline}"),
        "cpus: 1".to_owned(),
        format!("payload: payload.bin {len} {hash:#018x}"),
    ];
    let missing: Vec<_> = expected
        .iter()
        .filter(|text| !run.console.contains(*text))
        .collect();
    if missing.is_empty() && run.outcome == Outcome::Reset {
        return check_memory(&run.console, setup.memory);
    }
    Err(format!(
        "{}; not printed: {missing:?}; console:\n{}",
        run.outcome, run.console
    )
    .into())
}

/// The kernel must have found nearly all of the memory, and no more than there is.
fn check_memory(console: &str, memory: u64) -> TestResult {
    let line = console
        .lines()
        .find_map(|line| line.trim().strip_prefix("memory total: "));
    let kib: u64 = line
        .and_then(|line| line.strip_suffix(" KiB"))
        .ok_or("no memory total")?
        .parse()?;
    let total = memory >> 10;
    if (total / 10 * 8..=total).contains(&kib) {
        return Ok(());
    }
    Err(format!("the guest found {kib} KiB of {total} KiB").into())
}
