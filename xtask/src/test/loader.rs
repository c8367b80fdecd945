//! Runs the conformance guest under an independent loader, QEMU's `-kernel`, with TCG.
//!
//! A check of the guest that is wrong in the same way as our loader passes under our loader, and fails here.

pub(crate) mod machines;
pub(super) mod values;

use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use contract::{Blob, CmdlineDigest, Digest, Entry, Expectation};

use self::machines::{Build, Loader};
use self::values::Values;
use super::results::{Case, Outcome};
use crate::arch::ArchRow;
use crate::error::{Error, WithPath as _};
use crate::process;
use crate::qemu::Emulator;
use crate::workspace::Workspace;

/// Deadline of one run, which takes a few seconds on an idle machine.
const DEADLINE: Duration = Duration::from_mins(2);

/// Runs every build on every machine, with and without an initrd. Each clause that the guest checks is a test.
pub(super) fn run(
    workspace: &Workspace,
    row: &ArchRow,
    fixtures: &Path,
    filter: Option<&str>,
) -> Result<Vec<Case>, Error> {
    let initrd = fixtures.join("initrd").join(row.name).join("payload.bin");
    let initrd_bytes = fs::read(&initrd).with_path(&initrd)?;
    let mut cases = Vec::new();
    for loader in row.loaders {
        let emulator = loader.qemu.ensure(workspace)?;
        for build in loader.builds {
            let kernel = fixtures.join("guests").join(row.name).join(build.file);
            let with_initrd = build.takes_initrd.then_some(&initrd);
            for initrd in [None].into_iter().chain(with_initrd.map(Some)) {
                let alone = if initrd.is_some() { "with initrd" } else { "alone" };
                let suite = format!("{} on {}, {alone}", build.file, loader.machine);
                let bytes = initrd.map(|_| initrd_bytes.as_slice());
                let line = loader.own_command_line(build, &kernel, bytes);
                let mut command = loader.qemu(&emulator);
                command.args(["-append", &line, "-kernel"]).arg(&kernel);
                if let Some(initrd) = initrd {
                    command.arg("-initrd").arg(initrd);
                }
                let (output, code) = boot(&mut command)?;
                let found = read(&suite, &output, code, loader.exit_codes);
                cases.extend(found.into_iter().filter(|case| {
                    filter.is_none_or(|filter| case.suite.contains(filter) || case.name.contains(filter))
                }));
            }
        }
    }
    for case in &cases {
        print(case);
    }
    Ok(cases)
}

/// Prints the line of a test.
pub(super) fn print(case: &Case) {
    let word = match case.outcome {
        Outcome::Passed => "ok",
        Outcome::Failed(_) => "FAILED",
        Outcome::Skipped(_) => "skipped",
    };
    println!("test {}: {} ... {word}", case.suite, case.name);
}

impl Loader {
    /// The command line for QEMU's own loader.
    fn own_command_line(&self, build: &Build, kernel: &Path, initrd: Option<&[u8]>) -> String {
        // As a Multiboot loader, QEMU puts the file name before the command line.
        let file_name = match build.entry {
            Entry::Multiboot => format!("{} ", kernel.display()),
            _ => String::new(),
        };
        self.command_line(build, initrd, &file_name, &Values::default())
    }

    /// The command line, which tells the guest what to expect; it sees `before` in front of it. `values` are those of the machine.
    pub(super) fn command_line(
        &self,
        build: &Build,
        initrd: Option<&[u8]>,
        before: &str,
        values: &Values,
    ) -> String {
        let initrd = initrd.map_or(Blob::Absent, |bytes| Blob::Present(Digest::of(bytes)));
        let expectation = Expectation {
            entry: Some(build.entry),
            image: Some(build.image),
            initrd: Some(initrd),
            irqchip: self.irqchip,
            cpus: self.cpus,
            ..values.expectation()
        };
        let prefix = format!("mode=exit {expectation} ");
        let digest = CmdlineDigest::of((before.to_owned() + &prefix).as_bytes());
        prefix + &digest.to_string()
    }

    /// The command that starts the machine, without a kernel.
    pub(super) fn qemu(&self, emulator: &Emulator) -> Command {
        let mut command = emulator.command();
        command.args(self.args).args([
            "-nodefaults",
            "-no-reboot",
            "-display",
            "none",
            "-serial",
            "stdio",
        ]);
        command
    }
}

/// Boots the guest. Returns its output and QEMU's exit code, which is `None` when QEMU was killed.
pub(super) fn boot(command: &mut Command) -> Result<(String, Option<i32>), Error> {
    process::output_until(command, DEADLINE)
}

/// Parses the guest's lines `ok NAME` and `FAIL NAME: found …`, and checks its total and exit code against them.
pub(super) fn read(suite: &str, output: &str, code: Option<i32>, (held, broken): (i32, i32)) -> Vec<Case> {
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
    let expected = if failed == 0 { held } else { broken };
    let ending = if has_total && code == Some(expected) {
        Outcome::Passed
    } else {
        Outcome::Failed(format!(
            "expected {total:?} and QEMU's exit code {expected}, got {code:?} and\n{output}"
        ))
    };
    cases.push(case("the guest comes to its end", ending));
    cases
}

#[cfg(test)]
mod tests {
    use clap::ValueEnum as _;

    use super::*;
    use crate::arch::Arch;

    /// Reads this output and gives the names of the failed cases and the number of passed ones.
    fn check(output: &str, code: Option<i32>, failed: &[&str], passed: usize) {
        let cases = read("suite", output, code, (33, 35));
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
        for (loader, initrd, expected) in [
            (
                &machines::X86_64[0],
                None,
                "mode=exit expect.entry=pvh expect.image=elf expect.initrd=none expect.cmdline=",
            ),
            (
                &machines::RISCV64[0],
                Some(b"x".as_slice()),
                "mode=exit expect.entry=riscv64 expect.image=image expect.initrd=1:0xaf63f54c86021707 \
                 expect.cpus=0x0,0x1 expect.irqchip=plic expect.cmdline=",
            ),
        ] {
            let line = loader.own_command_line(&loader.builds[0], Path::new("/kernel"), initrd);
            assert!(line.starts_with(expected), "{line}");
        }
    }

    #[test]
    fn every_machine_loads_something_that_is_built() {
        for arch in Arch::value_variants() {
            let row = arch.row();
            assert!(!row.loaders.is_empty(), "{arch}");
            for loader in row.loaders {
                assert!(!loader.builds.is_empty(), "{arch} {}", loader.machine);
                for build in loader.builds.iter().chain(loader.firmware_builds) {
                    assert!(
                        row.guests.iter().any(|guest| guest.produces(build.file)),
                        "{}",
                        build.file
                    );
                }
            }
        }
    }
}
