//! Building `guests/sandbox/c/`: guests of sandboxes in C, with the machine's or a cross compiler.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::picolibc;
use crate::arch::ArchRow;
use crate::build;
use crate::error::{Error, WithPath as _};
use crate::process;
use crate::progress::{Step, print_status};
use crate::workspace::Workspace;

/// Flags of all programs: a static program at the address in the linker script, without the C library of the compiler.
const FLAGS: [&str; 19] = [
    "-std=gnu11",
    "-O2",
    "-g",
    "-Wall",
    "-Wextra",
    "-Werror",
    "-ffreestanding",
    "-fno-pic",
    "-fno-pie",
    "-fno-stack-protector",
    "-fno-asynchronous-unwind-tables",
    // Backtraces of crashes.
    "-fno-omit-frame-pointer",
    // The loop in memcpy is not a call of memcpy.
    "-fno-tree-loop-distribute-patterns",
    "-nostdlib",
    "-static",
    "-no-pie",
    "-Wl,--build-id=none",
    "-Wl,-z,noexecstack",
    "-Wl,-T,guest.ld",
];

/// Flags of programs with picolibc. Its variables for a thread are at a constant distance from the thread pointer.
const LIBRARY_FLAGS: [&str; 5] = [
    "-ftls-model=local-exec",
    "-Wl,--start-group",
    "-lc",
    "-lgcc",
    "-Wl,--end-group",
];

/// Builds the programs of an architecture into `directory`.
pub(super) fn build(workspace: &Workspace, row: &ArchRow, directory: &Path) -> Result<(), Error> {
    build::ensure_linker(workspace, row)?;
    let sources = workspace.root().join("guests/sandbox/c");
    let header = workspace.root().join("crates/sandbox-abi/include");
    for guest in row.c_guests {
        let path = directory.join(guest.file);
        let mut command = Command::new(row.linker.unwrap_or("cc"));
        command.current_dir(&sources).args(FLAGS).args(guest.flags);
        command.arg("-I").arg(&header).args(guest.sources);
        if let Some(library) = &guest.library {
            let Some(found) = picolibc::ensure(workspace, row, library)? else {
                print_status(&format!(
                    "going on without {}: {} cannot be fetched on this system",
                    guest.file, library.package
                ));
                continue;
            };
            command.arg("-isystem").arg(found.include);
            command.arg("-L").arg(found.library).args(LIBRARY_FLAGS);
        }
        let _step = Step::start(format!("building {} for {}", guest.file, row.name));
        command.arg("-o").arg(partial(&path));
        process::run_logged(&mut command, &workspace.log(&format!("build-{}", guest.file))?)?;
        fs::rename(partial(&path), &path).with_path(&path)?;
    }
    Ok(())
}

/// Where a program is built, so that one that fails leaves nothing under its name.
fn partial(path: &Path) -> PathBuf {
    path.with_extension("partial")
}
