//! Running `vmboot` and other commands.

use std::path::Path;
use std::process::{Command, Output};

/// Runs `vmboot`; its standard output if it succeeds, else its standard error.
pub(crate) fn vmboot(args: &[&str]) -> Result<String, String> {
    let output = run(Command::new(env!("CARGO_BIN_EXE_vmboot")).args(args));
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    if output.status.success() {
        Ok(text(output.stdout))
    } else {
        let error = text(output.stderr);
        let is_error = |line: &str| line.starts_with("error: ");
        assert!(error.lines().any(is_error), "{error}");
        Err(error)
    }
}

fn run(command: &mut Command) -> Output {
    command.output().unwrap()
}

/// Runs a shell command in `dir`, which must succeed.
pub(crate) fn shell(dir: &Path, command: &str) {
    let output = run(Command::new("sh").args(["-e", "-c", command]).current_dir(dir));
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{command}: {}: {error}", output.status);
}

/// The first of the tools of a shell command that is not installed.
pub(crate) fn missing_tool(command: &str) -> Option<&str> {
    command
        .split(['|', '&', ';'])
        .filter_map(|part| part.split_whitespace().next())
        .find(|tool| {
            let script = format!("command -v {tool}");
            !run(Command::new("sh").args(["-c", &script])).status.success()
        })
}

/// The texts in double quotes of a message.
pub(crate) fn quoted(message: &str) -> Vec<&str> {
    message.split('"').skip(1).step_by(2).collect()
}
