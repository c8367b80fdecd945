//! `vmboot doctor`.

use std::process::ExitCode;

use super::output;
use super::result::CommandResult;

/// Options of `vmboot doctor`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Print JSON, as described in SCHEMA.md of the vmboot package.
    #[arg(long)]
    json: bool,
}

pub(crate) fn run(args: &Args) -> CommandResult {
    let report = vmboot::doctor::examine();
    output::print(&report, &report.to_string(), args.json)?;
    Ok(if report.is_ready() {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

#[cfg(test)]
mod tests {
    use clap::Parser as _;

    use crate::cli::machine::MachineArgs;

    #[derive(clap::Parser)]
    struct Options {
        #[command(flatten)]
        machine: MachineArgs,
    }

    #[test]
    fn the_report_assumes_the_default_of_the_options() {
        let options = Options::parse_from(["vmboot"]);
        assert_eq!(options.machine.memory.bytes, vmboot::doctor::DEFAULT_MEMORY);
    }
}
