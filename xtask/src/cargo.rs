//! Running cargo.

use std::process::Command;

use crate::workspace::Workspace;

/// cargo at the root of the repository.
pub(crate) fn command(workspace: &Workspace) -> Command {
    let mut command = Command::new("cargo");
    command
        .current_dir(workspace.root())
        .env("CARGO_TERM_COLOR", "never");
    command
}
