//! The command line.

pub(crate) mod boot;
pub(crate) mod files;
pub(crate) mod inspect;
pub(crate) mod machine;
pub(crate) mod number;
pub(crate) mod output;
pub(crate) mod plan;
pub(crate) mod run;

use clap::{Parser, Subcommand};

/// Inspect, plan and boot kernel images.
#[derive(Debug, Parser)]
#[command(name = "vmboot", version, max_term_width = 100)]
pub(crate) struct Cli {
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Say what an image is: its format, its parts, its entry points, and which protocols can start it.
    Inspect(inspect::Args),
    /// Compute a boot and draw the guest's memory, without a virtual machine.
    Plan(plan::Args),
    /// Boot an image in a KVM virtual machine, with the guest's serial console on this terminal.
    Run(run::Args),
}
