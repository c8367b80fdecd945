//! `cargo xtask setup`: all that the other tasks would get when they need it.

use crate::arch::ArchRow;
use crate::build;
use crate::error::Error;
use crate::fixtures;
use crate::fuzz;
use crate::place::Lab;
use crate::progress::say;
use crate::workspace::Workspace;

/// Installs, fetches and builds everything.
pub(crate) fn run(workspace: &Workspace, row: &'static ArchRow) -> Result<(), Error> {
    build::ensure_linker(workspace, row)?;
    Lab::ensure(workspace, row)?;
    let fixtures = fixtures::ensure(workspace, row)?;
    fuzz::ensure(workspace)?;
    say(&format!(
        "everything is there; fixtures in {}",
        fixtures.display()
    ));
    Ok(())
}
