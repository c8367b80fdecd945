//! Result type of the subcommands.

use std::error::Error;
use std::process::ExitCode;

/// Result of a subcommand: its exit status, or an error to print.
pub(crate) type CommandResult = Result<ExitCode, Box<dyn Error>>;
