//! Limits of benches, from one file.

use std::collections::BTreeMap;

use serde::Deserialize;

use crate::cli::BenchArgs;
use crate::error::Error;

/// The limits.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Limits {
    pub(super) boot: Ratio,
    pub(super) entry: Ratio,
    /// By the name of the row.
    pub(super) load: BTreeMap<String, f64>,
    pub(super) start: Starts,
}

/// The limits of each way to start.
#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(super) struct Starts {
    pub(super) kernel_file: Start,
    pub(super) prepared_boot: Start,
}

/// The largest ratio that is good enough.
#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Ratio {
    pub(super) ratio: f64,
}

/// The largest cost of a start that is good enough.
#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Start {
    pub(super) calls: u32,
    pub(super) page_faults: u64,
    pub(super) million_instructions: f64,
}

impl Limits {
    /// Those of `xtask/bench-limits.toml`.
    #[expect(
        clippy::expect_used,
        reason = "the file is part of the program; a test reads it"
    )]
    pub(super) fn read() -> Self {
        toml::from_str(include_str!("../../bench-limits.toml")).expect("xtask/bench-limits.toml is valid")
    }
}

/// Fails with the names of the rows that missed their limits, if `args` asks for that.
pub(super) fn check(args: &BenchArgs, missed: Vec<String>) -> Result<(), Error> {
    if args.check && !missed.is_empty() {
        return Err(Error::LimitsMissed { rows: missed });
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_file_has_every_limit() {
        let limits = Limits::read();
        assert!(!limits.load.is_empty());
        assert!(limits.boot.ratio > 0.0 && limits.entry.ratio > 0.0);
        for start in [limits.start.kernel_file, limits.start.prepared_boot] {
            assert!(start.calls > 0 && start.page_faults > 0 && start.million_instructions > 0.0);
        }
    }
}
