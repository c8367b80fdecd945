//! Files of Debian's packages that media and firmware are made of.

use std::path::PathBuf;

use super::platform::DebianFile;
use crate::apt::{self, PrivateApt};
use crate::arch::ArchRow;
use crate::error::Error;
use crate::suite::Suite;
use crate::workspace::Workspace;

impl DebianFile {
    /// The file below `target/`; fetches and unpacks its package if that has not been done before.
    pub(crate) fn ensure(self, workspace: &Workspace, row: &ArchRow) -> Result<PathBuf, Error> {
        ensure(workspace, row, &[self])?;
        let path = self.location(workspace, row);
        if path.exists() {
            return Ok(path);
        }
        Err(Error::NotInPackage {
            package: self.package.to_owned(),
            what: self.path,
        })
    }

    fn location(self, workspace: &Workspace, row: &ArchRow) -> PathBuf {
        directory(workspace, row, self.package).join(self.path)
    }
}

/// Fetches and unpacks those packages of `files` that are missing, with one update of the package lists.
pub(super) fn ensure(workspace: &Workspace, row: &ArchRow, files: &[DebianFile]) -> Result<(), Error> {
    let mut missing: Vec<&str> = files
        .iter()
        .map(|file| file.package)
        .filter(|package| !directory(workspace, row, package).exists())
        .collect();
    missing.sort_unstable();
    missing.dedup();
    if missing.is_empty() {
        return Ok(());
    }
    if !apt::is_available() {
        return Err(Error::MayNotInstall {
            missing: missing.join(", "),
            why: "this is not a Debian system",
            advice: "Pass a medium with --image and a firmware with --firmware FILE.".to_owned(),
        });
    }
    let apt = PrivateApt::update(workspace, row.name, row.debian, Suite::Trixie)?;
    for package in missing {
        apt.unpack(&[package], &directory(workspace, row, package))?;
    }
    Ok(())
}

fn directory(workspace: &Workspace, row: &ArchRow, package: &str) -> PathBuf {
    let suite = workspace.xtask("debian").join(Suite::Trixie.name());
    suite.join(row.name).join(package)
}
