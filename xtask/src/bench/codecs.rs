//! Decompression of Debian's vmlinux beside the tools of the codecs.

use crate::arch::Arch;
use crate::cargo;
use crate::error::Error;
use crate::fixtures;
use crate::kernel;
use crate::packages::{self, Package};
use crate::process;
use crate::suite::Suite;
use crate::workspace::Workspace;

/// The tools that are measured, too.
const TOOLS: [Package; 5] = [
    Package::program("bzip2", "bzip2"),
    Package::program("lz4", "lz4"),
    Package::program("lzop", "lzop"),
    Package::program("xz-utils", "xz"),
    Package::program("zstd", "zstd"),
];

/// Runs the bench of `decompress` with each decoder.
pub(super) fn run(workspace: &Workspace) -> Result<(), Error> {
    packages::ensure(workspace, &TOOLS)?;
    let bzimage = kernel::ensure(workspace, Arch::X86_64.row(), Suite::Trixie)?.image;
    let vmlinux = fixtures::vmlinux(workspace, &bzimage)?;
    for (title, features, only) in [
        ("Decoders of vmboot, but for Zstandard", "bzip2", None),
        ("Zstandard by its library in C", "zstd-c", Some("zstd")),
    ] {
        println!("{title}:");
        let mut command = cargo::command(workspace);
        command
            .args([
                "bench",
                "--quiet",
                "--package",
                "vmboot-decompress",
                "--bench",
                "codecs",
            ])
            .args(["--features", features, "--"])
            .arg(&vmlinux)
            .args(only);
        process::run_shown(&mut command)?;
    }
    Ok(())
}
