//! Rule: packages inherit common keys from the workspace's manifest.

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

#[cfg(test)]
mod tests {
    use super::super::testing::{check as check_rule, manifest};
    use super::*;

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
