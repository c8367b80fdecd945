//! `cargo xtask ci`: what CI runs, in the order of what fails fastest.

use std::process::Command;
use std::time::Instant;

use crate::arch::ArchRow;
use crate::build;
use crate::cli::{CiArgs, TestArgs};
use crate::error::Error;
use crate::fuzz;
use crate::metadata;
use crate::msrv;
use crate::place::Host;
use crate::process;
use crate::progress::{Step as Progress, say};
use crate::test;
use crate::timing::Timings;
use crate::toolchain::BareMetal;
use crate::workspace::Workspace;

/// The targets that the crates for firmware are built for.
const BARE_TARGETS: [&str; 3] = [
    "x86_64-unknown-none",
    "aarch64-unknown-none-softfloat",
    "riscv64gc-unknown-none-elf",
];

/// Workspaces of their own, below the root.
const INNER_WORKSPACES: [&str; 2] = ["guests", "fuzz"];

/// A step: its name, and what it does. It may name the parts that its time goes into.
type Step = (
    &'static str,
    fn(&Workspace, &[&'static ArchRow], &CiArgs, &mut Timings) -> Result<(), Error>,
);

const STEPS: [Step; 8] = [
    ("format", |workspace, _, _, _| format(workspace)),
    ("lints", |workspace, _, _, parts| lints(workspace, parts)),
    ("docs", |workspace, _, _, _| docs(workspace)),
    ("bare-metal builds", |workspace, _, _, _| bare_metal(workspace)),
    ("oldest Rust", |workspace, _, _, _| msrv::run(workspace)),
    ("packages", |workspace, _, _, _| packages(workspace)),
    ("tests", |workspace, rows, _, parts| tests(workspace, rows, parts)),
    ("fuzzing", |workspace, _, args, _| {
        fuzz::run(workspace, &[], args.fuzz_seconds)
    }),
];

/// Runs every step, also when one before it failed. Ends with a table of how each went and how long it took.
pub(crate) fn run(workspace: &Workspace, rows: &[&'static ArchRow], args: &CiArgs) -> Result<(), Error> {
    let mut timings = Timings::default();
    let mut failed = Vec::new();
    let ci_start = Instant::now();
    for (name, step) in STEPS {
        say(&format!("ci: {name}"));
        let start = Instant::now();
        let mut parts = Timings::default();
        let ending = match step(workspace, rows, args, &mut parts) {
            Ok(()) => "ok",
            Err(error) => {
                say(&format!("ci: {name} failed: {error}"));
                failed.push(name);
                "FAILED"
            }
        };
        timings.add(format!("{name}: {ending}"), start.elapsed(), parts);
    }
    timings.add("in all", ci_start.elapsed(), Timings::default());
    println!("\n{timings}");
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

/// Clippy on this workspace and on the inner ones. Their target directories are those of the steps that build them.
fn lints(workspace: &Workspace, parts: &mut Timings) -> Result<(), Error> {
    fuzz::ensure_compiler(workspace)?;
    let root = workspace.root();
    for (name, arguments, directory, target) in [
        ("crates", "--workspace", root.to_path_buf(), None),
        // The programs of Linux guests, and the contract that host code shares with guests.
        ("guests", "--all-targets", root.join("guests"), Some("guests")),
        ("fuzz", "--workspace", root.join("fuzz"), Some("fuzz")),
    ] {
        let mut command = build::cargo(workspace);
        command
            .current_dir(directory)
            .args(["clippy", "--all-targets", arguments]);
        if let Some(target) = target {
            command.arg("--target-dir").arg(workspace.xtask(target));
        }
        command.args(["--", "--deny", "warnings"]);
        parts.measure(name, || process::run_shown(&mut command))?;
    }
    Ok(())
}

fn docs(workspace: &Workspace) -> Result<(), Error> {
    let mut command = build::cargo(workspace);
    command.args(["doc", "--workspace", "--no-deps"]);
    process::run_shown(command.env("RUSTDOCFLAGS", "--deny warnings"))
}

/// Builds the crates for firmware, without any feature.
fn bare_metal(workspace: &Workspace) -> Result<(), Error> {
    let crates = metadata::pure_crates(workspace)?;
    for target in BARE_TARGETS {
        let bare = BareMetal::ensure(workspace, target)?;
        let mut command: Command = bare.cargo(workspace, "build");
        command.arg("--no-default-features");
        command.args(crates.iter().flat_map(|pure| ["--package", &pure.name]));
        process::run_shown(&mut command)?;
    }
    Ok(())
}

/// Packs every published crate, and builds each from its package alone. Other crates are shared with the host's builds.
fn packages(workspace: &Workspace) -> Result<(), Error> {
    let mut command = build::cargo(workspace);
    // What is committed is checked where CI runs; here, what is written.
    command.args(["package", "--allow-dirty"]);
    for name in metadata::published_crates(workspace)? {
        command.args(["--package", &name]);
    }
    let _step = Progress::start("packing the published crates, and building each package");
    process::run_logged(&mut command, &workspace.log("cargo-package")?)
}

fn tests(workspace: &Workspace, rows: &[&'static ArchRow], parts: &mut Timings) -> Result<(), Error> {
    test::run(
        workspace,
        rows,
        &TestArgs {
            host: Host::Auto,
            tiers: Vec::new(),
            filter: None,
        },
        parts,
    )
}
