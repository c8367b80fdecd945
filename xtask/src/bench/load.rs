//! Benches of crates on real kernels.

use crate::arch::Arch;
use crate::cargo;
use crate::cli::BenchArgs;
use crate::error::Error;
use crate::fixtures;
use crate::process;
use crate::workspace::Workspace;

/// Fetches the kernels and runs a bench of a package with them.
pub(super) fn run(workspace: &Workspace, package: &str, bench: &str, args: &BenchArgs) -> Result<(), Error> {
    let fixtures = fixtures::kernels(workspace, Arch::X86_64.row())?;
    let mut command = cargo::command(workspace);
    command
        .args(["bench", "--package", package, "--bench", bench, "--"])
        .args(&args.arguments);
    command.env(fixtures::VARIABLE, fixtures);
    process::run_shown(&mut command)
}
