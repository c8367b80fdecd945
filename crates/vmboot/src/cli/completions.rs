//! `vmboot completions`.

use std::io;
use std::process::ExitCode;

use clap_complete::Shell;

use super::output;
use super::result::CommandResult;

/// Options of `vmboot completions`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Shell of the script.
    shell: Shell,
}

/// Prints the completion script for `command`.
pub(crate) fn run(args: &Args, mut command: clap::Command) -> CommandResult {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut command, "vmboot", &mut script);
    output::write(io::stdout(), &script)?;
    Ok(ExitCode::SUCCESS)
}
