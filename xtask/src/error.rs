//! What can go wrong in a task, in the words of the person who typed the command.

use std::io;
use std::path::{Path, PathBuf};
use std::process::ExitStatus;
use std::time::Duration;

use lab_init::{Ending, FrameError};

use crate::guests::error::GuestError;
use crate::payload::error::PayloadError;

/// Why a task failed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub(crate) enum Error {
    /// A file or directory could not be used.
    #[error("{}: {source}", path.display())]
    File { path: PathBuf, source: io::Error },

    /// A program could not be started.
    #[error("cannot start {program}: {source}")]
    Start { program: String, source: io::Error },

    /// A command ended with an error; its last words are shown, all of them are in the log.
    #[error("{command} failed ({status}):\n{tail}\n(all of its output is in {})", log.display())]
    Command {
        command: String,
        status: ExitStatus,
        tail: String,
        log: PathBuf,
    },

    /// A command that shows its own output ended with an error.
    #[error("{command} failed ({status})")]
    Shown { command: String, status: ExitStatus },

    /// Somebody pressed Ctrl-C, or asked for an end in another way.
    #[error("interrupted")]
    Interrupted,

    /// Something has to be installed, and this user or system does not allow xtask to do it.
    #[error("missing: {missing}\nxtask cannot install it here ({why}). {advice}")]
    MayNotInstall {
        missing: String,
        why: &'static str,
        advice: String,
    },

    /// The machine's apt sources name no place to fetch Debian's packages from.
    #[error(
        "no entry of this machine's apt sources offers the main component of its own release ({codename}), so there \
         is no mirror to fetch Debian's packages from; name kernel files instead, with XTASK_KERNEL_X86_64 and so on"
    )]
    NoAptSource { codename: String },

    /// The machine's QEMU is of a version that does not do what is asked of it.
    #[error(
        "{program} is version {found}, and {expected} is needed (xtask/src/arch.rs says why); install such a version, or put it first on PATH"
    )]
    WrongQemu {
        program: &'static str,
        found: String,
        expected: String,
    },

    /// A package that should hold a file does not.
    #[error("the Debian package {package} holds no {what}")]
    NotInPackage { package: String, what: &'static str },

    /// apt does not know what a metapackage depends on.
    #[error("apt knows no kernel package behind {package} in {suite}")]
    NoKernelPackage { package: String, suite: &'static str },

    /// A module that L1 needs is neither in the kernel nor beside it.
    #[error("no module {name} in {} and it is not built into the kernel", directory.display())]
    NoModule { name: &'static str, directory: PathBuf },

    /// `--host native` on a machine that cannot run every guest.
    #[error("--host native is not possible here: {reason}; use --host lab")]
    NoNativeKvm { reason: String },

    /// The vmlinux inside a bzImage could not be unpacked.
    #[error("{}: {source}", path.display())]
    Payload { path: PathBuf, source: PayloadError },

    /// A guest could not be made out of what cargo built.
    #[error("{name}: {source}")]
    Guest { name: &'static str, source: GuestError },

    /// The KVM host machine sent something that is not a report.
    #[error(transparent)]
    Frame(#[from] FrameError),

    /// The KVM host machine could not do its work.
    #[error("the KVM host machine failed: {message}")]
    Lab { message: String },

    /// The KVM host machine ended without having done its work.
    #[error(
        "the KVM host machine stopped before its work was done; the end of its console:\n{tail}\n(all of it is in {})",
        console.display()
    )]
    LabStopped { tail: String, console: PathBuf },

    /// The KVM host machine took too long.
    #[error(
        "the KVM host machine was stopped after {deadline:?} without an end; the end of its console:\n{tail}\n\
         (all of it is in {})",
        console.display()
    )]
    LabDeadline {
        deadline: Duration,
        tail: String,
        console: PathBuf,
    },

    /// The program that was run did not succeed.
    #[error("{program} {ending}")]
    Program { program: String, ending: Ending },

    /// Some tests failed, or a tier ran none.
    #[error("{message}")]
    Tests { message: String },

    /// JSON that this program wrote, or got from cargo, is not what it should be.
    #[error("{what}: {source}")]
    Json { what: String, source: serde_json::Error },

    /// cargo could not describe a workspace.
    #[error("{}: {source}", manifest.display())]
    Metadata {
        manifest: PathBuf,
        source: cargo_metadata::Error,
    },

    /// A manifest is not TOML.
    #[error("{}: {source}", path.display())]
    Toml { path: PathBuf, source: toml::de::Error },

    /// A source file is not Rust.
    #[error("{}:{}: {source}", path.display(), source.span().start().line)]
    Syntax { path: PathBuf, source: syn::Error },

    /// `tidy --rule` names a rule that does not exist.
    #[error("no rule is called {name}; the rules are: {known}")]
    NoRule { name: String, known: String },

    /// The tree violates house rules; each violation was printed.
    #[error("{count} violations of the house rules")]
    Tidy { count: usize },

    /// `mutants` was asked for a crate that is not pure.
    #[error("{name} is none of the pure crates: {known}")]
    NoPureCrate { name: String, known: String },

    /// Tests notice too few mutants.
    #[error(
        "fewer than {least} % of the mutants are caught, or the list of equivalent ones is out of date: {crates}"
    )]
    Mutants { least: f64, crates: String },

    /// Results could not be written as JUnit XML.
    #[error("writing the JUnit report: {0}")]
    Junit(#[from] quick_junit::SerializeError),

    /// The handler for Ctrl-C could not be set.
    #[error("setting the handler for Ctrl-C: {0}")]
    Signals(#[from] ctrlc::Error),
}

/// Adds the path to an I/O error.
pub(crate) trait At<T> {
    /// Says which file or directory the error is about.
    fn at(self, path: &Path) -> Result<T, Error>;
}

impl<T> At<T> for io::Result<T> {
    fn at(self, path: &Path) -> Result<T, Error> {
        self.map_err(|source| Error::File {
            path: path.to_path_buf(),
            source,
        })
    }
}
