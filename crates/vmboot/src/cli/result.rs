//! Result type of the subcommands.

use std::error::Error;
use std::fmt::Write as _;
use std::process::ExitCode;

/// Result of a subcommand: its exit status, or an error to print.
pub(crate) type CommandResult = Result<ExitCode, Box<dyn Error>>;

/// The messages of an error and its sources, separated by colons.
pub(crate) fn chain(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        // Writing to a string cannot fail.
        let _ = write!(text, ": {error}");
        cause = error.source();
    }
    text
}
