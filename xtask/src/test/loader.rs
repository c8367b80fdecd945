//! The conformance guest under another loader than ours: QEMU's own `-kernel`, emulating.
//!
//! Were a check of the guest wrong in the same way as our loader, both would agree. QEMU's loader was written by others.

use std::fs;
use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread;
use std::time::Duration;

use contract::{Blob, Digest, Entry, Expectation, Image, Seal};

use super::results::{Case, Outcome};
use crate::arch::ArchRow;
use crate::error::{At as _, Error};
use crate::packages::{self, Package};
use crate::process::{self, Running};
use crate::workspace::Workspace;

/// Builds that QEMU boots by PVH.
const BUILDS: [&str; 3] = [
    "conformance-pvh.elf",
    "conformance-pvh32.elf",
    "conformance-pvh-reloc.elf",
];

/// Time for one run; it takes a second on an idle machine.
const DEADLINE: Duration = Duration::from_mins(2);

/// QEMU's exit code after the guest wrote 0x10, its word for success, to the debug-exit port: the value doubled, plus
/// one.
const SUCCESS: i32 = 0x10 << 1 | 1;

/// The machine.
const MACHINE: [&str; 10] = [
    "-machine",
    "q35,accel=tcg",
    "-m",
    "256",
    "-nodefaults",
    "-no-reboot",
    "-display",
    "none",
    "-device",
    "isa-debug-exit,iobase=0xf4,iosize=4",
];

/// Runs every build with and without an initrd. Each clause that the guest checks is a test.
pub(super) fn run(
    workspace: &Workspace,
    row: &ArchRow,
    fixtures: &Path,
    filter: Option<&str>,
) -> Result<Vec<Case>, Error> {
    packages::ensure(workspace, &[Package::program(row.qemu.package, row.qemu.program)])?;
    let initrd = fixtures.join("initrd").join(row.name).join("payload.bin");
    let mut cases = Vec::new();
    for build in BUILDS {
        let kernel = fixtures.join("guests").join(row.name).join(build);
        for initrd in [None, Some(&initrd)] {
            let suite = format!(
                "{build} {}",
                if initrd.is_some() { "with initrd" } else { "alone" }
            );
            let (output, code) = boot(row, &kernel, initrd)?;
            let found = read(&suite, &output, code);
            cases.extend(found.into_iter().filter(|case| {
                filter.is_none_or(|filter| case.suite.contains(filter) || case.name.contains(filter))
            }));
        }
    }
    for case in &cases {
        let word = if case.outcome == Outcome::Passed {
            "ok"
        } else {
            "FAILED"
        };
        println!("test {}: {} ... {word}", case.suite, case.name);
    }
    Ok(cases)
}

/// What the guest has to find, as its command line.
fn command_line(initrd: Option<&[u8]>) -> String {
    let initrd = initrd.map_or(Blob::Absent, |bytes| Blob::Present(Digest::of(bytes)));
    let expectation = Expectation {
        entry: Some(Entry::Pvh),
        image: Some(Image::Elf),
        initrd: Some(initrd),
        ..Expectation::default()
    };
    let sealed = format!("mode=exit {expectation} ");
    let seal = Seal::over(sealed.as_bytes());
    sealed + &seal.to_string()
}

