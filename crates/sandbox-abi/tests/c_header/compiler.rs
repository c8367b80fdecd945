//! The C compiler.

use std::env;
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

/// A test: its name, and what it does.
pub(crate) type Test = (&'static str, fn() -> Result<(), String>);

/// The directory of the header.
fn include() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("include")
}

/// Name of the compiler: that of the environment variable `CC`, or `cc`.
fn name() -> String {
    env::var("CC").unwrap_or_else(|_| "cc".to_owned())
}

/// Reason why no test can run.
pub(crate) fn skip_reason() -> Option<String> {
    let name = name();
    let output = Command::new(&name).arg("--version").output();
    let error = output.err()?;
    Some(format!("there is no C compiler: {name}: {error}"))
}

/// The output of a command that succeeds, or an error with what it printed.
fn run(command: &mut Command) -> Result<String, String> {
    let Output {
        status,
        stdout,
        stderr,
    } = command
        .output()
        .map_err(|error| format!("{command:?}: {error}"))?;
    if !status.success() {
        let text = String::from_utf8_lossy(&stderr);
        return Err(format!("{command:?} failed ({status}): {text}"));
    }
    String::from_utf8(stdout).map_err(|error| format!("{command:?}: {error}"))
}

/// Compiles a program with the header, warnings being errors, and returns what it prints. `test` names its files.
fn output(test: &str, program: &str, options: &[&str]) -> Result<String, String> {
    let directory = Path::new(env!("CARGO_TARGET_TMPDIR"));
    let source = directory.join(format!("{test}.c"));
    let binary = directory.join(test);
    fs::write(&source, program).map_err(|error| format!("{}: {error}", source.display()))?;
    let mut command = Command::new(name());
    command
        .args(["-Wall", "-Wextra", "-Wpedantic", "-Werror"])
        .args(options);
    command
        .arg("-I")
        .arg(include())
        .arg("-o")
        .arg(&binary)
        .arg(&source);
    run(&mut command)?;
    run(&mut Command::new(&binary))
}

/// The text of a source after the preprocessor for assembly.
pub(crate) fn preprocessed(test: &str, source: &str) -> Result<String, String> {
    let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("{test}.S"));
    fs::write(&path, source).map_err(|error| format!("{}: {error}", path.display()))?;
    let mut command = Command::new(name());
    command.args(["-E", "-P", "-I"]).arg(include()).arg(&path);
    run(&mut command)
}

/// An expression of C, and its value.
pub(crate) type Value = (String, u64);

/// Compiles a program that prints the expressions, and compares each.
#[track_caller]
pub(crate) fn check(test: &str, before: &str, values: &[Value]) -> Result<(), String> {
    let mut program =
        format!("#include <stdio.h>\n#include \"vmboot_sandbox.h\"\n{before}\nint main(void)\n{{\n");
    for (expression, _) in values {
        // Writing to a string does not fail.
        let _ = writeln!(
            program,
            "    printf(\"%llu\\n\", (unsigned long long)({expression}));"
        );
    }
    program.push_str("    return 0;\n}\n");
    for standard in ["-std=c99", "-std=gnu17"] {
        let output = output(test, &program, &[standard])?;
        let found: Vec<&str> = output.lines().collect();
        if found.len() != values.len() {
            return Err(format!("{} values, expected {}", found.len(), values.len()));
        }
        for ((expression, expected), found) in values.iter().zip(found) {
            if found != expected.to_string() {
                return Err(format!(
                    "{standard}: {expression} is {found}, expected {expected}"
                ));
            }
        }
    }
    Ok(())
}

pub(crate) fn number(value: usize) -> u64 {
    u64::try_from(value).unwrap()
}
