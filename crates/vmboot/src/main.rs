//! The `vmboot` command: inspects, plans and boots kernel images.
#![forbid(unsafe_code)]

mod cli;

use std::process::ExitCode;

use clap::CommandFactory as _;

use crate::cli::{Cli, Command};

fn main() -> ExitCode {
    let args: Vec<_> = std::env::args_os().collect();
    let cli = match cli::usage::parse(&args) {
        Ok(cli) => cli,
        Err(status) => return ExitCode::from(status),
    };
    let result = match cli.command {
        Command::Inspect(args) => cli::inspect::run(&args),
        Command::Extract(args) => cli::extract::run(&args),
        Command::Plan(args) => cli::plan::run(&args),
        Command::Measure(args) => cli::measure::run(&args),
        Command::Prepare(args) => cli::prepare::run(&args),
        Command::Run(args) => cli::run::run(&args),
        Command::Completions(args) => cli::completions::run(&args, Cli::command()),
        Command::Man(args) => cli::man::run(&args, Cli::command()),
        Command::Doctor(args) => cli::doctor::run(&args),
    };
    result.unwrap_or_else(|error| {
        cli::result::report(&*error);
        cli::result::status(&*error)
    })
}