/// Boots the guest; gives what it printed and QEMU's exit code, which is absent when QEMU had to be stopped.
fn boot(row: &ArchRow, kernel: &Path, initrd: Option<&PathBuf>) -> Result<(String, Option<i32>), Error> {
    let bytes = initrd.map(|path| fs::read(path).at(path)).transpose()?;
    let mut command = Command::new(row.qemu.program);
    command
        .args(MACHINE)
        .args(["-serial", "stdio", "-append", &command_line(bytes.as_deref())]);
    command.arg("-kernel").arg(kernel);
    if let Some(initrd) = initrd {
        command.arg("-initrd").arg(initrd);
    }
    command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::inherit());
    let mut running = Running::start(&mut command)?;
    let id = running.id();
    let (alive, stop) = mpsc::channel::<()>();
    let watchdog = thread::spawn(move || {
        if stop.recv_timeout(DEADLINE) == Err(RecvTimeoutError::Timeout) {
            process::kill(id);
        }
    });
    let mut output = Vec::new();
    if let Some(stdout) = running.child().stdout.as_mut() {
        stdout.read_to_end(&mut output).at(kernel)?;
    }
    drop(alive);
    // A watchdog cannot fail: it only waits and kills.
    let _: thread::Result<()> = watchdog.join();
    let code = running.wait()?.code();
    Ok((String::from_utf8_lossy(&output).into_owned(), code))
}

/// Reads the guest's lines `ok NAME` and `FAIL NAME: found …`, and holds its total and exit code against them.
fn read(suite: &str, output: &str, code: Option<i32>) -> Vec<Case> {
    let case = |name: &str, outcome| Case {
        suite: suite.to_owned(),
        name: name.to_owned(),
        outcome,
    };
    let mut cases = Vec::new();
    for line in output.lines() {
        if let Some(name) = line.strip_prefix("ok ") {
            cases.push(case(name.trim_end(), Outcome::Passed));
        } else if let Some((name, message)) =
            line.strip_prefix("FAIL ").and_then(|rest| rest.split_once(": "))
        {
            cases.push(case(name, Outcome::Failed(message.trim_end().to_owned())));
        }
    }
    let failed = cases
        .iter()
        .filter(|case| case.outcome != Outcome::Passed)
        .count();
    let total = format!("conformance: {} ok, {failed} failed", cases.len() - failed);
    let has_total = output.lines().any(|line| line.trim_end() == total);
    let expected = if failed == 0 {
        code == Some(SUCCESS)
    } else {
        code.is_some() && code != Some(SUCCESS)
    };
    let ending = if has_total && expected {
        Outcome::Passed
    } else {
        Outcome::Failed(format!(
            "expected {total:?} and QEMU's exit code {SUCCESS}, got {code:?} and\n{output}"
        ))
    };
    cases.push(case("the guest comes to its end", ending));
    cases
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Reads this output and gives the names of the failed cases and the number of passed ones.
    fn check(output: &str, code: Option<i32>, failed: &[&str], passed: usize) {
        let cases = read("suite", output, code);
        let found: Vec<_> = cases
            .iter()
            .filter(|case| case.outcome != Outcome::Passed)
            .map(|case| case.name.as_str())
            .collect();
        assert_eq!(found, failed, "{output}");
        assert_eq!(cases.len() - found.len(), passed, "{output}");
    }

    #[test]
    fn clauses_total_and_exit_code_must_agree() {
        let end = "the guest comes to its end";
        check(
            "ok a\r\nok b\r\nconformance: 2 ok, 0 failed\r\n",
            Some(33),
            &[],
            3,
        );
        check(
            "ok a\nFAIL b: found 1, expected 2\nconformance: 1 ok, 1 failed\n",
            Some(35),
            &["b"],
            2,
        );
        check(
            "ok a\nFAIL b: found 1, expected 2\nconformance: 1 ok, 1 failed\n",
            Some(33),
            &["b", end],
            1,
        );
        check("ok a\nok b\nconformance: 2 ok, 0 failed\n", Some(35), &[end], 2);
        check("ok a\nok b\nconformance: 3 ok, 0 failed\n", Some(33), &[end], 2);
        check("ok a\n", None, &[end], 1);
        check("", Some(0), &[end], 0);
    }

    #[test]
    fn the_guest_is_told_what_to_expect() {
        assert!(
            command_line(None).starts_with("mode=exit expect.entry=pvh expect.image=elf expect.initrd=none ")
        );
        assert!(!command_line(Some(b"x")).contains("none"));
    }
}
