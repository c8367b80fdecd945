//! Tests that run on this machine: everything that `cargo test` runs, except tests that need KVM.

use std::io::{self, BufRead as _, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError};
use std::thread;
use std::time::Duration;

use super::libtest::Parser;
use super::results::Case;
use crate::cargo;
use crate::error::{Error, WithPath as _};
use crate::fixtures;
use crate::metadata;
use crate::packages::{self, Package};
use crate::process::{self, Running};
use crate::progress::print_status;
use crate::timing::Timings;
use crate::workspace::Workspace;

/// Programs that tests use: to check device trees and ACPI tables, to read ELF and PE files, to compress kernels, to debug guests, and to compile the header
/// of guests in C.
const PROGRAMS: [Package; 8] = [
    Package::program("device-tree-compiler", "dtc"),
    Package::program("acpica-tools", "iasl"),
    Package::program("binutils", "readelf"),
    Package::program("bzip2", "bzip2"),
    Package::program("lzop", "lzop"),
    Package::program("gdb-multiarch", "gdb-multiarch"),
    Package::program("gcc", "cc"),
    Package::file("libc6-dev", "/usr/include/stdio.h"),
];

/// Time without output after which a program is killed. libtest prints a line when a test takes over a minute, but only once.
const MAX_SILENCE: Duration = Duration::from_mins(10);

/// Runs the tests and returns the result of each.
pub(super) fn run(
    workspace: &Workspace,
    fixtures: &Path,
    filter: Option<&str>,
    timings: &mut Timings,
) -> Result<Vec<Case>, Error> {
    // Without one of them, the tests that use it count as skipped.
    if let Err(error) = packages::ensure(workspace, &PROGRAMS) {
        print_status(&format!("going on without them: {error}"));
    }
    let tests = metadata::integration_tests(workspace)?;
    let mut programs = cargo_test(workspace, fixtures);
    programs.args(["--lib", "--bins"]);
    programs.args(tests.host.iter().flat_map(|name| ["--test", name]));
    let mut docs = cargo_test(workspace, fixtures);
    docs.arg("--doc");
    // The guests' libraries and the init program, which run on any machine.
    let mut guests = cargo_test(workspace, fixtures);
    guests
        .args(["--lib", "--bin", "init", "--target-dir"])
        .arg(workspace.xtask("guests-host"))
        .current_dir(workspace.root().join("guests"));
    // The default members of the firmware's workspace; the binaries build for bare metal only.
    let mut firmware = cargo::command(workspace);
    firmware
        .args(["test", "--no-fail-fast", "--lib", "--target-dir"])
        .arg(workspace.xtask("firmware-host"))
        .current_dir(workspace.root().join("firmware"));
    let mut cases = Vec::new();
    for (name, command) in [
        ("programs", &mut programs),
        ("docs", &mut docs),
        ("guests", &mut guests),
        ("firmware", &mut firmware),
    ] {
        command.args(filter);
        cases.extend(timings.measure(format!("host {name}"), || run_cargo(command, MAX_SILENCE))?);
    }
    Ok(cases)
}

fn cargo_test(workspace: &Workspace, fixtures: &Path) -> Command {
    let mut command = cargo::command(workspace);
    command
        .args(["test", "--workspace", "--no-fail-fast"])
        .env(fixtures::VARIABLE, fixtures);
    command
}

/// Runs one `cargo test`, shows its output and reads the results. A test program that prints nothing for `max_silence` is
/// killed; its current test has then failed, and cargo goes on with the next program.
fn run_cargo(command: &mut Command, max_silence: Duration) -> Result<Vec<Case>, Error> {
    // cargo prints the programs' names to standard error, the programs print to standard output: one pipe keeps the order.
    let pipe = Path::new("a pipe");
    let (reader, writer) = io::pipe().with_path(pipe)?;
    command
        .stdin(Stdio::null())
        .stdout(writer.try_clone().with_path(pipe)?)
        .stderr(writer);
    let mut running = Running::start(command)?;
    // The command holds write ends of the pipe; without them the pipe ends when the programs do.
    command.stdout(Stdio::null()).stderr(Stdio::null());
    let lines = read_lines(reader);
    let mut parser = Parser::default();
    loop {
        match lines.recv_timeout(max_silence) {
            Ok(line) => {
                let line = String::from_utf8_lossy(&line.with_path(pipe)?).into_owned();
                println!("{line}");
                match program(&line) {
                    Some(name) => parser.start(&name),
                    None => parser.line(&line),
                }
            }
            Err(RecvTimeoutError::Timeout) => {
                parser.end(&format!(
                    "killed after {} s without output",
                    max_silence.as_secs()
                ));
                for child in process::children(running.id())? {
                    process::kill(child);
                }
            }
            Err(RecvTimeoutError::Disconnected) => break,
        }
    }
    let status = running.wait()?;
    parser.end("it ended early");
    let has_failures = parser.has_failures();
    let mut cases = parser.finish();
    if !status.success() && !has_failures {
        let message = format!("{} failed ({status}), see above", process::describe(command));
        cases.push(Case::failed("cargo test", "everything builds and runs", message));
    }
    Ok(cases)
}

