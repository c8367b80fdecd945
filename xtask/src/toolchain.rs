//! Selects the standard library for a target other than this machine's, at run time.
//!
//! In this order: a target that rustup has installed; the standard library's source, of rustup or of Debian's
//! `rust-web-src`, built by cargo; `rustup target add`. A list of targets in `rust-toolchain.toml` would make rustup download
//! them, and where it cannot, every call of cargo would fail.

use std::env;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::cargo;
use crate::error::Error;
use crate::packages::{self, Package, Version};
use crate::process;
use crate::progress::Step;
use crate::workspace::Workspace;

/// Debian's newest Rust compiler, and the source of its standard library.
const DEBIAN_RUST: [Package; 2] = [
    Package::at_least("rustc-web", DEBIAN_RUSTC, OLDEST_RUST),
    Package::file("rust-web-src", "/var/lib/dpkg/info/rust-web-src.list"),
];

/// Clippy of that compiler, which reads the standard library that the compiler builds.
const DEBIAN_CLIPPY: Package = Package::file("rust-web-clippy", "/var/lib/dpkg/info/rust-web-clippy.list");

/// The `cargo clippy` that [`DEBIAN_CLIPPY`] installs. It runs the Clippy beside it.
const DEBIAN_CARGO_CLIPPY: &str = "/usr/bin/cargo-clippy";

/// The compiler that [`DEBIAN_RUST`] installs, and its sysroot.
const DEBIAN_RUSTC: &str = "/usr/bin/rustc";
const DEBIAN_SYSROOT: &str = "/usr";

/// The oldest compiler that builds the workspace: its `rust-version`.
const OLDEST_RUST: Version = (1, 95);

/// How programs for one bare-metal target are built.
#[derive(Debug)]
pub(crate) struct BareMetal {
    target: &'static str,
    standard_library: StandardLibrary,
    linker: Option<PathBuf>,
}

/// Source of the standard library for a target.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum StandardLibrary {
    /// Installed for the target.
    Installed,
    /// Built by cargo from the source of this compiler; `None` is the default compiler.
    Source { rustc: Option<&'static str> },
}

impl StandardLibrary {
    /// Finds the one for `target`; installs it if it is missing.
    pub(crate) fn ensure(workspace: &Workspace, target: &str) -> Result<Self, Error> {
        let sysroot = own_sysroot(workspace)?;
        match find(&sysroot, target) {
            Some(found) => Ok(found),
            None => install(workspace, &sysroot, target),
        }
    }

    /// Finds the source of the one for `target`, to build it with other settings than it is installed with. An installed one where there is no
    /// source.
    fn ensure_source(workspace: &Workspace, target: &str) -> Result<Self, Error> {
        match find_source(&own_sysroot(workspace)?) {
            Some(found) => Ok(found),
            None => Self::ensure(workspace, target),
        }
    }

    /// Makes a cargo command build these `crates` of the standard library, unless it is installed.
    pub(crate) fn apply(self, command: &mut Command, crates: &str) {
        if let Self::Source { rustc } = self {
            command
                .arg(format!("-Zbuild-std={crates}"))
                .env("RUSTC_BOOTSTRAP", "1");
            if let Some(rustc) = rustc {
                command.env("RUSTC", rustc);
            }
        }
    }
}

impl BareMetal {
    /// Finds the standard library and the linker for `target`; installs what is missing.
    pub(crate) fn ensure(workspace: &Workspace, target: &'static str) -> Result<Self, Error> {
        Self::with(workspace, target, StandardLibrary::ensure(workspace, target)?)
    }

    /// The same with a standard library built from source, if its source is there.
    pub(crate) fn ensure_source(workspace: &Workspace, target: &'static str) -> Result<Self, Error> {
        Self::with(
            workspace,
            target,
            StandardLibrary::ensure_source(workspace, target)?,
        )
    }

    fn with(
        workspace: &Workspace,
        target: &'static str,
        standard_library: StandardLibrary,
    ) -> Result<Self, Error> {
        let sysroot = own_sysroot(workspace)?;
        // A compiler finds its own rust-lld, but not that of another compiler.
        let host = format!("lib/rustlib/{}-unknown-linux-gnu/bin/rust-lld", env::consts::ARCH);
        let linker = Some(sysroot.join(host)).filter(|linker| linker.exists());
        Ok(Self {
            target,
            standard_library,
            linker,
        })
    }

    /// True if cargo builds the standard library, with features of the compiler that are not stable.
    pub(crate) fn is_from_source(&self) -> bool {
        matches!(self.standard_library, StandardLibrary::Source { .. })
    }

    /// `cargo SUBCOMMAND` set up for the target, with a target directory of its own.
    pub(crate) fn cargo(&self, workspace: &Workspace, subcommand: &str) -> Command {
        let mut command = self.cargo_without_linker(workspace, subcommand);
        if let Some(linker) = &self.linker {
            let target = self.target.to_uppercase().replace('-', "_");
            command.env(format!("CARGO_TARGET_{target}_LINKER"), linker);
        }
        command
    }

    /// `cargo clippy` set up for the target, by the Clippy of the compiler that builds for it.
    pub(crate) fn clippy(&self, workspace: &Workspace) -> Result<Command, Error> {
        if self.standard_library
            != (StandardLibrary::Source {
                rustc: Some(DEBIAN_RUSTC),
            })
        {
            return Ok(self.cargo(workspace, "clippy"));
        }
        packages::ensure(workspace, &[DEBIAN_CLIPPY])?;
        let mut command = Command::new(DEBIAN_CARGO_CLIPPY);
        command
            .env("CARGO_TERM_COLOR", "never")
            .current_dir(workspace.root());
        self.set_up(&mut command, workspace, "clippy");
        Ok(command)
    }

