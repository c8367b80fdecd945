//! Limits of benches, from one file.

use std::collections::BTreeMap;

use serde::Deserialize;

use crate::arch::Arch;
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
    pub(super) start: ArchStarts,
}

/// The limits of starts on each architecture.
#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ArchStarts {
    x86_64: Starts,
    aarch64: Starts,
    riscv64: Starts,
}

impl ArchStarts {
    pub(super) const fn of(&self, arch: Arch) -> &Starts {
        match arch {
            Arch::X86_64 => &self.x86_64,
            Arch::Aarch64 => &self.aarch64,
            Arch::Riscv64 => &self.riscv64,
        }
    }
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
    /// `None` where KVM waits for its own grace periods, which pass as instructions.
    pub(super) million_instructions: Option<f64>,
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
        for arch in [Arch::X86_64, Arch::Aarch64, Arch::Riscv64] {
            let starts = limits.start.of(arch);
            for start in [starts.kernel_file, starts.prepared_boot] {
                assert!(start.calls > 0 && start.page_faults > 0);
                assert!(start.million_instructions.is_none_or(|limit| limit > 0.0));
            }
        }
    }
}
