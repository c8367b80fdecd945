//! Tests that need KVM: programs of targets named `kvm_*`, run on this machine or in the lab.

use std::io::{Write as _, stderr};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use lab_init::Ending;

use super::libtest::Parser;
use super::results::Case;
use crate::arch::ArchRow;
use crate::build;
use crate::error::{Error, WithPath as _};
use crate::metadata;
use crate::parallel;
use crate::progress::{Step, print_status};
use crate::runner::job::{Arg, Job, Report, Task};
use crate::runner::{Host, Runner, RunnerKind};
use crate::timing::Timings;
use crate::workspace::Workspace;

/// Time for one test program; each of its tests has a deadline of its own.
const DEADLINE: Duration = Duration::from_mins(25);

/// Name of a run, and the result of each test.
type RunResults = (String, Result<Vec<Case>, Error>);

/// Builds the programs of every architecture and runs them on each of its machines. Emulated machines, which use one
/// processor each, run in parallel.
pub(super) fn run(
    workspace: &Workspace,
    rows: &[&'static ArchRow],
    host: Host,
    fixtures: &Path,
    filter: Option<&str>,
    timings: &mut Timings,
) -> Vec<RunResults> {
    let mut runs = Vec::new();
    for row in rows {
        let name = format!("kvm {}: build", row.name);
        match timings.measure(name, || prepare(workspace, row, host, filter)) {
            Ok(prepared) => runs.extend(prepared),
            Err(error) => runs.push((row.name.to_owned(), Err(error))),
        }
    }
    let is_single = runs.len() == 1;
    let done = parallel::map(runs, |(name, run)| {
        let prefix = if is_single {
            String::new()
        } else {
            format!("{name}: ")
        };
        let start = Instant::now();
        let cases = run.map(|run| run.execute(workspace, fixtures, prefix));
        ((name, cases), start.elapsed())
    });
    let add = |(results, elapsed): (RunResults, Duration)| {
        timings.add(format!("kvm {}", results.0), elapsed, Timings::default());
        results
    };
    done.into_iter().map(add).collect()
}

/// The test programs of an architecture, and a machine to run them on.
struct Run {
    runner: Runner,
    programs: Arc<[(String, PathBuf)]>,
    /// Arguments that select tests.
    selection: Vec<Arg>,
}

/// Name of a run, and the run or the error of its preparation.
type Prepared = (String, Result<Run, Error>);

/// Builds the programs of an architecture and prepares its machines, without those that run no test with `filter` in its name.
fn prepare(
    workspace: &Workspace,
    row: &'static ArchRow,
    host: Host,
    filter: Option<&str>,
) -> Result<Vec<Prepared>, Error> {
    let kinds = RunnerKind::all(row, host)?;
    let programs: Arc<[_]> = build_programs(workspace, row)?.into();
    let run = |kind: RunnerKind| {
        let selection = kind.tests().args(filter)?;
        let programs = Arc::clone(&programs);
        let run = kind.prepare(workspace, row).map(|runner| Run {
            runner,
            programs,
            selection: selection.into_iter().map(Arg::from).collect(),
        });
        Some((format!("{} on {kind}", row.name), run))
    };
    Ok(kinds.into_iter().filter_map(run).collect())
}

impl Run {
    /// Runs the programs and returns the result of each test.
    fn execute(&self, workspace: &Workspace, fixtures: &Path, prefix: String) -> Vec<Case> {
        let Self {
            runner,
            programs,
            selection,
        } = self;
        // One at a time: tests that share one processor would exceed their deadlines.
        let mut args: Vec<Arg> = ["--test-threads=1", "--color=never"].map(Arg::from).into();
        args.extend_from_slice(selection);
        let tasks = programs.iter().map(|(_, executable)| Task {
            executable: executable.clone(),
            args: args.clone(),
            deadline: DEADLINE,
        });
        let job = Job {
            tasks: tasks.collect(),
            fixtures: Some(fixtures.to_path_buf()),
        };
        print_status(&format!(
            "{prefix}running {} test programs on {}",
            programs.len(),
            runner.kind()
        ));
        let mut reader = Reader::new(prefix);
        let outcome = runner.run(workspace, &job, &mut |report| {
            match report {
                Report::Ready(uptime) => {
                    reader.print_status(&format!("the KVM host machine is ready after {uptime:.1?}"));
                }
                Report::Started(index) => reader.start(programs.get(index).map_or("", |(name, _)| name)),
                Report::Stdout(bytes) => reader.output(bytes),
                Report::Stderr(bytes) => stderr().write_all(bytes).with_path(Path::new("the terminal"))?,
                Report::Ended(ending) => reader.end(ending),
            }
            Ok(())
        });
        let mut cases = reader.finish();
        // An error of the run is one more failed test.
        let failure = |error: Error| {
            Case::failed(
                &runner.kind().to_string(),
                "every program runs",
                error.to_string(),
            )
        };
        cases.extend(outcome.err().map(failure));
        cases
    }
}

/// Builds every program that needs KVM, statically linked.
fn build_programs(workspace: &Workspace, row: &ArchRow) -> Result<Vec<(String, PathBuf)>, Error> {
    let mut tests = metadata::integration_tests(workspace)?.kvm;
    tests.retain(|test| test.is_for(row.name));
    if tests.is_empty() {
        return Ok(Vec::new());
    }
    let mut command = build::static_cargo(workspace, row, "test")?;
    command.arg("--no-run");
    for test in &tests {
        command.args(["--package", &test.package, "--test", &test.name]);
    }
    let _step = Step::start(format!("building the tests that need KVM for {}", row.std_target));
    metadata::test_programs(workspace, &mut command)
}

/// Reads the output of programs that run one after the other.
#[derive(Debug, Default)]
struct Reader {
    /// What every line starts with on the terminal.
    prefix: String,
    parser: Parser,
    /// Output since the last end of a line.
    partial: Vec<u8>,
}

impl Reader {
    fn new(prefix: String) -> Self {
        Self {
            prefix,
            ..Self::default()
        }
    }

    fn print_status(&self, message: &str) {
        print_status(&format!("{}{message}", self.prefix));
    }

    fn start(&mut self, name: &str) {
        println!("{}{name}:", self.prefix);
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
        println!("{}{line}", self.prefix);
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
