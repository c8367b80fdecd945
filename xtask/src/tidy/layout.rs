//! Rules about files: their length and their names.

use std::path::Component;

use super::tree::Tree;
use super::violation::Violation;

/// Maximum number of lines of a Rust file.
const MAX_LINES: usize = 800;

/// Words in names that do not describe the content.
const VAGUE_NAMES: [&str; 6] = ["common", "helper", "helpers", "misc", "util", "utils"];

/// No Rust file is longer than [`MAX_LINES`].
pub(super) fn check_length(tree: &Tree) -> Vec<Violation> {
    let mut violations = Vec::new();
    for source in tree.sources() {
        let lines = source.text.lines().count();
        if lines > MAX_LINES {
            let message = format!(
                "{lines} lines, at most {MAX_LINES} are allowed; split the file by what its parts do"
            );
            violations.push(Violation::new(&source.path, MAX_LINES + 1, message));
        }
    }
    violations
}

/// No crate, directory, file or inline module has one of the [`VAGUE_NAMES`].
pub(super) fn check_names(tree: &Tree) -> Vec<Violation> {
    let mut violations = Vec::new();
    for source in tree.sources() {
        let stem = source.path.with_extension("");
        let parts = stem.components().filter_map(|component| match component {
            Component::Normal(part) => part.to_str(),
            _ => None,
        });
        let in_path = parts.map(|name| (name.to_owned(), 1));
        let modules = source.tokens.windows(3).filter_map(|window| match window {
            [keyword, name, open] if keyword.text == "mod" && open.text == "{" => {
                Some((name.text.clone(), name.line))
            }
            _ => None,
        });
        for (name, line) in in_path.chain(modules) {
            if is_vague_name(&name) {
                let message = format!("`{name}` does not describe the content; name it by what it does");
                violations.push(Violation::new(&source.path, line, message));
            }
        }
    }
    violations
}

fn is_vague_name(name: &str) -> bool {
    let mut words = name.split(['-', '_']);
    words.any(|word| VAGUE_NAMES.contains(&word))
}

/// A module with children is `foo.rs` beside `foo/`.
pub(super) fn check_mod_rs(tree: &Tree) -> Vec<Violation> {
    let sources = tree.sources().filter(|source| source.path.ends_with("mod.rs"));
    sources
        .map(|source| {
            Violation::new(
                &source.path,
                1,
                "rename it to its directory's name, beside the directory",
            )
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::super::testing::check;
    use super::*;

    #[test]
    fn files_are_not_too_long() {
        let path = "crates/fmt-elf/src/parse.rs";
        check(check_length, &[(path, &"// a line\n".repeat(800))], &[]);
        check(
            check_length,
            &[(path, &"// a line\n".repeat(801))],
            &[("crates/fmt-elf/src/parse.rs:801", "801 lines")],
        );
    }

    #[test]
    fn names_tell_what_is_inside() {
        check(
            check_names,
            &[
                ("crates/fmt-elf/src/utils.rs", ""),
                ("crates/fmt-elf/tests/common/reading.rs", ""),
                ("crates/fmt-elf/src/string_helpers.rs", ""),
                (
                    "crates/fmt-elf/src/commonality.rs",
                    "// mod util {}\n\nmod misc {}\n",
                ),
            ],
            &[
                ("crates/fmt-elf/src/commonality.rs:3", "`misc`"),
                ("crates/fmt-elf/src/string_helpers.rs:1", "`string_helpers`"),
                ("crates/fmt-elf/src/utils.rs:1", "`utils`"),
                ("crates/fmt-elf/tests/common/reading.rs:1", "`common`"),
            ],
        );
    }

    #[test]
    fn there_is_no_mod_rs() {
        check(
            check_mod_rs,
            &[
                ("crates/fmt-elf/src/a/mod.rs", ""),
                ("crates/fmt-elf/src/amod.rs", ""),
            ],
            &[("crates/fmt-elf/src/a/mod.rs:1", "rename")],
        );
    }
}
