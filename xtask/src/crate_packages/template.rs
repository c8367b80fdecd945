//! The guest of `templates/`, built from the packages as a user builds it: in a directory outside the repository, with stable Rust.

use std::env::consts::ARCH;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use clap::ValueEnum as _;

use crate::arch::{Arch, ArchRow};
use crate::error::{Error, WithPath as _};
use crate::guest_file;
use crate::metadata::PublishedCrate;
use crate::new_guest;
use crate::process;
use crate::progress::Step;
use crate::toolchain::{BareMetal, StandardLibrary};
use crate::workspace::Workspace;

/// Name of the program.
const NAME: &str = "guest-of-a-user";

/// The functions of the template.
const EXPORTS: [&str; 3] = ["count_words", "greet", "reverse"];
/// The function that it needs.
const IMPORTS: [&str; 1] = ["time_of_day"];

/// Builds the template with the unpacked packages, for `rows` and this machine's architecture, and checks the programs.
pub(super) fn check(
    workspace: &Workspace,
    rows: &[&'static ArchRow],
    crates: &[PublishedCrate],
    packages: &Path,
) -> Result<(), Error> {
    let parent = tempfile::tempdir().with_path(Path::new("a temporary directory"))?;
    let guest = parent.path().join(NAME);
    let used = crates.iter().filter(|published| is_of_guests(published));
    let used: Vec<(String, PathBuf)> = used
        .map(|published| (published.name.clone(), packages.join(published.directory())))
        .collect();
    new_guest::write(&guest, &used)?;
    // The versions of the other packages are those that the repository is tested with.
    let lock = workspace.root().join("Cargo.lock");
    fs::copy(&lock, guest.join("Cargo.lock")).with_path(&lock)?;
    let wanted = |row: &&ArchRow| row.name == ARCH || rows.iter().any(|wanted| wanted.arch == row.arch);
    let all = Arch::value_variants().iter().map(|arch| arch.row());
    for row in all.filter(wanted) {
        let program = build(workspace, row, &guest)?;
        let elf = fs::read(&program).with_path(&program)?;
        guest_file::check(&elf, row.name, &EXPORTS, &IMPORTS).map_err(|source| Error::GuestFile {
            path: program,
            source: source.into(),
        })?;
    }
    Ok(())
}

fn is_of_guests(published: &PublishedCrate) -> bool {
    new_guest::CRATES
        .iter()
        .any(|folder| new_guest::package_name(folder) == published.name)
}

/// Builds the program and returns its path.
fn build(workspace: &Workspace, row: &ArchRow, guest: &Path) -> Result<PathBuf, Error> {
    let target = row.sandbox_target().target;
    let _step = Step::start(format!("building the template of guests for {target}"));
    let (mut command, output) = match StandardLibrary::ensure(workspace, target)? {
        // As a user builds it.
        StandardLibrary::Installed => {
            let mut command = Command::new("cargo");
            command
                .args(["build", "--target", target])
                .env("CARGO_TERM_COLOR", "never")
                .env_remove("CARGO_TARGET_DIR")
                .env_remove("RUSTC_BOOTSTRAP")
                .env_remove("RUSTFLAGS")
                .env_remove("CARGO_ENCODED_RUSTFLAGS");
            (command, guest.join("target"))
        }
        // There is no standard library for the target here, so it is built from source.
        StandardLibrary::Source { .. } => (
            BareMetal::ensure(workspace, target)?.cargo_with_flags(workspace, "build")?,
            workspace.xtask("bare"),
        ),
    };
    command.current_dir(guest).arg("--release");
    process::run_logged(&mut command, &workspace.log("cargo-build-template")?)?;
    Ok(output.join(target).join("release").join(NAME))
}
