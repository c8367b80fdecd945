//! Rule: the README of a published crate is its page, and an example in it compiles.

use super::tree::{Kind, Package, Tree};
use super::violation::Violation;

/// Info strings of code blocks that rustdoc compiles.
const COMPILED: [&str; 4] = ["", "rust", "no_run", "edition2024"];

/// Every published library has a README.md that is its crate page and holds an example.
pub(super) fn check(tree: &Tree) -> Vec<Violation> {
    let published = tree.packages().iter().filter(|package| package.is_published);
    published
        .filter_map(|package| check_package(tree, package))
        .collect()
}

fn check_package(tree: &Tree, package: &Package) -> Option<Violation> {
    let library = package
        .targets
        .iter()
        .find(|target| target.kind == Kind::Library)?;
    let path = package.folder.join("README.md");
    let Some(text) = tree.readme(&path) else {
        return Some(Violation::new(
            &package.manifest.path,
            1,
            "no README.md beside it; write one with an example",
        ));
    };
    let source = tree.source(&library.root)?;
    let page = [
        "#",
        "!",
        "[",
        "doc",
        "=",
        "include_str",
        "!",
        "(",
        "\"../README.md\"",
        ")",
        "]",
    ];
    if source.lines_with(&page).is_empty() {
        let message =
            "README.md is not the crate page: begin with `#![doc = include_str!(\"../README.md\")]`";
        return Some(Violation::new(&library.root, 1, message));
    }
    (!has_example(text)).then(|| {
        let message = "no Rust code block that is compiled; show how the crate is used";
        Violation::new(&path, 1, message)
    })
}

/// True when rustdoc compiles one of the code blocks.
fn has_example(markdown: &str) -> bool {
    let fences = markdown
        .lines()
        .filter_map(|line| line.trim_start().strip_prefix("```"));
    // Every second fence closes a block.
    fences
        .step_by(2)
        .any(|info| info.split([',', ' ']).all(|word| COMPILED.contains(&word.trim())))
}

#[cfg(test)]
mod tests {
    use super::super::testing::{check as check_rule, manifest};
    use super::*;

    #[test]
    fn a_published_crate_has_a_page_with_an_example() {
        let readme = "crates/fmt-elf/README.md";
        let no_example = &[("crates/fmt-elf/README.md:1", "no Rust code block")];
        check_rule(check, &[(readme, "# A crate\n")], no_example);
        check_rule(check, &[(readme, "```text\nrun it\n```\n")], no_example);
        check_rule(check, &[(readme, "```ignore\nf();\n```\n")], no_example);
        check_rule(
            check,
            &[(readme, "```text\nrun it\n```\n\n```rust,no_run\nf();\n```\n")],
            &[],
        );
        check_rule(
            check,
            &[("crates/fmt-elf/src/lib.rs", "#![forbid(unsafe_code)]\n")],
            &[("crates/fmt-elf/src/lib.rs:1", "not the crate page")],
        );
        let new = ("crates/fmt-pe/src/lib.rs", "");
        check_rule(
            check,
            &[new, ("crates/fmt-pe/Cargo.toml", &manifest("fmt-pe", ""))],
            &[("crates/fmt-pe/Cargo.toml:1", "no README.md")],
        );
        let private = manifest("fmt-pe", "").replace("[lints]", "publish = false\n\n[lints]");
        check_rule(check, &[new, ("crates/fmt-pe/Cargo.toml", &private)], &[]);
    }
}
