//! The firmware of this repository: the workspace `firmware/`.

use std::fs;
use std::path::PathBuf;

use super::error::FirmwareError;
use super::platform::Platform;
use crate::error::{Error, WithPath as _};
use crate::guest_elf::GuestElf;
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

/// Clippy on the program for the target of `platform`.
pub(super) fn lint(workspace: &Workspace, platform: &Platform) -> Result<(), Error> {
    let mut command = BareMetal::ensure(workspace, platform.target)?.clippy(workspace)?;
    command.current_dir(directory(workspace)).args([
        "--package",
        platform.package,
        "--",
        "--deny",
        "warnings",
    ]);
    process::run_shown(&mut command)
}

/// Builds the firmware for the target of `platform`, and returns the path of the file that QEMU starts.
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
    let program = workspace
        .xtask("bare")
        .join(target)
        .join("release")
        .join(platform.package);
    let Some(elf_target) = platform.image else {
        return Ok(program);
    };
    let elf = fs::read(&program).with_path(&program)?;
    let flat = GuestElf::parse(&elf, elf_target).and_then(|elf| elf.flatten());
    let mut flat = flat.map_err(|source| Error::Guest {
        name: platform.package,
        source: source.into(),
    })?;
    // The rest is zeros, which the header counts.
    flat.bytes.truncate(flat.file_len);
    let image = program.with_extension("image");
    fs::write(&image, flat.bytes).with_path(&image)?;
    Ok(image)
}
