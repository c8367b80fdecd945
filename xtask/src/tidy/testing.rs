//! A small workspace in which every rule holds. Tests of the rules change it to violate one.

use std::fs;
use std::path::Path;

use super::tree::Tree;
use super::violation::Violation;

const PACKAGE: &str = "version.workspace = true\nedition.workspace = true\nlicense.workspace = true\n\n\
                       [lints]\nworkspace = true\n";
/// The manifest of the workspace.
pub(super) const ROOT: &str = "[workspace]\nresolver = \"3\"\nmembers = [\"crates/*\"]\nexclude = [\"fuzz\"]\n\n\
                    [workspace.package]\nversion = \"0.1.0\"\nedition = \"2024\"\nlicense = \"MIT\"\n\n\
                    [workspace.lints.rust]\nunsafe_code = \"deny\"\n";
const LIB: &str = "#![doc = include_str!(\"../README.md\")]\n#![forbid(unsafe_code)]\n\npub mod parse;\n";
const README: &str = "# A crate\n\n```\nassert_eq!(1, 1);\n```\n";
const FUZZ: &str = "[workspace]\n\n[workspace.package]\nversion = \"0.1.0\"\nedition = \"2024\"\nlicense = \"MIT\"\n\n\
                    [workspace.lints.rust]\nunsafe_code = \"deny\"\n\n[package]\nname = \"fuzz\"\npublish = false\n";
const FUZZ_END: &str = "\n[package.metadata]\ncargo-fuzz = true\n\n[dependencies]\n\
                        fmt-elf = { path = \"../crates/fmt-elf\" }\n\n\
                        [[bin]]\nname = \"elf_parse\"\npath = \"fuzz_targets/elf_parse.rs\"\n";

/// A manifest of a package of this name that inherits everything.
pub(super) fn manifest(name: &str, end: &str) -> String {
    format!("[package]\nname = \"{name}\"\n{PACKAGE}{end}")
}

/// The good workspace after these files were added or replaced.
#[track_caller]
pub(super) fn tree(changes: &[(&str, &str)]) -> Tree {
    let directory = tempfile::tempdir().unwrap();
    let root = directory.path();
    let boot_core = "\n[dependencies]\nboot-core = { path = \"../boot-core\" }\n";
    let good = [
        ("Cargo.toml", ROOT.to_owned()),
        ("crates/boot-core/Cargo.toml", manifest("boot-core", "")),
        ("crates/boot-core/README.md", README.to_owned()),
        ("crates/boot-core/src/lib.rs", LIB.to_owned()),
        ("crates/boot-core/src/parse.rs", "pub fn parse() {}\n".to_owned()),
        ("crates/fmt-elf/Cargo.toml", manifest("fmt-elf", boot_core)),
        ("crates/fmt-elf/README.md", README.to_owned()),
        ("crates/fmt-elf/src/lib.rs", LIB.to_owned()),
        (
            "crates/fmt-elf/src/parse.rs",
            "pub use boot_core::parse::parse;\n".to_owned(),
        ),
        ("fuzz/Cargo.toml", format!("{FUZZ}{PACKAGE}{FUZZ_END}")),
        (
            "fuzz/fuzz_targets/elf_parse.rs",
            "fn main() {\n    fmt_elf::parse::parse();\n}\n".to_owned(),
        ),
        ("fuzz/seeds/elf_parse/empty", String::new()),
    ];
    for (path, text) in good {
        write(root, path, &text);
    }
    for package in ["boot-core", "fmt-elf"] {
        for licence in ["LICENSE-APACHE", "LICENSE-MIT"] {
            write(root, &format!("crates/{package}/{licence}"), "");
        }
    }
    for (path, text) in changes {
        write(root, path, text);
    }
    Tree::read(root).unwrap()
}

/// Asserts which violations `rule` finds in [`tree`]. Each is expected as `path:line` and a part of the message.
#[track_caller]
pub(super) fn check(rule: fn(&Tree) -> Vec<Violation>, changes: &[(&str, &str)], expected: &[(&str, &str)]) {
    let found = rule(&tree(changes));
    let is_expected = found.len() == expected.len()
        && found.iter().zip(expected).all(|(violation, (place, message))| {
            format!("{}:{}", violation.path.display(), violation.line) == *place
                && violation.message.contains(message)
        });
    assert!(
        is_expected,
        "{changes:?}\nfound {found:#?}\nexpected {expected:#?}"
    );
}

fn write(root: &Path, path: &str, text: &str) {
    let path = root.join(path);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, text).unwrap();
}
