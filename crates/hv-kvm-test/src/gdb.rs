//! gdb as a child process.

use std::{
    error::Error,
    process::{Command, Stdio},
    thread,
    time::{Duration, Instant},
};

/// A test with its name.
pub type Test = (&'static str, fn() -> crate::CheckResult);

/// A gdb for all architectures.
const GDB: &str = "gdb-multiarch";

/// Reason why tests with gdb cannot run.
#[must_use]
pub fn skip_reason() -> Option<String> {
    missing(GDB)
}

/// Reason why tests with a program cannot run.
#[must_use]
pub fn missing(program: &str) -> Option<String> {
    let error = Command::new(program)
        .arg("--version")
        .stdin(Stdio::null())
        .output()
        .err()?;
    Some(format!("{program} cannot be started: {error}"))
}

/// A gdb that executes these commands.
#[must_use]
pub fn command(commands: &[String]) -> Command {
    let mut gdb = Command::new(GDB);
    gdb.args(["-nx", "-batch", "-ex", "set width 0", "-ex", "set confirm off"]);
    for command in commands {
        gdb.args(["-ex", command]);
    }
    gdb.stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    gdb
}

/// The output of a gdb, which has to end within a minute.
///
/// # Errors
///
/// It cannot be started.
pub fn run(mut gdb: Command) -> Result<String, Box<dyn Error + Send + Sync>> {
    let mut child = gdb.spawn()?;
    let deadline = Instant::now() + Duration::from_mins(1);
    while child.try_wait()?.is_none() {
        if Instant::now() > deadline {
            child.kill()?;
            break;
        }
        thread::sleep(Duration::from_millis(20));
    }
    let output = child.wait_with_output()?;
    let text = [output.stdout, output.stderr].concat();
    Ok(String::from_utf8_lossy(&text).into_owned())
}

/// Checks that the lines with these texts are in the output, in this order.
///
/// # Errors
///
/// The first text without a line in its place, with the output.
pub fn expect_lines(output: &str, expected: &[String]) -> Result<(), Box<dyn Error>> {
    let mut lines = output.lines();
    for text in expected {
        if !lines.any(|line| line.contains(text)) {
            return Err(format!("no line with {text:?} in its place:\n{output}").into());
        }
    }
    Ok(())
}
