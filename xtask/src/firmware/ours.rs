//! The firmware of this repository: the workspace `firmware/`.

use std::path::PathBuf;

use super::error::FirmwareError;
use super::platform::Platform;
use crate::error::Error;
use crate::process;
use crate::progress::Step;
use crate::toolchain::BareMetal;
use crate::workspace::Workspace;

/// The directory of the workspace.
fn directory(workspace: &Workspace) -> PathBuf {
    workspace.root().join("firmware")
}

/// True if its source is there.
pub(super) fn has_source(workspace: &Workspace) -> bool {
    directory(workspace).join("Cargo.toml").exists()
}

/// Builds the firmware for the target of `platform`, and returns the path of the ELF file.
pub(super) fn build(workspace: &Workspace, platform: &Platform) -> Result<PathBuf, Error> {
    let directory = directory(workspace);
    if !has_source(workspace) {
        return Err(FirmwareError::NoSource { directory }.into());
    }
    let target = platform.target;
    let mut command = BareMetal::ensure(workspace, target)?.cargo(workspace, "build");
    command
        .current_dir(&directory)
        .args(["--package", platform.package, "--release"]);
    {
        let _step = Step::start(format!("building the firmware for {target}"));
        process::run_logged(&mut command, &workspace.log(&format!("build-firmware-{target}"))?)?;
    }
    Ok(workspace
        .xtask("bare")
        .join(target)
        .join("release")
        .join(platform.package))
}
