//! Rules: packages inherit common keys from the workspace's manifest, and published ones contain the licences.

use toml::Value;

use super::tree::Tree;
use super::violation::Violation;

/// Keys that are `workspace = true` in every package, and the line that belongs there.
const INHERITED: [(&str, &str); 4] = [
    ("lints.workspace", "[lints] workspace = true"),
    ("package.version.workspace", "version.workspace = true"),
    ("package.edition.workspace", "edition.workspace = true"),
    ("package.license.workspace", "license.workspace = true"),
];

/// Files with the texts of the licences.
const LICENCES: [&str; 2] = ["LICENSE-APACHE", "LICENSE-MIT"];

/// Every package inherits its lints, version, edition and licence.
pub(super) fn check(tree: &Tree) -> Vec<Violation> {
    let mut violations = Vec::new();
    for manifest in tree.packages().iter().map(|package| &package.manifest) {
        for (key, wanted) in INHERITED {
            if manifest.value(key).and_then(Value::as_bool) != Some(true) {
                let table = if key.starts_with("lints") {
                    "[lints"
                } else {
                    "[package]"
                };
                let message = format!("write `{wanted}`");
                violations.push(Violation::new(&manifest.path, manifest.line_of(table), message));
            }
        }
    }
    violations
}

/// Every published package contains the texts of its licences.
pub(super) fn check_licences(tree: &Tree) -> Vec<Violation> {
    let mut violations = Vec::new();
    for package in tree.packages().iter().filter(|package| package.is_published) {
        for name in LICENCES {
            if !tree.files().contains(&package.folder.join(name)) {
                let message = format!("no {name} beside it; add a symbolic link to the file in the root");
                violations.push(Violation::new(&package.manifest.path, 1, message));
            }
        }
    }
    violations
}

#[cfg(test)]
mod tests {
    use super::super::testing::{check as check_rule, manifest};
    use super::*;

    #[test]
    fn published_packages_contain_licences() {
        check_rule(check_licences, &[], &[]);
        let new = |end| manifest("new", "").replace("[lints]", end);
        let check_new = |manifest: &str, expected: &[(&str, &str)]| {
            let files = [
                ("crates/new/Cargo.toml", manifest),
                ("crates/new/src/lib.rs", ""),
                ("crates/new/LICENSE-MIT", ""),
            ];
            check_rule(check_licences, &files, expected);
        };
        check_new(
            &new("[lints]"),
            &[("crates/new/Cargo.toml:1", "no LICENSE-APACHE")],
        );
        check_new(&new("publish = false\n\n[lints]"), &[]);
    }

    #[test]
    fn packages_inherit() {
        let path = "crates/fmt-elf/Cargo.toml";
        let spoil = |from: &str, to: &str| manifest("fmt-elf", "").replace(from, to);
        let check_spoilt =
            |text: String, expected: &[(&str, &str)]| check_rule(check, &[(path, &text)], expected);
        check_spoilt(
            spoil("version.workspace = true", "version = \"1.0.0\""),
            &[("crates/fmt-elf/Cargo.toml:1", "`version.workspace = true`")],
        );
        check_spoilt(
            spoil("license.workspace = true", ""),
            &[("crates/fmt-elf/Cargo.toml:1", "`license.workspace = true`")],
        );
        check_spoilt(
            spoil("edition.workspace = true", "edition = \"2021\""),
            &[("crates/fmt-elf/Cargo.toml:1", "`edition.workspace = true`")],
        );
        check_spoilt(
            spoil(
                "[lints]\nworkspace = true",
                "[lints.rust]\nunsafe_code = \"deny\"",
            ),
            &[("crates/fmt-elf/Cargo.toml:7", "`[lints] workspace = true`")],
        );
    }
}
