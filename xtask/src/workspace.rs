//! Paths: the repository, and the directories below `target/` that the tasks write to.
//!
//! ```text
//! target/
//!   guests/ARCH/            guest programs built from guests/
//!   fixtures/               inputs of the KVM tests and benches, see `fixtures.rs`
//!   xtask/
//!     apt/                  private apt configuration, lists and downloads
//!     debian/SUITE/PACKAGE/ unpacked Debian packages
//!     static/               target directory of statically linked programs
//!     bare/                 target directory of bare-metal programs
//!     firmware/             boot media in media/, consoles of boots in logs/
//!     lab/                  initramfs and console log of the last KVM host machine
//!     fuzz/                 target directory of the fuzz targets
//!     hyperlight/           the programs of `bench sandbox --peer hyperlight`
//!     guests-host/          target directory of the guests' tests that run on this machine
//!     mutants/              results of `cargo xtask mutants` by crate, and the target directory of the mutants
//!     logs/                 output of the commands that run behind a progress line
//!     template/             the guest that `new-guest` writes
//!     tools/                subcommands of cargo, installed by cargo
//!     msrv/                 target directory of the oldest compiler
//!     packages/             the packages of the published crates, unpacked
//!     ukis/                 unified kernel images made by ukify, with its inputs
//!     vmlinux/              ELF kernels unpacked from bzImages
//!     junit.xml             results of the last `cargo xtask test`
//! ```

use std::env;
use std::fs;
use std::path::{Path, PathBuf};

use crate::error::{Error, WithPath as _};

/// The repository and its target directory.
#[derive(Clone, Debug)]
pub(crate) struct Workspace {
    root: PathBuf,
    target: PathBuf,
}

impl Workspace {
    /// Finds the repository that this program was built from, or that cargo runs it for.
    pub(crate) fn find() -> Result<Self, Error> {
        let manifest = env::var_os("CARGO_MANIFEST_DIR").unwrap_or_else(|| env!("CARGO_MANIFEST_DIR").into());
        let manifest = PathBuf::from(manifest);
        let root = manifest.parent().unwrap_or(&manifest).to_path_buf();
        let target = match env::var_os("CARGO_TARGET_DIR") {
            Some(target) => std::path::absolute(&target).with_path(Path::new(&target))?,
            None => root.join("target"),
        };
        Ok(Self { root, target })
    }

    /// The repository's root.
    pub(crate) fn root(&self) -> &Path {
        &self.root
    }

    /// The workspace's target directory.
    pub(crate) fn target(&self) -> &Path {
        &self.target
    }

    /// A path below `target/xtask/`.
    pub(crate) fn xtask(&self, path: impl AsRef<Path>) -> PathBuf {
        self.target.join("xtask").join(path)
    }

    /// The output directory of this architecture's guests.
    pub(crate) fn guests(&self, arch: &str) -> PathBuf {
        self.target.join("guests").join(arch)
    }

    /// The log file for the output of the command `name`; creates its directory.
    pub(crate) fn log(&self, name: &str) -> Result<PathBuf, Error> {
        let directory = self.xtask("logs");
        fs::create_dir_all(&directory).with_path(&directory)?;
        Ok(directory.join(name).with_extension("log"))
    }
}
