//! The C library picolibc for guests in C, from Debian's packages of cross libraries, unpacked below `target/`.

use std::fs;
use std::path::PathBuf;

use super::builds::Picolibc;
use crate::apt::{self, PrivateApt};
use crate::arch::ArchRow;
use crate::error::{Error, WithPath as _};
use crate::suite::Suite;
use crate::workspace::Workspace;

/// The release whose packages are used.
const SUITE: Suite = Suite::Bookworm;

/// Directories of headers and libraries.
#[derive(Debug)]
pub(super) struct Directories {
    pub(super) include: PathBuf,
    pub(super) library: PathBuf,
}

/// Fetches the library if it is missing; `None` where Debian's packages cannot be fetched.
pub(super) fn ensure(
    workspace: &Workspace,
    row: &ArchRow,
    picolibc: &Picolibc,
) -> Result<Option<Directories>, Error> {
    let parent = workspace.xtask("debian").join(SUITE.name()).join(row.name);
    let directory = parent.join(picolibc.package);
    let found = Directories {
        include: directory.join("include"),
        library: directory.join("lib"),
    };
    if directory.exists() {
        return Ok(Some(found));
    }
    if !apt::is_available() {
        return Ok(None);
    }
    // The packages are for all architectures.
    let apt = PrivateApt::of_machine(workspace, SUITE.name())?;
    // The package for riscv64 has a library for each of 40 variants of the architecture, a gigabyte: only one of them is kept.
    let whole = parent.join(format!("{}-whole", picolibc.package));
    apt.unpack(&[picolibc.package], &whole)?;
    let partial = parent.join(format!("{}-partial", picolibc.package));
    fs::create_dir_all(&partial).with_path(&partial)?;
    for (from, to) in [(picolibc.include, "include"), (picolibc.library, "lib")] {
        let from = whole.join(from);
        fs::rename(&from, partial.join(to)).with_path(&from)?;
    }
    fs::remove_dir_all(&whole).with_path(&whole)?;
    fs::rename(&partial, &directory).with_path(&partial)?;
    Ok(Some(found))
}
