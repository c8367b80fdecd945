//! System packages that a task needs. A package is installed only when a program or file of it is missing.

use std::path::Path;
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::apt;
use crate::error::Error;
use crate::process;
use crate::progress::{Step, print_status};
use crate::workspace::Workspace;

/// Set once the package lists were fetched in this run.
static ARE_LISTS_FRESH: AtomicBool = AtomicBool::new(false);

/// A Debian package, and how to detect that it is installed without apt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Package {
    pub(crate) name: &'static str,
    pub(crate) probe: Probe,
}

/// Major and minor version.
pub(crate) type Version = (u32, u32);

/// Detects that a package, or the same program from another source, is installed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Probe {
    /// A program on `PATH`.
    Program(&'static str),
    /// A program, by its path or on `PATH`, whose `--version` is at least this.
    AtLeast(&'static str, Version),
    /// A file.
    File(&'static str),
}

impl Package {
    const fn new(name: &'static str, probe: Probe) -> Self {
        Self { name, probe }
    }

    /// A package known by the program it installs.
    pub(crate) const fn program(name: &'static str, program: &'static str) -> Self {
        Self::new(name, Probe::Program(program))
    }

    /// A package known by the program it installs, in at least this version.
    pub(crate) const fn at_least(name: &'static str, program: &'static str, version: Version) -> Self {
        Self::new(name, Probe::AtLeast(program, version))
    }

    /// A package known by a file it installs.
    pub(crate) const fn file(name: &'static str, path: &'static str) -> Self {
        Self::new(name, Probe::File(path))
    }

    fn is_present(self) -> bool {
        match self.probe {
            Probe::Program(program) => process::which(program).is_some(),
            Probe::AtLeast(program, version) => {
                version_of(program).is_some_and(|installed| installed >= version)
            }
            Probe::File(path) => Path::new(path).exists(),
        }
    }

    /// The package's name, and the required version if there is one.
    fn description(self) -> String {
        match self.probe {
            Probe::AtLeast(_, (major, minor)) => format!("{} (at least version {major}.{minor})", self.name),
            Probe::Program(_) | Probe::File(_) => self.name.to_owned(),
        }
    }
}

/// The version that a program prints.
fn version_of(program: &str) -> Option<Version> {
    let output = Command::new(process::which(program)?)
        .arg("--version")
        .output()
        .ok()?;
    version_in(&String::from_utf8_lossy(&output.stdout))
}

/// The first word of a `--version` text that is a version: `QEMU emulator version 10.0.2 (Debian 1:10.0.2)`.
pub(crate) fn version_in(text: &str) -> Option<Version> {
    text.split_whitespace().find_map(|word| {
        let mut numbers = word.split(|c: char| !c.is_ascii_digit());
        let major = numbers.next()?.parse().ok()?;
        let minor = numbers.next()?.parse().ok()?;
        Some((major, minor))
    })
}

/// True when none of `packages` is missing.
pub(crate) fn are_present(packages: &[Package]) -> bool {
    packages.iter().all(|package| package.is_present())
}

/// Installs those of `packages` that are missing, with one call of apt.
///
/// # Errors
/// [`Error::MayNotInstall`] with the command to run where xtask cannot install, or the error of apt.
pub(crate) fn ensure(workspace: &Workspace, packages: &[Package]) -> Result<(), Error> {
    let missing: Vec<Package> = packages
        .iter()
        .copied()
        .filter(|package| !package.is_present())
        .collect();
    install_all(workspace, &missing)?;
    match packages.iter().find(|package| !package.is_present()) {
        None => Ok(()),
        Some(package) => Err(Error::NotInPackage {
            package: package.description(),
            what: "file or program that it is known for",
        }),
    }
}

/// Installs or upgrades all of `packages`, or returns an error with the command that does.
pub(crate) fn install_all(workspace: &Workspace, packages: &[Package]) -> Result<(), Error> {
    if packages.is_empty() {
        return Ok(());
    }
    let wanted: Vec<String> = packages.iter().map(|package| package.description()).collect();
    let missing = wanted.join(", ");
    if process::which("apt-get").is_none() {
        return Err(Error::MayNotInstall {
            advice: format!("Install your system's equivalents of these Debian packages: {missing}."),
            missing,
            why: "this is not a Debian system",
        });
    }
    if !rustix::process::geteuid().is_root() {
        return Err(Error::MayNotInstall {
            missing,
            why: "you are not root",
            advice: advice(packages),
        });
    }
    install(workspace, packages)
}

/// The commands that install `packages`.
fn advice(packages: &[Package]) -> String {
    let names: Vec<_> = packages.iter().map(|package| package.name).collect();
    format!(
        "Run this, then try again:\n    sudo apt-get update && sudo apt-get install --no-install-recommends {}",
        names.join(" ")
    )
}

fn install(workspace: &Workspace, packages: &[Package]) -> Result<(), Error> {
    // With old lists, apt installs old versions or requests files that the mirror no longer has.
    if !ARE_LISTS_FRESH.swap(true, Ordering::Relaxed) {
        let step = Step::start("fetching the package lists");
        let mut command = Command::new("apt-get");
        if let Err(error) = apt::run(command.arg("update"), &workspace.log("apt-update")?, &step) {
            print_status(&format!("using the existing package lists: {error}"));
        }
    }
    let names = || packages.iter().map(|package| package.name);
    let mut command = Command::new("apt-get");
    command
        .args(["install", "--yes", "--no-install-recommends"])
        .args(names());
    command.env("DEBIAN_FRONTEND", "noninteractive");
    let step = Step::start(format!("installing {}", names().collect::<Vec<_>>().join(" ")));
    apt::run(&mut command, &workspace.log("apt-install")?, &step)
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
                Package::at_least("cargo", "cargo", (1, 60)),
            ],
        )
        .unwrap();
        assert!(!Package::program("x", "no-such-program-anywhere").is_present());
        assert!(!Package::file("x", "/no/such/file").is_present());
        assert!(!Package::at_least("cargo", "cargo", (1000, 0)).is_present());
        assert!(!Package::at_least("x", "no-such-program-anywhere", (0, 0)).is_present());
    }

    #[test]
    fn programs_tell_their_versions() {
        for (text, expected) in [
            (
                "QEMU emulator version 10.0.2 (Debian 1:10.0.2+ds-2)\nCopyright",
                Some((10, 0)),
            ),
            (
                "rustc 1.85.0 (4d91de4e4 2025-02-17) (built from a source tarball)",
                Some((1, 85)),
            ),
            ("QEMU emulator version 7.2.18", Some((7, 2))),
            ("a program 7 without", None),
            ("", None),
        ] {
            assert_eq!(version_in(text), expected, "{text}");
        }
    }

    #[test]
    fn the_advice_names_every_package() {
        let packages = [
            Package::program("one", "one"),
            Package::at_least("two", "two", (10, 0)),
        ];
        let advice = advice(&packages);
        assert!(
            advice.contains("apt-get install") && advice.contains(" one") && advice.contains(" two"),
            "{advice}"
        );
        assert_eq!(packages[1].description(), "two (at least version 10.0)");
    }
}
