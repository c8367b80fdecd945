//! The packages of the published crates, as crates.io would get them.
//!
//! `cargo package` can build each package too, but unpacks those that it depends on below `CARGO_HOME` and keeps them there by
//! name, version and path of the repository: a second run in the same place would build against the sources of the first.

mod template;

use std::fs;
use std::path::Path;
use std::process::Command;

use crate::arch::ArchRow;
use crate::cargo;
use crate::error::{Error, WithPath as _};
use crate::metadata::{self, PublishedCrate};
use crate::process;
use crate::progress::Step;
use crate::workspace::Workspace;

/// Packages every published crate, checks that each compiles from its package with its default features, and builds the guest of `templates/` with them.
pub(crate) fn check(workspace: &Workspace, rows: &[&'static ArchRow]) -> Result<(), Error> {
    let crates = metadata::published_crates(workspace)?;
    package(workspace, &crates)?;
    let directory = workspace.xtask("packages");
    unpack(workspace, &crates, &directory)?;
    for published in &crates {
        let _step = Step::start(format!("compiling the package of {}", published.name));
        let mut command = cargo::command(workspace);
        command
            .current_dir(&directory)
            .args(["check", "--package", &published.name, "--target-dir"])
            .arg(workspace.target());
        process::run_logged(&mut command, &workspace.log("cargo-check-package")?)?;
    }
    template::check(workspace, rows, &crates, &directory)
}

fn package(workspace: &Workspace, crates: &[PublishedCrate]) -> Result<(), Error> {
    let mut command = cargo::command(workspace);
    // In a developer's tree, uncommitted changes are packaged as well.
    command.args(["package", "--no-verify", "--allow-dirty"]);
    command.args(crates.iter().flat_map(|published| ["--package", &published.name]));
    let _step = Step::start("packaging the published crates");
    process::run_logged(&mut command, &workspace.log("cargo-package")?)
}

/// Unpacks the packages into a workspace of their own, where each is used in place of the one on crates.io.
fn unpack(workspace: &Workspace, crates: &[PublishedCrate], directory: &Path) -> Result<(), Error> {
    if directory.exists() {
        fs::remove_dir_all(directory).with_path(directory)?;
    }
    fs::create_dir_all(directory).with_path(directory)?;
    for published in crates {
        let package = workspace.target().join("package");
        let package = package.join(published.directory() + ".crate");
        let mut command = Command::new("tar");
        // Packages have the same times always; cargo needs new ones to see that a file has changed.
        command.arg("-xzmf").arg(package).arg("-C").arg(directory);
        process::run_logged(&mut command, &workspace.log("tar")?)?;
    }
    let manifest = directory.join("Cargo.toml");
    fs::write(&manifest, workspace_manifest(crates)).with_path(&manifest)?;
    let lock = workspace.root().join("Cargo.lock");
    fs::copy(&lock, directory.join("Cargo.lock")).with_path(&lock)?;
    Ok(())
}

fn workspace_manifest(crates: &[PublishedCrate]) -> String {
    let patches = crates.iter().map(|published| {
        let (name, directory) = (&published.name, published.directory());
        format!("{name} = {{ path = \"{directory}\" }}\n")
    });
    let patches: String = patches.collect();
    format!("[workspace]\nresolver = \"3\"\nmembers = [\"*\"]\n\n[patch.crates-io]\n{patches}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_package_replaces_the_one_on_crates_io() {
        let published = |name: &str| PublishedCrate {
            name: name.to_owned(),
            version: "0.1.0".to_owned(),
        };
        let manifest = workspace_manifest(&[published("vmboot"), published("vmboot-core")]);
        let manifest: toml::Table = manifest.parse().unwrap();
        assert_eq!(
            manifest["patch"]["crates-io"]["vmboot-core"]["path"].as_str(),
            Some("vmboot-core-0.1.0")
        );
    }
}
