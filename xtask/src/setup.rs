//! `cargo xtask setup`: installs and fetches in advance what the other tasks need.

use crate::arch::ArchRow;
use crate::build;
use crate::error::Error;
use crate::fixtures;
use crate::fuzz;
use crate::progress::print_status;
use crate::runner::{Host, RunnerKind};
use crate::workspace::Workspace;

/// Installs, fetches and builds everything for these architectures.
pub(crate) fn run(workspace: &Workspace, rows: &[&'static ArchRow]) -> Result<(), Error> {
    for row in rows {
        build::ensure_linker(workspace, row)?;
        for kind in RunnerKind::all(row, Host::Lab)? {
            kind.prepare(workspace, row)?;
        }
        let fixtures = fixtures::ensure(workspace, row)?;
        print_status(&format!(
            "the fixtures of {} are in {}",
            row.name,
            fixtures.display()
        ));
    }
    fuzz::ensure(workspace)?;
    print_status("everything is installed");
    Ok(())
}
