//! The `vmboot` command: inspects, plans and boots kernel images.
#![forbid(unsafe_code)]

mod cli;

use std::error::Error;
use std::fmt::Write as _;
use std::process::ExitCode;

use clap::Parser;

use crate::cli::{Cli, Command};

fn main() -> ExitCode {
    let result = match Cli::parse().command {
        Command::Inspect(args) => cli::inspect::run(&args),
        Command::Plan(args) => cli::plan::run(&args),
        Command::Run(args) => cli::run::run(&args),
    };
    result.unwrap_or_else(|error| {
        eprintln!("vmboot: {}", chain(&*error));
        ExitCode::FAILURE
    })
}

/// The messages of an error and its sources, separated by colons.
fn chain(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        // Writing to a string cannot fail.
        let _ = write!(text, ": {error}");
        cause = error.source();
    }
    text
}
