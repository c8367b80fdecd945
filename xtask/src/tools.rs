//! Cargo's subcommands that the tasks use: the installed one, or one below `target/`.

use std::path::PathBuf;

use crate::cargo;
use crate::error::Error;
use crate::process;
use crate::progress::Step;
use crate::workspace::Workspace;

/// Makes sure that the package's program of the same name is there, and gives its path.
pub(crate) fn ensure(workspace: &Workspace, name: &str) -> Result<PathBuf, Error> {
    if let Some(installed) = process::which(name) {
        return Ok(installed);
    }
    let tools = workspace.xtask("tools");
    let program = tools.join("bin").join(name);
    if !program.exists() {
        let mut command = cargo::command(workspace);
        command.args(["install", "--locked", name, "--root"]).arg(&tools);
        let _step = Step::start(format!("installing {name}"));
        process::run_logged(&mut command, &workspace.log(&format!("install-{name}"))?)?;
    }
    Ok(program)
}
