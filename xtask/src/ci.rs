//! `cargo xtask ci`: the steps of CI, the fastest first.

use std::process::Command;
use std::time::Instant;

use clap::ValueEnum as _;

use crate::arch::{Arch, ArchRow};
use crate::bench;
use crate::cargo;
use crate::cli::{Bench, BenchArgs, CiArgs, TestArgs, TidyArgs};
use crate::crate_packages;
use crate::error::Error;
use crate::firmware;
use crate::fuzz;
use crate::metadata;
use crate::msrv;
use crate::process;
use crate::profile;
use crate::progress::print_status;
use crate::runner::Host;
use crate::test;
use crate::tidy;
use crate::timing::Timings;
use crate::toolchain::BareMetal;
use crate::workspace::Workspace;

/// The targets that the pure crates are built for.
const BARE_TARGETS: [&str; 3] = [
    "x86_64-unknown-none",
    "aarch64-unknown-none-softfloat",
    "riscv64gc-unknown-none-elf",
];

/// Crates of firmware that use `unsafe`, and so are not pure.
const FIRMWARE_CRATES: [&str; 2] = ["vmboot-efi-abi", "vmboot-fw-virtio"];

/// Workspaces below the root that are not part of the root's.
const INNER_WORKSPACES: [&str; 5] = [
    "firmware",
    "guests",
    "guests/sandbox",
    "fuzz",
    "templates/sandbox-guest",
];

/// The target of the lints of programs in sandboxes.
const SANDBOX_TARGET: &str = "x86_64-unknown-linux-gnu";

