//! Results of the subcommands, and their error messages.

use std::error::Error;
use std::fmt::Write as _;
use std::process::ExitCode;

use super::advised::UsageError;
use super::help::{self, split_advice};
use super::output::OutputError;

/// Result of a subcommand: its exit status, or an error to print.
pub(crate) type CommandResult = Result<ExitCode, Box<dyn Error>>;

/// Status of a mistake in the command line.
pub(crate) const USAGE: u8 = 2;

/// The exit status for the error of a subcommand.
pub(crate) fn status(error: &(dyn Error + 'static)) -> ExitCode {
    if error.is::<UsageError>() {
        ExitCode::from(USAGE)
    } else {
        ExitCode::FAILURE
    }
}

/// The messages of an error and its sources, separated by colons.
pub(crate) fn chain(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        // Writing to a string cannot fail.
        let _ = write!(text, ": {}", without_number(&error.to_string()));
        cause = error.source();
    }
    text
}

/// The message of an error without the number that an error of the operating system ends with: ` (os error 2)`.
fn without_number(message: &str) -> &str {
    let number = message.rsplit_once(" (os error ").filter(|(_, number)| {
        let digits = number.strip_suffix(')').unwrap_or_default();
        !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit())
    });
    number.map_or(message, |(text, _)| text)
}

/// Prints the error of a subcommand, and what to do about it if that is known. A closed pipe ends the output without a message.
pub(crate) fn report(error: &(dyn Error + 'static)) {
    if error.downcast_ref().is_some_and(OutputError::is_closed) {
        return;
    }
    let text = chain(error);
    let (text, advice) = split_advice(&text);
    let help = help::help(error);
    print_error(text, help.as_deref().or(advice));
}

/// Prints an error, and what to do about it.
pub(crate) fn print_error(text: &str, help: Option<&str>) {
    eprintln!("error: {text}");
    if let Some(help) = help {
        eprintln!("help: {help}");
    }
}
