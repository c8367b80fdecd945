//! `vmboot plan`.

use std::process::ExitCode;

use vmboot::report::PlanReport;

use super::boot::BootArgs;
use super::machine::MachineArgs;
use super::output;
use super::result::CommandResult;

/// Options of `vmboot plan`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    boot: BootArgs,
    /// Print JSON, as described in SCHEMA.md of the vmboot package.
    #[arg(long)]
    json: bool,
}

pub(crate) fn run(args: &Args) -> CommandResult {
    let boot = args.boot.plan(None, MachineArgs::reference)?;
    if boot.cmdline.is_default {
        eprintln!("note: {}; --no-default-cmdline omits it", boot.cmdline);
    }
    output::print(&PlanReport::from(&boot.plan), &boot.plan.to_string(), args.json)?;
    Ok(ExitCode::SUCCESS)
}