/// A step: its name, and its function, which may add the times of its parts to the timings.
type Step = (
    &'static str,
    fn(&Workspace, &[&'static ArchRow], &CiArgs, &mut Timings) -> Result<(), Error>,
);

const STEPS: [Step; 10] = [
    ("format", |workspace, _, _, _| format(workspace)),
    ("house-rules", |workspace, _, _, _| {
        tidy::run(workspace, &TidyArgs::default())
    }),
    ("lints", |workspace, _, _, parts| lints(workspace, parts)),
    ("docs", |workspace, _, _, _| docs(workspace)),
    ("bare-metal", |workspace, rows, _, _| bare_metal(workspace, rows)),
    ("msrv", |workspace, _, _, _| msrv::run(workspace)),
    ("packages", |workspace, rows, _, _| {
        crate_packages::check(workspace, rows)
    }),
    ("tests", |workspace, rows, _, parts| tests(workspace, rows, parts)),
    ("counts", |workspace, _, _, _| counts(workspace)),
    ("fuzzing", |workspace, _, args, _| {
        fuzz::run(workspace, &[], args.fuzz_seconds, fuzz::Output::Totals)
    }),
];

/// The names of the steps.
pub(crate) fn step_names() -> [&'static str; STEPS.len()] {
    STEPS.map(|(name, _)| name)
}

/// Runs every step, or those that `args` names, even after a failure. Ends with a table of the result and the time of each, and the error of each
/// that failed.
pub(crate) fn run(workspace: &Workspace, rows: &[&'static ArchRow], args: &CiArgs) -> Result<(), Error> {
    let mut timings = Timings::default();
    let mut failed = Vec::new();
    let ci_start = Instant::now();
    for (name, step) in STEPS {
        if !(args.steps.is_empty() || args.steps.iter().any(|wanted| wanted == name)) {
            continue;
        }
        print_status(&format!("ci: {name}"));
        let start = Instant::now();
        let mut parts = Timings::default();
        let ending = match step(workspace, rows, args, &mut parts) {
            Ok(()) => "ok",
            Err(error) => {
                print_status(&format!("ci: {name} failed: {error}"));
                failed.push(format!("{name}: {error}"));
                "FAILED"
            }
        };
        timings.add(format!("{name}: {ending}"), start.elapsed(), parts);
    }
    timings.add("total", ci_start.elapsed(), Timings::default());
    println!("\n{timings}");
    if failed.is_empty() {
        Ok(())
    } else {
        Err(Error::Tests {
            message: format!("failed: {}", failed.join("\n")),
        })
    }
}

/// The bench whose results are counts, which other work on the machine does not change.
fn counts(workspace: &Workspace) -> Result<(), Error> {
    let args = BenchArgs {
        what: Bench::Start,
        host: Host::Lab,
        check: true,
        peer: None,
        arguments: Vec::new(),
    };
    bench::run(workspace, &[Arch::X86_64.row()], &args)
}

fn format(workspace: &Workspace) -> Result<(), Error> {
    process::run_shown(cargo::command(workspace).args(["fmt", "--all", "--check"]))?;
    for inner in INNER_WORKSPACES {
        let mut command = cargo::command(workspace);
        command
            .current_dir(workspace.root().join(inner))
            .args(["fmt", "--all", "--check"]);
        process::run_shown(&mut command)?;
    }
    Ok(())
}

/// Clippy on this workspace and on the inner ones.
fn lints(workspace: &Workspace, parts: &mut Timings) -> Result<(), Error> {
    fuzz::ensure_compiler(workspace)?;
    let root = workspace.root();
    for (name, arguments, directory) in [
        ("crates", &["--workspace"][..], root.to_path_buf()),
        // The default members: init, and the contract shared with the tests. The others build for bare metal only.
        ("guests", &[], root.join("guests")),
        // The default members: what the binaries share.
        ("firmware", &[], root.join("firmware")),
        ("fuzz", &["--workspace"], root.join("fuzz")),
    ] {
        let mut command = cargo::command(workspace);
        command
            .current_dir(directory)
            .args(["clippy", "--all-targets"])
            .args(arguments)
            // All use what was checked for the others.
            .arg("--target-dir")
            .arg(workspace.target())
            .args(["--", "--deny", "warnings"]);
        parts.measure(name, || process::run_shown(&mut command))?;
    }
    sandbox_lints(workspace, parts)?;
    firmware_lints(workspace, parts)
}

/// Clippy on the firmware's programs, which build for bare metal only.
fn firmware_lints(workspace: &Workspace, parts: &mut Timings) -> Result<(), Error> {
    for arch in Arch::value_variants() {
        let row = arch.row();
        parts.measure(format!("firmware of {}", row.name), || {
            firmware::lint(workspace, row)
        })?;
    }
    Ok(())
}

/// Clippy on programs that run in sandboxes, and on their runtime, which builds for the host leave out.
fn sandbox_lints(workspace: &Workspace, parts: &mut Timings) -> Result<(), Error> {
    let target = BareMetal::ensure(workspace, SANDBOX_TARGET)?;
    let runtime = ["--package", "vmboot-sandbox-guest", "--lib", "--all-features"];
    let flags = Some("--cfg=sandbox_guest");
    for (directory, arguments, flags) in [
        ("", &runtime[..], flags),
        ("guests/sandbox", &["--workspace"], None),
    ] {
        let mut command = target.cargo_with_flags(workspace, "clippy")?;
        command
            .current_dir(workspace.root().join(directory))
            .args(arguments)
            .envs(flags.map(|flags| ("RUSTFLAGS", flags)))
            .args(["--", "--deny", "warnings"]);
        parts.measure("programs in sandboxes", || process::run_shown(&mut command))?;
    }
    Ok(())
}

fn docs(workspace: &Workspace) -> Result<(), Error> {
    let mut command = cargo::command(workspace);
    command.args(["doc", "--workspace", "--no-deps"]);
    process::run_shown(command.env("RUSTDOCFLAGS", "--deny warnings"))
}

/// Builds the pure crates and those of firmware for bare metal, without any feature, and checks the size of the firmware without EFI.
fn bare_metal(workspace: &Workspace, rows: &[&'static ArchRow]) -> Result<(), Error> {
    let crates = metadata::pure_crates(workspace)?;
    let profile = profile::release_variables(workspace, "guests")?;
    for target in BARE_TARGETS {
        let bare = BareMetal::ensure(workspace, target)?;
        let mut command: Command = bare.cargo(workspace, "build");
        // With the guests' profile, both share the standard library where it is built from source.
        command.args(["--release", "--no-default-features"]);
        command.envs(profile.iter().map(|(name, value)| (name, value)));
        let pure = crates.iter().map(|pure| pure.name.as_str());
        for name in pure.chain(FIRMWARE_CRATES) {
            command.args(["--package", name]);
            // Nothing runs them: the guests and the firmware are optimised builds of the same crates.
            command
                .arg("--config")
                .arg(format!("profile.release.package.{name}.opt-level=0"));
        }
        process::run_shown(&mut command)?;
    }
    rows.iter()
        .try_for_each(|row| firmware::check_size(workspace, row))
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
