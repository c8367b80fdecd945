//! QEMU, in a version that does what is asked of it: the machine's own, or one unpacked below `target/`.

pub(crate) mod versions;

use std::fmt;
use std::path::PathBuf;
use std::process::Command;

use crate::apt::{self, PrivateApt};
use crate::error::Error;
use crate::packages::{self, Package, Version};
use crate::process;
use crate::progress::say;
use crate::workspace::Workspace;

/// The emulator of one architecture, and which versions of it will do.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Qemu {
    program: &'static str,
    /// The package, by a name that every release of Debian knows.
    package: &'static str,
    versions: Versions,
    /// Where Debian has such a version, for releases that have another.
    spare: Option<Spare>,
}

/// A range of versions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Versions {
    /// The first that will do.
    since: Version,
    /// The first after it that will not.
    before: Option<Version>,
}

/// A part of Debian's archive, and packages of it that have all files of an emulator. The libraries are those of the
/// machine's own emulator.
#[derive(Clone, Copy, Debug)]
struct Spare {
    suite: &'static str,
    packages: &'static [&'static str],
}

/// A program that will do.
#[derive(Clone, Debug)]
pub(crate) struct Emulator {
    program: PathBuf,
    /// The root directory that it was unpacked into, if it was.
    root: Option<PathBuf>,
}

impl Qemu {
    /// Any version that xtask knows how to use.
    pub(crate) const fn new(package: &'static str, program: &'static str) -> Self {
        Self {
            program,
            package,
            versions: Versions {
                since: (7, 2),
                before: None,
            },
            spare: None,
        }
    }

    /// A version at least this new; a release that has an older one finds one in the `packages` of `suite`.
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
        self.limited(versions, Spare { suite, packages })
    }

    /// A version older than this; a release that has a newer one finds one in the `packages` of `suite`.
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
        self.limited(versions, Spare { suite, packages })
    }

    const fn limited(self, versions: Versions, spare: Spare) -> Self {
        Self {
            versions,
            spare: Some(spare),
            ..self
        }
    }

    /// Finds one that will do, installing or unpacking it where it is missing.
    ///
    /// # Errors
    /// [`Error::WrongQemu`] where the machine has a version that will not do, and no other can be had.
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
        let Some(spare) = self.spare.filter(|_| apt::is_available()) else {
            return Err(self.wrong(found));
        };
        let root = workspace.xtask("qemu").join(spare.suite).join(self.program);
        if !root.exists() {
            say(&format!(
                "this machine's {} will not do, unpacking one of {} below target/",
                self.program, self.versions
            ));
            PrivateApt::of_machine(workspace, spare.suite)?.unpack(spare.packages, &root)?;
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
            // It looks for its other files beside itself, and for its modules where they would be if it were installed.
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
