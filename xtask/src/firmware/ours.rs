//! The firmware of this repository: the workspace `firmware/`.

use std::fs;
use std::path::PathBuf;

use super::error::FirmwareError;
use super::platform::Platform;
use super::size::{self, Content, Size};
use crate::error::{Error, WithPath as _};
use crate::guest_elf::{ElfTarget, GuestElf, GuestElfError};
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

/// A firmware that was built.
#[derive(Debug)]
pub(super) struct Built {
    /// The file that QEMU starts.
    pub(super) path: PathBuf,
    pub(super) size: Size,
}

/// Builds the firmware for the target of `platform`. The next build, with another content, replaces the files.
///
/// # Errors
///
/// Among others, the firmware is larger than its limit. A standard library that is installed is not optimised for size, so there is no limit
/// where its source is missing.
pub(super) fn build(workspace: &Workspace, platform: &Platform, content: Content) -> Result<Built, Error> {
    let directory = directory(workspace);
    if !has_source(workspace) {
        return Err(FirmwareError::NoSource { directory }.into());
    }
    let target = platform.target;
    let bare = BareMetal::ensure_source(workspace, target)?;
    let mut command = bare.cargo(workspace, "build");
    command
        .current_dir(&directory)
        .args(["--package", platform.package, "--release"]);
    if content == Content::WithoutEfi {
        command.arg("--no-default-features");
    }
    size::small(&bare, &mut command);
    {
        let _step = Step::start(format!("building the firmware for {target}"));
        process::run_logged(&mut command, &workspace.log(&format!("build-firmware-{target}"))?)?;
    }
    let program = workspace
        .xtask("bare")
        .join(target)
        .join("release")
        .join(platform.package);
    let elf = fs::read(&program).with_path(&program)?;
    let malformed = |source: GuestElfError| Error::Guest {
        name: platform.package,
        source: source.into(),
    };
    let parsed = GuestElf::parse(&elf, platform.image.unwrap_or(ElfTarget::X86_64)).map_err(malformed)?;
    let (path, bytes) = if platform.image.is_some() {
        let mut flat = parsed.flatten().map_err(malformed)?;
        // The rest is zeros, which the header counts.
        flat.bytes.truncate(flat.file_len);
        (program.with_extension("image"), flat.bytes)
    } else {
        (program.with_extension("elf"), parsed.strip())
    };
    let size = Size {
        file: bytes.len().try_into().unwrap_or(u64::MAX),
        code: parsed.code_len(),
    };
    if bare.is_from_source() {
        size.check(platform.package, content, platform.image.is_some())?;
    }
    fs::write(&path, &bytes).with_path(&path)?;
    Ok(Built { path, size })
}
