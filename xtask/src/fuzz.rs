//! `cargo xtask fuzz`: runs the targets of `fuzz/`.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::cargo;
use crate::error::{Error, WithPath as _};
use crate::packages::{self, Package};
use crate::parallel;
use crate::process;
use crate::progress::{Step, print_status};
use crate::toolchain;
use crate::tools;
use crate::workspace::Workspace;

/// The compiler of libFuzzer.
const COMPILER: Package = Package::program("g++", "c++");

/// Limits per input: more memory or more seconds count as a crash.
const LIMITS: [&str; 2] = ["-rss_limit_mb=512", "-timeout=10"];

/// How much a run shows of what libFuzzer prints.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Output {
    /// A line for each new input, and the totals.
    Progress,
    /// The totals.
    Totals,
}

/// Writes the seeds and runs each target for some seconds: one after the other if the progress is shown, otherwise as many at a time as this machine has
/// processors.
pub(crate) fn run(
    workspace: &Workspace,
    targets: &[String],
    seconds: u32,
    output: Output,
) -> Result<(), Error> {
    let cargo_fuzz = ensure(workspace)?;
    seeds(workspace)?;
    let targets = if targets.is_empty() {
        list(workspace, &cargo_fuzz)?
    } else {
        targets.to_vec()
    };
    let run = |target: &str| {
        let mut command = nightly(workspace, &cargo_fuzz);
        command
            .args(["run", target, "--target-dir"])
            .arg(workspace.xtask("fuzz"));
        command.args([
            "--",
            &format!("-max_total_time={seconds}"),
            "-print_final_stats=1",
        ]);
        command.args(LIMITS);
        command
    };
    match output {
        Output::Progress => targets.iter().try_for_each(|target| {
            print_status(&format!("fuzzing {target} for {seconds} s"));
            process::run_shown(&mut run(target))
        }),
        Output::Totals => {
            build(workspace, &cargo_fuzz)?;
            let results = parallel::map(targets, |target| {
                let log = workspace.log(&format!("fuzz-{target}"))?;
                process::run_logged(run(&target).arg("-verbosity=0"), &log)?;
                let inputs = executed_inputs(&fs::read_to_string(&log).with_path(&log)?);
                let Some(inputs) = inputs.filter(|count| *count > 0) else {
                    let message = format!("the fuzz target {target} ran no input, see {}", log.display());
                    return Err(Error::Tests { message });
                };
                println!("fuzz {target}: {inputs} inputs in {seconds} s");
                Ok(())
            });
            results.into_iter().collect()
        }
    }
}

/// The number of inputs that libFuzzer reports.
fn executed_inputs(log: &str) -> Option<u64> {
    let mut lines = log.lines();
    lines.find_map(|line| {
        line.strip_prefix("stat::number_of_executed_units:")?
            .trim()
            .parse()
            .ok()
    })
}

/// Builds all targets.
fn build(workspace: &Workspace, cargo_fuzz: &Path) -> Result<(), Error> {
    let mut command = nightly(workspace, cargo_fuzz);
    command
        .args(["build", "--target-dir"])
        .arg(workspace.xtask("fuzz"));
    let _step = Step::start("building the fuzz targets");
    process::run_logged(&mut command, &workspace.log("build-fuzz")?)
}

/// Installs the compiler of libFuzzer if it is missing.
pub(crate) fn ensure_compiler(workspace: &Workspace) -> Result<(), Error> {
    packages::ensure(workspace, &[COMPILER])
}

/// Installs cargo-fuzz if it is missing, and returns its path.
pub(crate) fn ensure(workspace: &Workspace) -> Result<PathBuf, Error> {
    ensure_compiler(workspace)?;
    tools::ensure(workspace, "cargo-fuzz")
}

/// Writes the seeds of every target into its corpus.
fn seeds(workspace: &Workspace) -> Result<(), Error> {
    let mut command = cargo::command(workspace);
    command
        .current_dir(workspace.root().join("fuzz"))
        .args(["run", "--package", "fuzz-seeds", "--target-dir"])
        .arg(workspace.xtask("fuzz"));
    let _step = Step::start("writing the seeds of the fuzz targets");
    process::run_logged(&mut command, &workspace.log("fuzz-seeds")?)
}

/// The names of all targets.
fn list(workspace: &Workspace, cargo_fuzz: &Path) -> Result<Vec<String>, Error> {
    let mut command = Command::new(cargo_fuzz);
    command.args(["fuzz", "list"]).current_dir(workspace.root());
    let output = process::output(&mut command, &workspace.log("fuzz-list")?)?;
    Ok(String::from_utf8_lossy(&output)
        .lines()
        .map(str::to_owned)
        .collect())
}

/// cargo-fuzz with a compiler that supports sanitizers: rustup's nightly if installed, otherwise the stable one with
/// `RUSTC_BOOTSTRAP`.
fn nightly(workspace: &Workspace, cargo_fuzz: &Path) -> Command {
    let mut command = Command::new(cargo_fuzz);
    command.arg("fuzz").current_dir(workspace.root());
    // Memory that is free stays in a quarantine, by default of 256 MiB, which would count as memory of the target.
    command.env("ASAN_OPTIONS", "quarantine_size_mb=64");
    if toolchain::of_rustup(workspace, |name| name.starts_with("nightly")).is_some() {
        command
            .env("RUSTUP_TOOLCHAIN", "nightly")
            .env_remove("CARGO")
            .env_remove("RUSTC");
    } else {
        command.env("RUSTC_BOOTSTRAP", "1");
    }
    command
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_number_of_inputs_is_one_of_the_totals() {
        let log = "Done 42 runs in 5 second(s)\nstat::number_of_executed_units: 42\nstat::average_exec_per_sec: 8\n";
        assert_eq!(executed_inputs(log), Some(42));
        assert_eq!(executed_inputs("INFO: seed"), None);
    }
}