/// Reads the lines of `reader` on a thread of its own.
fn read_lines(reader: io::PipeReader) -> Receiver<io::Result<Vec<u8>>> {
    let (sender, lines) = mpsc::channel();
    thread::spawn(move || {
        for line in BufReader::new(reader).split(b'\n') {
            if sender.send(line).is_err() {
                break;
            }
        }
    });
    lines
}

/// The test program that cargo announces in this line, such as
/// `     Running unittests src/lib.rs (target/debug/deps/boot_core-0123456789abcdef)`, or `   Doc-tests boot_core`.
fn program(line: &str) -> Option<String> {
    let line = line.trim_start();
    if let Some(name) = line.strip_prefix("Doc-tests ") {
        return Some(format!("{name} (doc)"));
    }
    let (source, executable) = line
        .strip_prefix("Running ")?
        .strip_suffix(')')?
        .split_once(" (")?;
    let stem = Path::new(executable).file_stem()?.to_str()?;
    let (name, _hash) = stem.rsplit_once('-')?;
    Some(if source.starts_with("unittests ") {
        name.to_owned()
    } else {
        format!("{name} ({source})")
    })
}

#[cfg(test)]
mod tests {
    use super::super::results::Outcome;
    use super::*;

    #[test]
    fn cargo_announces_programs() {
        for (line, expected) in [
            (
                "     Running unittests src/lib.rs (target/debug/deps/boot_core-0123456789abcdef)",
                Some("boot_core"),
            ),
            (
                "     Running tests/cli.rs (/t/debug/deps/cli-0123)",
                Some("cli (tests/cli.rs)"),
            ),
            ("   Doc-tests guest_ram", Some("guest_ram (doc)")),
            ("running 3 tests", None),
            ("Running late (again)", None),
            ("   Compiling boot-core v0.1.0 (/src/boot-core)", None),
        ] {
            assert_eq!(program(line).as_deref(), expected, "{line}");
        }
    }

    #[test]
    fn output_is_read_program_by_program() {
        let script = "echo '     Running unittests src/lib.rs (t/deps/a-1)' >&2; echo 'test x ... ok'; \
                      echo 'test result: ok.'; echo '     Running tests/b.rs (t/deps/b-2)' >&2; exit 101";
        let cases = run_cargo(Command::new("sh").args(["-c", script]), MAX_SILENCE).unwrap();
        let seen: Vec<_> = cases
            .iter()
            .map(|case| (case.suite.as_str(), case.name.as_str()))
            .collect();
        assert_eq!(
            seen,
            [("a", "x"), ("b (tests/b.rs)", "the program runs to its end")]
        );
    }

    #[test]
    fn a_silent_program_is_killed() {
        let script = "echo '     Running unittests src/lib.rs (t/deps/a-1)'; echo 'test x ... ok'; \
                      echo 'test y has been running for over 60 seconds'; sleep 1000; \
                      echo '     Running unittests src/lib.rs (t/deps/b-2)'; echo 'test z ... ok'; \
                      echo 'test result: ok.'; exit 101";
        let mut command = Command::new("sh");
        command.args(["-c", script]);
        let cases = run_cargo(&mut command, Duration::from_millis(200)).unwrap();
        let seen: Vec<_> = cases
            .iter()
            .map(|case| (case.suite.as_str(), case.name.as_str(), case.outcome.clone()))
            .collect();
        let killed = "no outcome: killed after 0 s without output".to_owned();
        assert_eq!(
            seen,
            [
                ("a", "x", Outcome::Passed),
                ("a", "y", Outcome::Failed(killed)),
                ("b", "z", Outcome::Passed)
            ]
        );
    }

    #[test]
    fn a_build_that_fails_is_a_failure() {
        let cases = run_cargo(
            Command::new("sh").args(["-c", "echo 'error: no' >&2; exit 101"]),
            MAX_SILENCE,
        )
        .unwrap();
        assert_eq!(cases.len(), 1);
        assert_eq!(cases[0].name, "everything builds and runs");
    }
}
