//! `vmboot plan`.

use std::process::ExitCode;

use vmboot::report::PlanReport;

use super::boot::BootArgs;
use super::output::Ending;

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
    super::output::print(&PlanReport::from(&boot.plan), &boot.plan.to_string(), args.json)?;
    Ok(ExitCode::SUCCESS)
}
