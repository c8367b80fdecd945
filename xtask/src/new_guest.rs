//! `cargo xtask new-guest`: writes `templates/sandbox-guest` to a directory of the user.

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};

use crate::error::{Error, WithPath as _};
use crate::progress::print_status;
use crate::workspace::Workspace;

/// The files of the template.
const FILES: [(&str, &str); 4] = [
    (
        ".cargo/config.toml",
        include_str!("../../templates/sandbox-guest/.cargo/config.toml"),
    ),
    (
        "Cargo.toml",
        include_str!("../../templates/sandbox-guest/Cargo.toml"),
    ),
    (
        "README.md",
        include_str!("../../templates/sandbox-guest/README.md"),
    ),
    (
        "src/main.rs",
        include_str!("../../templates/sandbox-guest/src/main.rs"),
    ),
];

/// Name of the package in the template.
const NAME: &str = "my-guest";

/// Folders of the crates that a guest depends on.
pub(crate) const CRATES: [&str; 3] = ["sandbox-abi", "sandbox-guest", "sandbox-macros"];

/// Name of the package in a folder of [`CRATES`].
pub(crate) fn package_name(folder: &str) -> String {
    format!("vmboot-{folder}")
}

/// Writes the template into the new directory `directory`, whose name becomes that of the package. `crates` are packages to use in place of
/// those on crates.io, and their directories.
///
/// # Errors
/// The directory exists, cannot be written, or has a name that a package cannot have.
pub(crate) fn write(directory: &Path, crates: &[(String, PathBuf)]) -> Result<(), Error> {
    let name = directory.file_name().and_then(|name| name.to_str());
    let name = name
        .filter(|name| is_package_name(name))
        .ok_or_else(|| Error::GuestName {
            directory: directory.to_path_buf(),
        })?;
    fs::create_dir(directory).with_path(directory)?;
    for (path, text) in FILES {
        let mut text = text.replace(NAME, name);
        if path == "Cargo.toml" {
            text += &patches(crates);
        }
        let path = directory.join(path);
        let parent = path.parent().unwrap_or(directory);
        fs::create_dir_all(parent).with_path(parent)?;
        fs::write(&path, text).with_path(&path)?;
    }
    Ok(())
}

/// Whether cargo accepts `name` for a package and its program.
fn is_package_name(name: &str) -> bool {
    name.starts_with(|first: char| first.is_ascii_alphabetic())
        && name
            .chars()
            .all(|c| c.is_ascii_alphanumeric() || c == '-' || c == '_')
}

/// The end of a manifest that makes cargo use these packages.
fn patches(crates: &[(String, PathBuf)]) -> String {
    if crates.is_empty() {
        return String::new();
    }
    let mut text = "\n[patch.crates-io]\n".to_owned();
    for (name, directory) in crates {
        // Strings of JSON are also strings of TOML.
        let path = serde_json::Value::from(directory.to_string_lossy());
        // Writing to a string does not fail.
        let _ = writeln!(text, "{name} = {{ path = {path} }}");
    }
    text
}

/// Writes the template as [`write()`] does; its program uses the crates of this repository.
pub(crate) fn write_for_clone(workspace: &Workspace, directory: &Path) -> Result<(), Error> {
    let crates = CRATES.map(|folder| (package_name(folder), workspace.root().join("crates").join(folder)));
    write(directory, &crates)
}

/// `cargo xtask new-guest`.
pub(crate) fn run(workspace: &Workspace, directory: &Path) -> Result<(), Error> {
    let directory = std::path::absolute(directory).with_path(directory)?;
    write_for_clone(workspace, &directory)?;
    print_status(&format!(
        "wrote {}; build it there with: cargo build --release",
        directory.display()
    ));
    Ok(())
}

#[cfg(test)]
mod tests {
    use toml::Table;

    use super::*;

    fn file(name: &str) -> &'static str {
        FILES.iter().find(|(path, _)| *path == name).unwrap().1
    }

    fn table(text: &str) -> Table {
        text.parse().unwrap()
    }

    #[test]
    fn the_template_needs_the_version_of_the_workspace() {
        let workspace = table(include_str!("../../Cargo.toml"));
        let expected = &workspace["workspace"]["dependencies"]["sandbox-guest"]["version"];
        let template = table(file("Cargo.toml"));
        assert_eq!(
            template["dependencies"]["sandbox-guest"]["version"].as_str(),
            expected.as_str()
        );
        assert_eq!(
            workspace["workspace"]["package"]["version"].as_str(),
            expected.as_str()
        );
    }

    #[test]
    fn flags_and_profiles_are_those_of_our_own_guests() {
        let flags = table(include_str!("../../guests/sandbox/.cargo/config.toml"));
        assert_eq!(table(file(".cargo/config.toml")), flags);
        let mut manifest = table(include_str!("../../guests/sandbox/Cargo.toml"));
        // One guest has more debug information, for tests of debuggers.
        let release = manifest["profile"]["release"].as_table_mut().unwrap();
        assert!(release.remove("package").is_some());
        assert_eq!(table(file("Cargo.toml"))["profile"], manifest["profile"]);
    }

    #[test]
    fn the_directory_names_the_package() {
        let parent = tempfile::tempdir().unwrap();
        let directory = parent.path().join("images_2");
        let crates = [("vmboot-sandbox-abi".to_owned(), PathBuf::from("/a \"b\""))];
        write(&directory, &crates).unwrap();
        let manifest = table(&fs::read_to_string(directory.join("Cargo.toml")).unwrap());
        assert_eq!(manifest["package"]["name"].as_str(), Some("images_2"));
        assert_eq!(manifest["bin"][0]["name"].as_str(), Some("images_2"));
        let patch = &manifest["patch"]["crates-io"]["vmboot-sandbox-abi"];
        assert_eq!(patch["path"].as_str(), Some("/a \"b\""));
        let readme = fs::read_to_string(directory.join("README.md")).unwrap();
        assert!(readme.contains("release/images_2") && !readme.contains(NAME));
        // A second time, it exists.
        assert!(matches!(write(&directory, &[]), Err(Error::File { .. })));
        for name in ["9lives", "a b", "é", "-x"] {
            let error = write(&parent.path().join(name), &[]);
            assert!(matches!(error, Err(Error::GuestName { .. })), "{name}");
            assert!(!parent.path().join(name).exists());
        }
    }
}
