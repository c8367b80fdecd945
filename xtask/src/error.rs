//! Errors of the tasks.

use std::io;
use std::path::{Path, PathBuf};
use std::process::ExitStatus;
use std::time::Duration;

use lab_init::{Ending, FrameError};

use crate::extract_vmlinux::error::ExtractError;
use crate::firmware::error::FirmwareError;
use crate::firmware::medium::error::MediumError;
use crate::guest_file::GuestFileError;
use crate::guests::error::GuestError;

/// Error of a task.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub(crate) enum Error {
    /// A file or directory could not be used.
    #[error("{}: {source}", path.display())]
    File { path: PathBuf, source: io::Error },

    /// A program could not be started.
    #[error("cannot start {program}: {source}")]
    Start { program: String, source: io::Error },

    /// A command failed. Contains the end of its output; the log has all of it.
    #[error("{command} failed ({status}):\n{tail}\n(all of its output is in {})", log.display())]
    Command {
        command: String,
        status: ExitStatus,
        tail: String,
        log: PathBuf,
    },

    /// A command whose output was shown failed.
    #[error("{command} failed ({status})")]
    Shown { command: String, status: ExitStatus },

    /// Ctrl-C, SIGTERM or SIGHUP ended the task.
    #[error("interrupted")]
    Interrupted,

    /// The directory of the linker has a name that a search path cannot contain.
    #[error("the directory of rust-lld cannot be added to PATH")]
    SearchPath { source: std::env::JoinPathsError },

    /// A package is missing, and xtask cannot install it as this user or on this system.
    #[error("missing: {missing}\nxtask cannot install it here ({why}). {advice}")]
    MayNotInstall {
        missing: String,
        why: &'static str,
        advice: String,
    },

    /// The machine's apt sources have no mirror of its own release.
    #[error(
        "no entry of this machine's apt sources offers the main component of its own release ({codename}), so there \
         is no mirror to fetch Debian's packages from; name kernel files instead, with XTASK_KERNEL_X86_64 and so on"
    )]
    NoAptSource { codename: String },

    /// The machine's QEMU has a version that cannot run the machine.
    #[error(
        "{program} is version {found}, and {expected} is needed (xtask/src/arch.rs says why); install such a version, or put it first on PATH"
    )]
    WrongQemu {
        program: &'static str,
        found: String,
        expected: String,
    },

    /// A package lacks an expected file.
    #[error("the Debian package {package} has no {what}")]
    NotInPackage { package: String, what: &'static str },

    /// `start_kernel` of Debian's kernel was not found.
    #[error("start_kernel {0}")]
    StartKernel(&'static str),

    /// The stopwatch measured no boot of one of the programs.
    #[error("a program was not measured")]
    NoLaps,

    /// A metapackage depends on no kernel package.
    #[error("{package} of Debian {suite} depends on no package linux-image-*")]
    NoKernelPackage { package: String, suite: &'static str },

    /// A module that L1 needs is neither built into the kernel nor in its module directory.
    #[error("no module {name} in {}, and it is not built into the kernel", directory.display())]
    NoModule { name: &'static str, directory: PathBuf },

    /// `--host native` on a machine whose KVM cannot be used.
    #[error("--host native is not possible here: {reason}; use --host lab")]
    NoNativeKvm { reason: String },

    /// The vmlinux in a bzImage could not be extracted.
    #[error("{}: {source}", path.display())]
    ExtractVmlinux { path: PathBuf, source: ExtractError },

    /// A directory for a guest has a name that is not one of packages.
    #[error(
        "{}: the name of the directory becomes that of the program, and has to begin with a letter and contain only a-z, A-Z, 0-9, - and _",
        directory.display()
    )]
    GuestName { directory: PathBuf },

    /// The project's own reader refuses a guest of a sandbox.
    #[error("{}: {}", path.display(), source.chain())]
    GuestFile {
        path: PathBuf,
        source: Box<GuestFileError>,
    },

    /// The ELF that cargo built for a guest could not be converted.
    #[error("{name}: {source}")]
    Guest { name: &'static str, source: GuestError },

    /// The KVM host machine sent an invalid frame.
    #[error(transparent)]
    Frame(#[from] FrameError),

    /// The KVM host machine reported an error.
    #[error("the KVM host machine failed: {message}")]
    Lab { message: String },

    /// The KVM host machine stopped before all programs ended.
    #[error(
        "the KVM host machine stopped before all programs had ended; the end of its console:\n{tail}\n(all of it is in {})",
        console.display()
    )]
    LabStopped { tail: String, console: PathBuf },

    /// The KVM host machine exceeded its deadline.
    #[error(
        "the KVM host machine exceeded its deadline of {deadline:?} and was stopped; the end of its console:\n{tail}\n\
         (all of it is in {})",
        console.display()
    )]
    LabDeadline {
        deadline: Duration,
        tail: String,
        console: PathBuf,
    },

    /// cargo built no program of this name.
    #[error("cargo built no program {name}")]
    NoProgram { name: String },

    /// A machine or a firmware is not there, or a boot failed.
    #[error(transparent)]
    Firmware(#[from] FirmwareError),

    /// A boot medium could not be made.
    #[error(transparent)]
    Medium(#[from] MediumError),

    /// A program succeeded without its last line.
    #[error("{program} ended without the line {milestone:?}")]
    NoMilestone {
        program: &'static str,
        milestone: &'static str,
    },

    /// The program of another project that a bench runs could not be built.
    #[error(
        "{peer} could not be built, so there is nothing to compare with:\n{source}\n\
         The bench without --peer needs none of it. Building takes crates.io or a mirror of it, and what `cargo xtask guests` takes; the \
         projects are in {}",
        directory.display()
    )]
    Peer {
        peer: &'static str,
        directory: PathBuf,
        source: Box<Error>,
    },

    /// A limit of a row that the bench does not have.
    #[error("xtask/bench-limits.toml has a limit for {0:?}, but the bench has no such row")]
    NoRow(String),

    /// Rows of a bench are over their limits.
    #[error("these rows miss their limit: {}", rows.join(", "))]
    LimitsMissed { rows: Vec<String> },

    /// The program in `run` failed.
    #[error("{program} {ending}")]
    Program { program: String, ending: Ending },

    /// Some tests failed, or a tier ran none.
    #[error("{message}")]
    Tests { message: String },

    /// JSON could not be written, or cargo's JSON is not as expected.
    #[error("{what}: {source}")]
    Json { what: String, source: serde_json::Error },

    /// `cargo metadata` failed.
    #[error("{}: {source}", manifest.display())]
    Metadata {
        manifest: PathBuf,
        source: cargo_metadata::Error,
    },

    /// A manifest or a list is not valid TOML.
    #[error("{}: {source}", path.display())]
    Toml { path: PathBuf, source: toml::de::Error },

    /// A source file cannot be parsed as Rust.
    #[error("{}:{}: {source}", path.display(), source.span().start().line)]
    Syntax { path: PathBuf, source: syn::Error },

    /// `tidy --rule` names a rule that does not exist.
    #[error("there is no rule {name}; the rules are: {known}")]
    NoRule { name: String, known: String },

    /// House rules are violated; each violation was printed.
    #[error("{count} violations of the house rules")]
    Tidy { count: usize },

    /// `mutants` was asked for a crate that is not pure.
    #[error("{name} is not one of the pure crates: {known}")]
    NoPureCrate { name: String, known: String },

    /// Tests catch too few mutants.
    #[error(
        "fewer than {min} % of the mutants are caught, or the list of equivalent mutants is out of date: {crates}"
    )]
    Mutants { min: f64, crates: String },

    /// Results could not be written as JUnit XML.
    #[error("writing the JUnit report: {0}")]
    Junit(#[from] quick_junit::SerializeError),

    /// The handler for Ctrl-C could not be set.
    #[error("setting the handler for Ctrl-C: {0}")]
    Signals(#[from] ctrlc::Error),
}

/// Adds the path to an I/O error.
pub(crate) trait WithPath<T> {
    /// Converts the error to [`Error::File`] with this path.
    fn with_path(self, path: &Path) -> Result<T, Error>;
}

impl<T> WithPath<T> for io::Result<T> {
    fn with_path(self, path: &Path) -> Result<T, Error> {
        self.map_err(|source| Error::File {
            path: path.to_path_buf(),
            source,
        })
    }
}
