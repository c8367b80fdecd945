//! Subcommands of cargo that the tasks use: the installed one, or one installed below `target/`.

use std::path::PathBuf;

use crate::cargo;
use crate::error::Error;
use crate::process;
use crate::progress::Step;
use crate::workspace::Workspace;

/// Installs the package if its program of the same name is missing, and returns the program's path.
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
