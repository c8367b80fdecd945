//! `vmboot plan`.

use std::process::ExitCode;

use vmboot::report::PlanReport;

use super::Ending;
use super::boot::BootArgs;

/// Options of `vmboot plan`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    boot: BootArgs,
    /// Print JSON, as described in the crate's SCHEMA.md.
    #[arg(long)]
    json: bool,
}

pub(crate) fn run(args: &Args) -> Ending {
    let boot = args.boot.plan(|arch| args.boot.machine.reference(arch))?;
    super::print(&PlanReport::from(&boot.plan), &boot.plan.to_string(), args.json)?;
    Ok(ExitCode::SUCCESS)
}
