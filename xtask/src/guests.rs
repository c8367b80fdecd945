//! Building `guests/`: the programs that run inside virtual machines.

use std::fs;
use std::path::{Path, PathBuf};

use crate::arch::ArchRow;
use crate::build;
use crate::bzimage::{self, Options, WrapError};
use crate::error::{At as _, Error};
use crate::guest_elf::{GuestElf, GuestElfError};
use crate::process;
use crate::progress::{Step, say};
use crate::toolchain::BareMetal;
use crate::workspace::Workspace;

/// Why a guest could not be made out of what cargo built.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub(crate) enum GuestError {
    #[error(transparent)]
    Elf(#[from] GuestElfError),
    #[error(transparent)]
    Wrap(#[from] WrapError),
}

/// How a file is made out of a program that cargo built.
#[derive(Clone, Copy)]
enum Form {
    /// As it is.
    Elf64,
    /// As a 32-bit ELF.
    Elf32,
    /// As a bzImage with this header.
    BzImage(fn() -> Options),
}

/// A file in `target/guests/ARCH/`: its name, the program of the `conformance` package, and how it is made.
type Build = (&'static str, &'static str, Form);

/// Every build of the conformance guest for x86_64.
const CONFORMANCE: [Build; 8] = [
    ("conformance-pvh.elf", "conformance-pvh", Form::Elf64),
    ("conformance-pvh32.elf", "conformance-pvh", Form::Elf32),
    ("conformance-pvh-reloc.elf", "conformance-pvh-reloc", Form::Elf64),
    ("conformance-vmlinux.elf", "conformance-linux", Form::Elf64),
    ("conformance-vmlinux32.elf", "conformance-linux", Form::Elf32),
    (
        "conformance.bzImage",
        "conformance-linux",
        Form::BzImage(Options::default),
    ),
    (
        "conformance-32bit.bzImage",
        "conformance-linux",
        Form::BzImage(Options::only_32_bit),
    ),
    (
        "conformance-fixed.bzImage",
        "conformance-linux",
        Form::BzImage(Options::not_relocatable),
    ),
];

/// The name of the first program of Linux guests.
pub(crate) const INIT: &str = "init";

/// Builds every guest and gives the directory they lie in.
pub(crate) fn ensure(workspace: &Workspace, row: &ArchRow) -> Result<PathBuf, Error> {
    let directory = workspace.guests(row.name);
    fs::create_dir_all(&directory).at(&directory)?;
    conformance(workspace, row, &directory)?;
    init(workspace, row)?;
    Ok(directory)
}

/// Builds the conformance guest in every form.
fn conformance(workspace: &Workspace, row: &ArchRow, directory: &Path) -> Result<(), Error> {
    let bare = BareMetal::ensure(workspace, row.bare_target)?;
    let mut command = bare.cargo(workspace, "build");
    command
        .current_dir(workspace.root().join("guests"))
        .args(["--package", "conformance", "--release"]);
    {
        let _step = Step::start("building the conformance guest");
        process::run_logged(&mut command, &workspace.log("build-conformance")?)?;
    }
    let built = workspace.xtask("bare").join(row.bare_target).join("release");
    for (name, program, form) in CONFORMANCE {
        let source = built.join(program);
        let elf = fs::read(&source).at(&source)?;
        let bytes = form.make(elf).map_err(|source| Error::Guest { name, source })?;
        let path = directory.join(name);
        fs::write(&path, bytes).at(&path)?;
    }
    Ok(())
}

impl Form {
    fn make(self, elf: Vec<u8>) -> Result<Vec<u8>, GuestError> {
        match self {
            Self::Elf64 => Ok(elf),
            Self::Elf32 => Ok(GuestElf::parse(&elf)?.to_elf32()?),
            Self::BzImage(options) => Ok(bzimage::wrap(&elf, &options())?),
        }
    }
}

/// Builds the first program of Linux guests, and gives its path.
pub(crate) fn init(workspace: &Workspace, row: &ArchRow) -> Result<PathBuf, Error> {
    let mut command = build::static_cargo(workspace, row, "build")?;
    command
        .current_dir(workspace.root().join("guests"))
        .args(["--package", INIT, "--release"]);
    {
        let _step = Step::start("building the init program of Linux guests");
        process::run_logged(&mut command, &workspace.log("build-init")?)?;
    }
    let directory = workspace.guests(row.name);
    fs::create_dir_all(&directory).at(&directory)?;
    let built = workspace
        .xtask("static")
        .join(row.std_target)
        .join("release")
        .join(INIT);
    let path = directory.join(INIT);
    fs::copy(&built, &path).at(&built)?;
    Ok(path)
}

/// `cargo xtask guests`.
pub(crate) fn run(workspace: &Workspace, row: &ArchRow) -> Result<(), Error> {
    let directory = ensure(workspace, row)?;
    for (name, ..) in CONFORMANCE.iter().chain([&(INIT, "", Form::Elf64)]) {
        let path = directory.join(name);
        let length = fs::metadata(&path).at(&path)?.len();
        say(&format!("{} ({length} bytes)", path.display()));
    }
    Ok(())
}