    /// [`cargo`](Self::cargo) for programs whose flags name `rust-lld` as the linker, since the variable of the linker would also apply to the build
    /// scripts on a machine of the target.
    pub(crate) fn cargo_with_flags(&self, workspace: &Workspace, subcommand: &str) -> Result<Command, Error> {
        let mut command = self.cargo_without_linker(workspace, subcommand);
        let directory = self.linker.as_deref().and_then(Path::parent);
        let path = env::var_os("PATH").unwrap_or_default();
        let directories = directory
            .map(Path::to_path_buf)
            .into_iter()
            .chain(env::split_paths(&path));
        let path = env::join_paths(directories).map_err(|source| Error::SearchPath { source })?;
        // Flags of the user would replace those of the configuration.
        command
            .env("PATH", path)
            .env_remove("RUSTFLAGS")
            .env_remove("CARGO_ENCODED_RUSTFLAGS");
        Ok(command)
    }

    fn cargo_without_linker(&self, workspace: &Workspace, subcommand: &str) -> Command {
        let mut command = cargo::command(workspace);
        self.set_up(&mut command, workspace, subcommand);
        command
    }

    fn set_up(&self, command: &mut Command, workspace: &Workspace, subcommand: &str) {
        command
            .args([subcommand, "--target", self.target, "--target-dir"])
            .arg(workspace.xtask("bare"));
        self.standard_library
            .apply(command, "core,alloc,compiler_builtins");
    }
}

/// Finds what is already installed.
fn find(sysroot: &Path, target: &str) -> Option<StandardLibrary> {
    if sysroot.join("lib/rustlib").join(target).join("lib").exists() {
        return Some(StandardLibrary::Installed);
    }
    find_source(sysroot)
}

/// Finds the source that is already installed.
fn find_source(sysroot: &Path) -> Option<StandardLibrary> {
    if has_source(sysroot) {
        return Some(StandardLibrary::Source { rustc: None });
    }
    (has_source(Path::new(DEBIAN_SYSROOT)) && packages::are_present(&DEBIAN_RUST)).then_some(
        StandardLibrary::Source {
            rustc: Some(DEBIAN_RUSTC),
        },
    )
}

fn has_source(sysroot: &Path) -> bool {
    sysroot
        .join("lib/rustlib/src/rust/library/core/Cargo.toml")
        .exists()
}

/// Installs the target from Debian, otherwise from rustup.
fn install(workspace: &Workspace, sysroot: &Path, target: &str) -> Result<StandardLibrary, Error> {
    // The source must be of the compiler's version, so neither is installed without the other.
    let from_debian = packages::install_all(workspace, &DEBIAN_RUST);
    if from_debian.is_err() && process::which("rustup").is_some() {
        let log = workspace.log("rustup-target-add")?;
        let _step = Step::start(format!("adding the target {target}"));
        process::run_logged(Command::new("rustup").args(["target", "add", target]), &log)?;
    } else {
        from_debian?;
    }
    find(sysroot, target).ok_or_else(|| Error::MayNotInstall {
        missing: format!("the Rust target {target}"),
        why: "it was installed, but not for the compiler in use",
        advice: format!("Run rustup target add {target} for the toolchain that runs xtask."),
    })
}

/// The sysroot of the compiler that cargo uses.
fn own_sysroot(workspace: &Workspace) -> Result<PathBuf, Error> {
    let mut command = Command::new("rustc");
    command.args(["--print", "sysroot"]).current_dir(workspace.root());
    let output = process::output(&mut command, &workspace.log("rustc-sysroot")?)?;
    Ok(String::from_utf8_lossy(&output).trim_end().into())
}

/// Name of an installed rustup toolchain. The query does not make rustup install one.
pub(crate) fn of_rustup(workspace: &Workspace, is_wanted: impl Fn(&str) -> bool) -> Option<String> {
    process::which("rustup")?;
    let mut command = Command::new("rustup");
    command.args(["toolchain", "list"]).current_dir(env::temp_dir());
    let log = workspace.log("rustup-toolchain-list").ok()?;
    let output = process::output(&mut command, &log).ok()?;
    let text = String::from_utf8_lossy(&output);
    let mut names = text.lines().filter_map(|line| line.split_whitespace().next());
    names.find(|name| is_wanted(name)).map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn the_oldest_compiler_is_the_workspaces() {
        let (major, minor) = OLDEST_RUST;
        assert_eq!(format!("{major}.{minor}"), env!("CARGO_PKG_RUST_VERSION"));
    }

    #[test]
    fn an_installed_target_comes_before_source() {
        let sysroot = tempfile::tempdir().unwrap();
        let source = sysroot.path().join("lib/rustlib/src/rust/library/core");
        fs::create_dir_all(&source).unwrap();
        fs::write(source.join("Cargo.toml"), "").unwrap();
        let target = "x86_64-unknown-none";
        assert_eq!(
            find(sysroot.path(), target),
            Some(StandardLibrary::Source { rustc: None })
        );
        fs::create_dir_all(sysroot.path().join("lib/rustlib").join(target).join("lib")).unwrap();
        assert_eq!(find(sysroot.path(), target), Some(StandardLibrary::Installed));
    }
}
