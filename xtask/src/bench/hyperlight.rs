//! Hyperlight, measured beside sandboxes: `templates/hyperlight`, built with the packages of crates.io.

use std::fs;
use std::path::{Path, PathBuf};

use crate::arch::ArchRow;
use crate::build;
use crate::error::{Error, WithPath as _};
use crate::metadata;
use crate::progress::Step;
use crate::toolchain::BareMetal;
use crate::workspace::Workspace;

/// The only architecture of the programs.
pub(super) const ARCH: &str = "x86_64";

/// Target of the guest.
const GUEST_TARGET: &str = "x86_64-unknown-none";

/// Names of the packages and programs.
const HOST: &str = "hyperlight-peer";
const GUEST: &str = "hyperlight-peer-guest";

/// The files below `target/xtask/hyperlight`.
const FILES: [(&str, &str); 5] = [
    (
        "host/Cargo.toml",
        include_str!("../../../templates/hyperlight/host/Cargo.toml"),
    ),
    (
        "host/src/main.rs",
        include_str!("../../../templates/hyperlight/host/src/main.rs"),
    ),
    (
        "guest/.cargo/config.toml",
        include_str!("../../../templates/hyperlight/guest/.cargo/config.toml"),
    ),
    (
        "guest/Cargo.toml",
        include_str!("../../../templates/hyperlight/guest/Cargo.toml"),
    ),
    (
        "guest/src/main.rs",
        include_str!("../../../templates/hyperlight/guest/src/main.rs"),
    ),
];

/// The programs that measure Hyperlight.
#[derive(Debug)]
pub(super) struct Hyperlight {
    /// The host's program, statically linked. Its argument is the path of the guest.
    pub(super) host: PathBuf,
    pub(super) guest: PathBuf,
}

impl Hyperlight {
    /// Writes and builds the programs.
    ///
    /// # Errors
    /// [`Error::Peer`]: cargo cannot fetch or build a package, or there is no standard library for the guest.
    pub(super) fn build(workspace: &Workspace, row: &ArchRow) -> Result<Self, Error> {
        let directory = workspace.xtask("hyperlight");
        write(&directory)?;
        let built = build_guest(workspace, &directory).and_then(|guest| {
            let host = build_host(workspace, row, &directory)?;
            Ok(Self { host, guest })
        });
        built.map_err(|source| Error::Peer {
            peer: "Hyperlight",
            directory,
            source: Box::new(source),
        })
    }
}

/// Writes the files. Those that are equal keep their times, so that cargo builds nothing again.
fn write(directory: &Path) -> Result<(), Error> {
    for (name, text) in FILES {
        let path = directory.join(name);
        if fs::read_to_string(&path).is_ok_and(|old| old == text) {
            continue;
        }
        let parent = path.parent().unwrap_or(directory);
        fs::create_dir_all(parent).with_path(parent)?;
        fs::write(&path, text).with_path(&path)?;
    }
    Ok(())
}

fn build_guest(workspace: &Workspace, directory: &Path) -> Result<PathBuf, Error> {
    let mut command = BareMetal::ensure(workspace, GUEST_TARGET)?.cargo_with_flags(workspace, "build")?;
    command.arg("--release").current_dir(directory.join("guest"));
    let _step = Step::start(format!("building {GUEST} for {GUEST_TARGET}"));
    metadata::program(workspace, &mut command, "build-hyperlight-guest", GUEST)
}

fn build_host(workspace: &Workspace, row: &ArchRow, directory: &Path) -> Result<PathBuf, Error> {
    let mut command = build::static_cargo(workspace, row, "build")?;
    command.arg("--release").current_dir(directory.join("host"));
    let _step = Step::start(format!("building {HOST} for {}", row.std_target));
    metadata::program(workspace, &mut command, "build-hyperlight-host", HOST)
}
