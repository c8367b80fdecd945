//! Error of `cargo xtask firmware`.

use std::path::PathBuf;

use super::failure::Failure;
use super::ukify::error::UkifyError;

/// Error of `cargo xtask firmware`.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub(crate) enum FirmwareError {
    /// The architecture has no machine of this name.
    #[error("{arch} has no machine {name}; it has {known}")]
    NoMachine {
        arch: &'static str,
        name: String,
        known: String,
    },
    /// The machine has no disks on this bus.
    #[error("the machine {machine} has no disks on the bus {bus}; it has {known}")]
    NoBus {
        machine: &'static str,
        bus: &'static str,
        known: String,
    },
    /// The name is neither that of a firmware nor that of a file.
    #[error("{name} is neither a file nor a firmware for {arch}: {known}")]
    NoFirmware {
        arch: &'static str,
        name: String,
        known: String,
    },
    /// A rival does not run on the machine.
    #[error("{firmware} does not run on the machine {machine}")]
    NotOnMachine {
        firmware: &'static str,
        machine: &'static str,
    },
    /// The source of our own firmware is not there.
    #[error("{} does not exist, so our firmware cannot be built; select another with --firmware", directory.display())]
    NoSource { directory: PathBuf },
    /// The firmware outgrew its limit.
    #[error(
        "{package} has {len} bytes; the limit is {limit}: make it smaller, or raise the limit in xtask/src/firmware/size.rs"
    )]
    TooLarge {
        package: &'static str,
        len: u64,
        limit: u64,
    },
    /// EFI calls cannot be traced on the architecture.
    #[error("guests/efitrace does not exist for {arch}; select x86_64 with --arch")]
    NoTracer { arch: &'static str },
    /// The trace of a boot differs from the one in the repository.
    #[error(
        "{boot}: the EFI calls differ from those in {}:\n{difference}\n(the trace is in {}; with UPDATE_GOLDEN=1 it replaces the file)",
        golden.display(), trace.display()
    )]
    Trace {
        boot: String,
        golden: PathBuf,
        difference: String,
        trace: PathBuf,
    },
    /// The emulated TPM does not open its socket.
    #[error("swtpm did not open {} in time", socket.display())]
    NoTpmSocket { socket: PathBuf },
    /// A TPM cannot be used on the architecture.
    #[error("the kernel for {arch} has no driver for a TPM built in; select x86_64 with --arch")]
    NoTpm { arch: &'static str },
    /// The files that ukify made cannot be read back.
    #[error(transparent)]
    Ukify(#[from] UkifyError),
    /// A boot failed.
    #[error("{boot}: {failure} (the console is in {})", log.display())]
    Boot {
        boot: String,
        failure: Failure,
        log: PathBuf,
    },
    /// A medium has no sector to make unreadable.
    #[error("{} has no sector with the content of bad sectors; remove it, so that it is made again", image.display())]
    NoBadSector { image: PathBuf },
    /// Boots of the matrix failed.
    #[error("{failed} of {all} boots failed")]
    Matrix { failed: usize, all: usize },
}
