#![doc = include_str!("../README.md")]
#![forbid(unsafe_code)]

use std::fs;
use std::io::{self, Write};
use std::path::Path;
use std::time::Duration;

use sandbox::{BuildError, CallError, RestoreError, Sandbox, SandboxBuilder, Snapshot, SnapshotError};

/// Memory of the plugin in bytes, apart from code and stack.
const HEAP: u64 = 4 << 20;

/// A plugin in a sandbox.
#[derive(Debug)]
pub struct Plugin {
    sandbox: Sandbox,
    /// The state before the first call.
    start: Snapshot,
}

/// Why a program with the plugin cannot go on.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The plugin cannot be started.
    #[error("cannot start the plugin")]
    Build(#[from] BuildError),
    /// Its state cannot be kept.
    #[error("cannot take a snapshot of the plugin")]
    Snapshot(#[from] SnapshotError),
    /// Its state cannot be brought back.
    #[error("cannot restore the plugin")]
    Restore(#[from] RestoreError),
    /// Results cannot be written.
    #[error("cannot write the results")]
    Write(#[from] io::Error),
}

/// Line numbers from 1, and lines.
pub type Lines = Vec<(u32, String)>;

impl Plugin {
    /// Starts the plugin in the ELF file `path`; its calls end after `deadline`.
    ///
    /// # Errors
    ///
    /// The file is no plugin, or there is no KVM.
    pub fn start(path: &Path, deadline: Duration) -> Result<Self, Error> {
        let builder = SandboxBuilder::from_file(path).heap(HEAP).deadline(deadline);
        let mut sandbox = builder.build()?;
        let start = sandbox.snapshot()?;
        Ok(Self { sandbox, start })
    }

    /// The lines of a text that match the pattern, or what the plugin did instead. The next call begins from the same state in any case.
    ///
    /// # Errors
    ///
    /// The sandbox cannot be restored.
    pub fn find(&mut self, pattern: &str, text: &str) -> Result<Result<Lines, CallError>, Error> {
        let found = self.sandbox.call("find", (pattern, text));
        self.sandbox.restore(&self.start)?;
        Ok(found)
    }
}

/// Finds lines in files, writes them to `output` and errors to `errors`, and returns whether there was no error.
///
/// # Errors
///
/// The plugin cannot be restored, or an output cannot be written.
pub fn run(
    plugin: &mut Plugin,
    pattern: &str,
    files: &[String],
    output: &mut dyn Write,
    errors: &mut dyn Write,
) -> Result<bool, Error> {
    let mut is_good = true;
    for file in files {
        let error = match fs::read(file) {
            Err(error) => error.to_string(),
            Ok(bytes) => match plugin.find(pattern, &String::from_utf8_lossy(&bytes))? {
                Err(error) => explain(&error),
                Ok(lines) => {
                    for (number, line) in lines {
                        writeln!(output, "{file}:{number}: {line}")?;
                    }
                    continue;
                }
            },
        };
        is_good = false;
        writeln!(errors, "{file}: {error}")?;
    }
    Ok(is_good)
}

/// The message of an error and those of its sources.
#[must_use]
pub fn explain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(error) = source {
        let message = error.to_string();
        // Some messages contain that of their source.
        if !text.contains(&message) {
            text = format!("{text}: {message}");
        }
        source = error.source();
    }
    text
}
