//! The `vmboot` command: inspects, plans and boots kernel images.
#![forbid(unsafe_code)]

mod cli;

use std::process::ExitCode;

use clap::Parser;

use crate::cli::{Cli, Command};

fn main() -> ExitCode {
    let result = match Cli::parse().command {
        Command::Inspect(args) => cli::inspect::run(&args),
        Command::Plan(args) => cli::plan::run(&args),
        Command::Run(args) => cli::run::run(&args),
        Command::Doctor(args) => cli::doctor::run(&args),
    };
    result.unwrap_or_else(|error| {
        eprintln!("vmboot: {}", cli::result::chain(&*error));
        ExitCode::FAILURE
    })
}
