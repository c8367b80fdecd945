//! A place that violates a rule.

use std::fmt;
use std::path::{Path, PathBuf};

/// A place that violates a rule, and what to do about it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Violation {
    /// Relative to the root of the repository.
    pub(super) path: PathBuf,
    /// Counted from 1.
    pub(super) line: usize,
    /// Set by the task, which has the table of the rules' names.
    pub(super) rule: &'static str,
    pub(super) message: String,
}

impl Violation {
    pub(super) fn new(path: &Path, line: usize, message: impl Into<String>) -> Self {
        Self {
            path: path.to_path_buf(),
            line,
            rule: "",
            message: message.into(),
        }
    }
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            path,
            line,
            rule,
            message,
        } = self;
        write!(f, "{}:{line}: {rule}: {message}", path.display())
    }
}
