//! Progress on the terminal: one line per step, with a spinner or a bar on an interactive terminal.

use std::io::{IsTerminal as _, stderr};
use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};

/// A step that may take long. It is announced when it starts; its line is removed from an interactive terminal when it ends.
#[derive(Debug)]
pub(crate) struct Step {
    bar: ProgressBar,
}

impl Step {
    /// Announces a step, as in "fetching the kernel".
    pub(crate) fn start(message: impl Into<String>) -> Self {
        let message = message.into();
        if !stderr().is_terminal() {
            print_status(&message);
            return Self {
                bar: ProgressBar::hidden(),
            };
        }
        let bar = ProgressBar::new_spinner().with_style(style("{spinner} {msg} ({elapsed})"));
        bar.set_message(message);
        bar.enable_steady_tick(Duration::from_millis(100));
        Self { bar }
    }

    /// Shows how far the step is, in per cent.
    pub(crate) fn percent(&self, percent: u64) {
        if self.bar.length().is_none() {
            self.bar.set_length(100);
            self.bar
                .set_style(style("{spinner} {msg} [{bar:30}] {percent}% ({elapsed})"));
        }
        self.bar.set_position(percent.min(100));
    }
}

impl Drop for Step {
    fn drop(&mut self) {
        self.bar.finish_and_clear();
    }
}

/// A bar template; indicatif's default if the template does not parse.
fn style(template: &str) -> ProgressStyle {
    ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_spinner())
}

/// Prints one status line to standard error.
pub(crate) fn print_status(message: &str) {
    eprintln!("xtask: {message}");
}
