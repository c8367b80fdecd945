//! `cargo xtask setup`: all that the other tasks would get when they need it.

use crate::arch::ArchRow;
use crate::build;
use crate::error::Error;
use crate::fixtures;
use crate::fuzz;
use crate::progress::say;
use crate::runner::{Host, RunnerKind};
use crate::workspace::Workspace;

/// Installs, fetches and builds everything for these architectures.
pub(crate) fn run(workspace: &Workspace, rows: &[&'static ArchRow]) -> Result<(), Error> {
    for row in rows {
        build::ensure_linker(workspace, row)?;
        for site in RunnerKind::all(row, Host::Lab)? {
            site.prepare(workspace, row)?;
        }
        let fixtures = fixtures::ensure(workspace, row)?;
        say(&format!(
            "the fixtures of {} are in {}",
            row.name,
            fixtures.display()
        ));
    }
    fuzz::ensure(workspace)?;
    say("everything is there");
    Ok(())
}
