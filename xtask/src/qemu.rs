//! Finds a QEMU of a suitable version: the machine's own, or one from Debian unpacked below `target/`.

pub(crate) mod versions;

use std::fmt;
use std::path::PathBuf;
use std::process::Command;

use crate::apt::{self, PrivateApt};
use crate::error::Error;
use crate::packages::{self, Package, Version};
use crate::process;
use crate::progress::print_status;
use crate::workspace::Workspace;

/// The emulator of one architecture, and its suitable versions.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Qemu {
    program: &'static str,
    /// The package, by a name that is valid in every release of Debian.
    package: &'static str,
    versions: Versions,
    /// Where Debian has a suitable version, if the machine's own is not.
    fallback: Option<Fallback>,
}

/// A range of versions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Versions {
    /// The oldest suitable version.
    since: Version,
    /// The first later version that is not suitable.
    before: Option<Version>,
}

/// A suite of Debian's archive, and its packages with the files of an emulator. Shared libraries are those of the machine's
/// own emulator.
#[derive(Clone, Copy, Debug)]
struct Fallback {
    suite: &'static str,
    packages: &'static [&'static str],
}

/// An emulator of a suitable version.
#[derive(Clone, Debug)]
pub(crate) struct Emulator {
    program: PathBuf,
    /// The root directory that it was unpacked to; `None` for the machine's own.
    root: Option<PathBuf>,
}

impl Qemu {
    /// Any version that xtask supports, 7.2 or later.
    pub(crate) const fn new(package: &'static str, program: &'static str) -> Self {
        Self {
            program,
            package,
            versions: Versions {
                since: (7, 2),
                before: None,
            },
            fallback: None,
        }
    }

    /// Requires this version or later; otherwise the `packages` of `suite` are unpacked.
    pub(crate) const fn since(
        self,
        version: Version,
        suite: &'static str,
        packages: &'static [&'static str],
    ) -> Self {
        let versions = Versions {
            since: version,
            ..self.versions
        };
        self.with_fallback(versions, Fallback { suite, packages })
    }

    /// Requires a version older than this; otherwise the `packages` of `suite` are unpacked.
    pub(crate) const fn before(
        self,
        version: Version,
        suite: &'static str,
        packages: &'static [&'static str],
    ) -> Self {
        let versions = Versions {
            before: Some(version),
            ..self.versions
        };
        self.with_fallback(versions, Fallback { suite, packages })
    }

    const fn with_fallback(self, versions: Versions, fallback: Fallback) -> Self {
        Self {
            versions,
            fallback: Some(fallback),
            ..self
        }
    }

    /// Finds a suitable version; installs or unpacks one if there is none.
    ///
    /// # Errors
    /// [`Error::WrongQemu`] when the machine's version is not suitable and there is no other.
    pub(crate) fn ensure(&self, workspace: &Workspace) -> Result<Emulator, Error> {
        packages::ensure(workspace, &[Package::program(self.package, self.program)])?;
        let own = Emulator {
            program: process::which(self.program).unwrap_or_else(|| self.program.into()),
            root: None,
        };
        let found = own.version();
        if found.is_some_and(|version| self.versions.contain(version)) {
            return Ok(own);
        }
        let Some(fallback) = self.fallback.filter(|_| apt::is_available()) else {
            return Err(self.wrong(found));
        };
        let root = workspace.xtask("qemu").join(fallback.suite).join(self.program);
        if !root.exists() {
            print_status(&format!(
                "this machine's {} is not of {}, unpacking one below target/",
                self.program, self.versions
            ));
            PrivateApt::of_machine(workspace, fallback.suite)?.unpack(fallback.packages, &root)?;
        }
        let unpacked = Emulator {
            program: root.join("usr/bin").join(self.program),
            root: Some(root),
        };
        match unpacked.version() {
            Some(version) if self.versions.contain(version) => Ok(unpacked),
            _ => Err(self.wrong(found)),
        }
    }

    fn wrong(&self, found: Option<Version>) -> Error {
        Error::WrongQemu {
            program: self.program,
            found: found.map_or_else(
                || "unknown".to_owned(),
                |(major, minor)| format!("{major}.{minor}"),
            ),
            expected: self.versions.to_string(),
        }
    }
}

impl Versions {
    fn contain(self, version: Version) -> bool {
        version >= self.since && self.before.is_none_or(|end| version < end)
    }
}

impl fmt::Display for Versions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (major, minor) = self.since;
        write!(f, "version {major}.{minor} or later")?;
        match self.before {
            Some((major, minor)) => write!(f, ", but older than {major}.{minor}"),
            None => Ok(()),
        }
    }
}

impl Emulator {
    /// A command that starts it.
    pub(crate) fn command(&self) -> Command {
        let mut command = Command::new(&self.program);
        if let Some(root) = &self.root {
            // It finds its data files relative to itself, but looks for its modules in the installed location.
            let modules = format!("usr/lib/{}-linux-gnu/qemu", std::env::consts::ARCH);
            command.env("QEMU_MODULE_DIR", root.join(modules));
        }
        command
    }

    fn version(&self) -> Option<Version> {
        let output = self.command().arg("--version").output().ok()?;
        packages::version_in(&String::from_utf8_lossy(&output.stdout))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_outside_the_range_will_not_do() {
        let check = |since, before, version, expected| {
            let versions = Versions { since, before };
            assert_eq!(versions.contain(version), expected, "{version:?}: {versions}");
        };
        check((7, 2), None, (7, 1), false);
        check((7, 2), None, (7, 2), true);
        check((7, 2), None, (11, 0), true);
        check((7, 2), Some((10, 0)), (9, 2), true);
        check((7, 2), Some((10, 0)), (10, 0), false);
        let versions = Versions {
            since: (7, 2),
            before: Some((10, 0)),
        };
        assert_eq!(versions.to_string(), "version 7.2 or later, but older than 10.0");
    }
}
