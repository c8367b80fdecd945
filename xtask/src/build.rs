//! Builds statically linked programs, which run in L1 and in Linux guests.

use std::env;
use std::path::PathBuf;
use std::process::Command;

use crate::arch::ArchRow;
use crate::cargo;
use crate::error::Error;
use crate::packages::{self, Package};
use crate::process;
use crate::progress::Step;
use crate::toolchain::StandardLibrary;
use crate::workspace::Workspace;

/// Builds the program `name` of the package `name` for `row`, statically linked, and returns its path.
pub(crate) fn static_binary(workspace: &Workspace, row: &ArchRow, name: &str) -> Result<PathBuf, Error> {
    static_program(workspace, row, name, name)
}

/// The same for a program of another name than its package.
pub(crate) fn static_program(
    workspace: &Workspace,
    row: &ArchRow,
    package: &str,
    name: &str,
) -> Result<PathBuf, Error> {
    build_static(workspace, row, package, name, &[])?;
    Ok(static_output(workspace, row).join(name))
}

/// The program `name` of the package `name` as its users have it: with the profile `release`, without assertions.
pub(crate) fn static_release(workspace: &Workspace, row: &ArchRow, name: &str) -> Result<PathBuf, Error> {
    build_static(workspace, row, name, name, &["--release"])?;
    let output = workspace.xtask("static").join(row.std_target);
    Ok(output.join("release").join(name))
}

fn build_static(
    workspace: &Workspace,
    row: &ArchRow,
    package: &str,
    name: &str,
    profile: &[&str],
) -> Result<(), Error> {
    let mut command = static_cargo(workspace, row, "build")?;
    command.args(profile).args(["--package", package, "--bin", name]);
    let log = workspace.log(&format!("build-{name}"))?;
    let _step = Step::start(format!("building {name} for {}", row.std_target));
    process::run_logged(&mut command, &log)
}

/// Output directory of [`static_cargo`] for `row`, with its own profile.
pub(crate) fn static_output(workspace: &Workspace, row: &ArchRow) -> PathBuf {
    workspace.xtask("static").join(row.std_target).join("debug")
}

/// Installs what is needed to link static std programs for `row`.
pub(crate) fn ensure_linker(workspace: &Workspace, row: &ArchRow) -> Result<(), Error> {
    let wanted: Vec<Package> = row
        .link_packages
        .iter()
        .map(|(name, file)| Package::file(name, file))
        .collect();
    packages::ensure(workspace, &wanted)
}

/// `cargo SUBCOMMAND` for statically linked programs. It has a target directory of its own, because other flags than those
/// of the host's programs in the same directory would cause rebuilds.
///
/// All these programs have one profile, so that the standard library, where it is built from source, is built once. They are
/// optimised, because an emulated machine otherwise takes minutes to copy a kernel; assertions and overflow checks stay on.
///
/// Installs what is needed to build and link for `row`.
pub(crate) fn static_cargo(workspace: &Workspace, row: &ArchRow, subcommand: &str) -> Result<Command, Error> {
    ensure_linker(workspace, row)?;
    let mut command = cargo::command(workspace);
    command
        .args([subcommand, "--target", row.std_target, "--target-dir"])
        .arg(workspace.xtask("static"))
        .env("RUSTFLAGS", with_user_flags("-Ctarget-feature=+crt-static"))
        .env_remove("CARGO_ENCODED_RUSTFLAGS")
        .env("CARGO_PROFILE_DEV_OPT_LEVEL", "2")
        .env("CARGO_PROFILE_DEV_DEBUG", "line-tables-only")
        // The workspace of the guests has another.
        .env("CARGO_PROFILE_DEV_PANIC", "unwind");
    if let Some(linker) = row.linker {
        let target = row.std_target.to_uppercase().replace('-', "_");
        command.env(format!("CARGO_TARGET_{target}_LINKER"), linker);
    }
    StandardLibrary::ensure(workspace, row.std_target)?.apply(&mut command, "std,panic_abort");
    Ok(command)
}

/// Flags for rustc in addition to the user's own.
pub(crate) fn with_user_flags(flags: &str) -> String {
    let user = env::var("RUSTFLAGS").unwrap_or_default();
    format!("{user} {flags}").trim().to_owned()
}
