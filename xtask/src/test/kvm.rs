//! Tests that need KVM: programs of targets named `kvm_*`, run on this machine or in the lab.

use std::io::{Write as _, stderr};
use std::path::Path;
use std::time::Duration;

use lab_init::Ending;

use super::libtest::Parser;
use super::metadata;
use super::results::Case;
use crate::arch::ArchRow;
use crate::build;
use crate::error::{At as _, Error};
use crate::place::{Arg, Host, Job, Place, Report, Task};
use crate::progress::{Step, say};
use crate::workspace::Workspace;

/// Time for one test program; each of its tests has a deadline of its own.
const DEADLINE: Duration = Duration::from_mins(25);

/// Builds the programs, runs them and gives the results of each test.
pub(super) fn run(
    workspace: &Workspace,
    row: &'static ArchRow,
    host: Host,
    fixtures: &Path,
    filter: Option<&str>,
) -> Result<Vec<Case>, Error> {
    let place = Place::choose(workspace, row, host)?;
    let programs = build_programs(workspace, row)?;
    // Tests that share few processors would only run into their deadlines side by side.
    let mut args: Vec<Arg> = ["--test-threads=1", "--color=never"].map(Arg::from).into();
    args.extend(filter.map(Arg::from));
    let tasks = programs.iter().map(|(_, executable)| Task {
        executable: executable.clone(),
        args: args.clone(),
        deadline: DEADLINE,
    });
    let job = Job {
        tasks: tasks.collect(),
        fixtures: Some(fixtures.to_path_buf()),
    };
    say(&format!(
        "running {} test programs on {}",
        programs.len(),
        place.name()
    ));
    let mut reader = Reader::default();
    let outcome = place.run(workspace, &job, &mut |report| {
        match report {
            Report::Ready(uptime) => say(&format!("the KVM host machine is up after {uptime:.1?}")),
            Report::Started(index) => reader.start(programs.get(index).map_or("", |(name, _)| name)),
            Report::Stdout(bytes) => reader.output(bytes),
            Report::Stderr(bytes) => stderr().write_all(bytes).at(Path::new("the terminal"))?,
            Report::Ended(ending) => reader.end(ending),
        }
        Ok(())
    });
    let mut cases = reader.finish();
    // The tests that ran have results; that the others did not run is one more.
    cases.extend(
        outcome
            .err()
            .map(|error| Case::failed(place.name(), "every program runs", error.to_string())),
    );
    Ok(cases)
}

/// Builds every program that needs KVM, statically linked.
fn build_programs(workspace: &Workspace, row: &ArchRow) -> Result<Vec<(String, std::path::PathBuf)>, Error> {
    let tests = metadata::integration_tests(workspace)?.kvm;
    if tests.is_empty() {
        return Ok(Vec::new());
    }
    let mut command = build::static_cargo(workspace, row, "test")?;
    command.arg("--no-run");
    for (package, name) in &tests {
        command.args(["--package", package, "--test", name]);
    }
    // Without optimisation an emulated machine takes minutes to copy a kernel; assertions and overflow checks stay.
    command
        .env("CARGO_PROFILE_DEV_OPT_LEVEL", "2")
        .env("CARGO_PROFILE_DEV_DEBUG", "line-tables-only");
    let _step = Step::start("building the tests that need KVM");
    metadata::test_programs(workspace, &mut command)
}

/// Reads the output of programs that run one after the other.
#[derive(Debug, Default)]
struct Reader {
    parser: Parser,
    /// Output since the last end of a line.
    partial: Vec<u8>,
}

impl Reader {
    fn start(&mut self, name: &str) {
        println!("\n{name}:");
        self.parser.start(name);
    }

    fn output(&mut self, bytes: &[u8]) {
        self.partial.extend_from_slice(bytes);
        while let Some(end) = self.partial.iter().position(|byte| *byte == b'\n') {
            let line: Vec<u8> = self.partial.drain(..=end).collect();
            self.line(&line);
        }
    }

    fn line(&mut self, line: &[u8]) {
        let line = String::from_utf8_lossy(line);
        let line = line.trim_end_matches(['\n', '\r']);
        println!("{line}");
        self.parser.line(line);
    }

    fn end(&mut self, ending: Ending) {
        let rest = std::mem::take(&mut self.partial);
        if !rest.is_empty() {
            self.line(&rest);
        }
        self.parser.end(&format!("the program {ending}"));
    }

    fn finish(self) -> Vec<Case> {
        self.parser.finish()
    }
}

#[cfg(test)]
mod tests {
    use super::super::results::Outcome;
    use super::*;

    #[test]
    fn output_is_read_in_any_pieces() {
        let mut reader = Reader::default();
        reader.start("kvm_x");
        for piece in [
            "running 2 te",
            "sts\ntest a ... ",
            "ok\r\ntest b ... FAI",
            "LED\ntest result: FAILED.",
        ] {
            reader.output(piece.as_bytes());
        }
        reader.end(Ending::Exited(101));
        let outcomes: Vec<_> = reader.finish().into_iter().map(|case| case.outcome).collect();
        assert_eq!(outcomes, [Outcome::Passed, Outcome::Failed(String::new())]);
    }

    #[test]
    fn a_killed_program_fails_the_test_that_ran() {
        let mut reader = Reader::default();
        reader.start("kvm_x");
        reader.output(b"test a ... ");
        reader.end(Ending::DeadlinePassed);
        let cases = reader.finish();
        assert_eq!(cases.len(), 1);
        assert_eq!(cases[0].name, "a");
        assert!(matches!(&cases[0].outcome, Outcome::Failed(message) if message.contains("deadline")));
    }
}
