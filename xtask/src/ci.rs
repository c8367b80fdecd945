//! `cargo xtask ci`: what CI runs, in the order of what fails fastest.

use std::process::Command;

use crate::arch::ArchRow;
use crate::build;
use crate::cli::{CiArgs, TestArgs, TidyArgs};
use crate::error::Error;
use crate::fuzz;
use crate::place::Host;
use crate::process;
use crate::progress::say;
use crate::test;
use crate::tidy;
use crate::toolchain::BareMetal;
use crate::workspace::Workspace;

/// Crates that firmware can use.
const NO_STD: [&str; 7] = [
    "boot-core",
    "fmt-bzimage",
    "fmt-elf",
    "fmt-pe",
    "proto-fdt",
    "proto-linux-x86",
    "proto-pvh",
];

/// The targets that these are built for.
const BARE_TARGETS: [&str; 3] = [
    "x86_64-unknown-none",
    "aarch64-unknown-none-softfloat",
    "riscv64gc-unknown-none-elf",
];

/// Workspaces of their own, below the root.
const INNER_WORKSPACES: [&str; 2] = ["guests", "fuzz"];

/// A step: its name, and what it does.
type Step = (
    &'static str,
    fn(&Workspace, &[&'static ArchRow], &CiArgs) -> Result<(), Error>,
);

const STEPS: [Step; 7] = [
    ("format", |workspace, _, _| format(workspace)),
    ("house rules", |workspace, _, _| {
        tidy::run(workspace, &TidyArgs::default())
    }),
    ("lints", |workspace, _, _| lints(workspace)),
    ("docs", |workspace, _, _| docs(workspace)),
    ("bare-metal builds", |workspace, _, _| bare_metal(workspace)),
    ("tests", |workspace, rows, _| tests(workspace, rows)),
    ("fuzzing", |workspace, _, args| {
        fuzz::run(workspace, &[], args.fuzz_seconds)
    }),
];

/// Runs every step, also when one before it failed, and says at the end how each went.
pub(crate) fn run(workspace: &Workspace, rows: &[&'static ArchRow], args: &CiArgs) -> Result<(), Error> {
    let mut outcomes = Vec::new();
    for (name, step) in STEPS {
        say(&format!("ci: {name}"));
        let outcome = step(workspace, rows, args);
        if let Err(error) = &outcome {
            say(&format!("ci: {name} failed: {error}"));
        }
        outcomes.push((name, outcome.is_ok()));
    }
    for (name, is_ok) in &outcomes {
        say(&format!("ci: {name}: {}", if *is_ok { "ok" } else { "FAILED" }));
    }
    let failed: Vec<_> = outcomes
        .iter()
        .filter(|(_, is_ok)| !is_ok)
        .map(|(name, _)| *name)
        .collect();
    if failed.is_empty() {
        Ok(())
    } else {
        Err(Error::Tests {
            message: format!("failed: {}", failed.join(", ")),
        })
    }
}

fn format(workspace: &Workspace) -> Result<(), Error> {
    process::run_shown(build::cargo(workspace).args(["fmt", "--all", "--check"]))?;
    for inner in INNER_WORKSPACES {
        let mut command = build::cargo(workspace);
        command
            .current_dir(workspace.root().join(inner))
            .args(["fmt", "--all", "--check"]);
        process::run_shown(&mut command)?;
    }
    Ok(())
}

fn lints(workspace: &Workspace) -> Result<(), Error> {
    process::run_shown(build::cargo(workspace).args([
        "clippy",
        "--workspace",
        "--all-targets",
        "--",
        "--deny",
        "warnings",
    ]))?;
    // The programs of Linux guests, and the contract that host code shares with guests.
    let mut command = build::cargo(workspace);
    command.current_dir(workspace.root().join("guests"));
    command
        .args(["clippy", "--all-targets", "--target-dir"])
        .arg(workspace.xtask("guests"));
    process::run_shown(command.args(["--", "--deny", "warnings"]))
}

fn docs(workspace: &Workspace) -> Result<(), Error> {
    let mut command = build::cargo(workspace);
    command.args(["doc", "--workspace", "--no-deps"]);
    process::run_shown(command.env("RUSTDOCFLAGS", "--deny warnings"))
}

/// Builds the crates for firmware, without any feature.
fn bare_metal(workspace: &Workspace) -> Result<(), Error> {
    for target in BARE_TARGETS {
        let bare = BareMetal::ensure(workspace, target)?;
        let mut command: Command = bare.cargo(workspace, "build");
        command.arg("--no-default-features");
        command.args(NO_STD.iter().flat_map(|name| ["--package", name]));
        process::run_shown(&mut command)?;
    }
    Ok(())
}

fn tests(workspace: &Workspace, rows: &[&'static ArchRow]) -> Result<(), Error> {
    test::run(
        workspace,
        rows,
        &TestArgs {
            host: Host::Auto,
            tiers: Vec::new(),
            filter: None,
        },
    )
}
