//! Packages of the system that a task needs: looked for by the files they install, installed only when one is missing.

use std::path::Path;
use std::process::Command;

use crate::apt;
use crate::error::Error;
use crate::process;
use crate::progress::{Step, say};
use crate::workspace::Workspace;

/// A Debian package and how to see without apt that what it gives is there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Package {
    pub(crate) name: &'static str,
    pub(crate) probe: Probe,
}

/// What shows that a package, or the same program from elsewhere, is installed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Probe {
    /// A program on `PATH`.
    Program(&'static str),
    /// A file.
    File(&'static str),
}

impl Package {
    /// A package known by the program it installs.
    pub(crate) const fn program(name: &'static str, program: &'static str) -> Self {
        Self {
            name,
            probe: Probe::Program(program),
        }
    }

    /// A package known by a file it installs.
    pub(crate) const fn file(name: &'static str, path: &'static str) -> Self {
        Self {
            name,
            probe: Probe::File(path),
        }
    }

    fn is_present(self) -> bool {
        match self.probe {
            Probe::Program(program) => process::which(program).is_some(),
            Probe::File(path) => Path::new(path).exists(),
        }
    }
}

/// True when none of `packages` is missing.
pub(crate) fn are_present(packages: &[Package]) -> bool {
    packages.iter().all(|package| package.is_present())
}

/// Makes sure that all of `packages` are there, installing what is missing in one go.
///
/// # Errors
/// [`Error::MayNotInstall`] with the command to type where xtask may not install, or the error of apt.
pub(crate) fn ensure(workspace: &Workspace, packages: &[Package]) -> Result<(), Error> {
    let missing: Vec<&str> = packages
        .iter()
        .filter(|package| !package.is_present())
        .map(|package| package.name)
        .collect();
    if missing.is_empty() {
        return Ok(());
    }
    let list = missing.join(" ");
    if process::which("apt-get").is_none() {
        return Err(Error::MayNotInstall {
            missing: list.clone(),
            why: "this is no Debian system",
            advice: format!("Install what your system has in the place of the Debian packages {list}."),
        });
    }
    if !rustix::process::geteuid().is_root() {
        return Err(Error::MayNotInstall {
            missing: list.clone(),
            why: "you are not root",
            advice: format!(
                "Run this, then try again:\n    sudo apt-get update && sudo apt-get install --no-install-recommends {list}"
            ),
        });
    }
    install(workspace, &missing)?;
    match packages.iter().find(|package| !package.is_present()) {
        None => Ok(()),
        Some(package) => Err(Error::NotInPackage {
            package: package.name.to_owned(),
            what: "file that it is known for",
        }),
    }
}

/// Installs packages; the package lists are fetched only when the ones at hand do not lead to the packages.
fn install(workspace: &Workspace, names: &[&str]) -> Result<(), Error> {
    let list = names.join(" ");
    say(&format!("installing {list}"));
    let attempt = |message: &str| {
        let mut command = Command::new("apt-get");
        command
            .args(["install", "--yes", "--no-install-recommends"])
            .args(names);
        command.env("DEBIAN_FRONTEND", "noninteractive");
        apt::run(
            &mut command,
            &workspace.log("apt-install")?,
            &Step::start(format!("{message} {list}")),
        )
    };
    if attempt("installing").is_ok() {
        return Ok(());
    }
    apt::run(
        Command::new("apt-get").arg("update"),
        &workspace.log("apt-update")?,
        &Step::start("fetching the package lists"),
    )?;
    attempt("installing")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_there_needs_no_package_manager() {
        let workspace = Workspace::find().unwrap();
        ensure(
            &workspace,
            &[
                Package::program("dash", "sh"),
                Package::file("linux", "/proc/self/exe"),
            ],
        )
        .unwrap();
        assert!(!Package::program("x", "no-such-program-anywhere").is_present());
        assert!(!Package::file("x", "/no/such/file").is_present());
    }
}
