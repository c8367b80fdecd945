//! The load path on real kernels.

use crate::arch::Arch;
use crate::cargo;
use crate::cli::BenchArgs;
use crate::error::Error;
use crate::fixtures;
use crate::process;
use crate::workspace::Workspace;

/// Fetches the kernels and runs the benches with them.
pub(super) fn run(workspace: &Workspace, args: &BenchArgs) -> Result<(), Error> {
    let fixtures = fixtures::kernels(workspace, Arch::X86_64.row())?;
    let mut command = cargo::command(workspace);
    command
        .args(["bench", "--package", "vmboot-guest-ram", "--bench", "load", "--"])
        .args(&args.arguments);
    command.env(fixtures::VARIABLE, fixtures);
    process::run_shown(&mut command)
}
