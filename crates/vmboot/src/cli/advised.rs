//! Errors with advice.

use std::error::Error;
use std::fmt;

/// An error with a sentence about what to do.
#[derive(Debug)]
pub(crate) struct AdvisedError {
    error: Box<dyn Error>,
    /// What to do.
    pub(crate) help: String,
}

impl AdvisedError {
    pub(crate) fn new(error: impl Into<Box<dyn Error>>, help: impl Into<String>) -> Self {
        Self {
            error: error.into(),
            help: help.into(),
        }
    }
}

/// A mistake in the command line that its parser does not find.
#[derive(Debug, thiserror::Error)]
#[error(transparent)]
pub(crate) struct UsageError(pub(crate) Box<dyn Error>);

/// The error without the sentence.
impl fmt::Display for AdvisedError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.error.fmt(f)
    }
}

impl Error for AdvisedError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.error.source()
    }
}
