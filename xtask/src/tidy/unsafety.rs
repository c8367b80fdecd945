//! Rules about unsafe code. The compiler denies it except where an `expect` allows it; these rules are about the exceptions.

use super::dependencies::is_pure;
use super::source::{Source, Token};
use super::tree::{Kind, Package, Tree};
use super::violation::Violation;

/// Directories whose crates cannot forbid unsafe code although none is written in them, and why.
const MACROS_EXPAND_TO_UNSAFE: [(&str, &str); 1] = [("fuzz", "libFuzzer's entry point is exported by name")];

/// A crate without unsafe code forbids it; the pure crates have none.
pub(super) fn check_forbidden(tree: &Tree) -> Vec<Violation> {
    let mut violations = Vec::new();
    for package in tree.packages() {
        if MACROS_EXPAND_TO_UNSAFE
            .iter()
            .any(|(folder, _)| package.folder.as_os_str() == *folder)
        {
            continue;
        }
        let is_pure = is_pure(package);
        if !is_pure && has_unsafe_code(tree, package) {
            continue;
        }
        let reason = if is_pure {
            "a pure crate"
        } else {
            "without unsafe code"
        };
        for target in package
            .targets
            .iter()
            .filter(|target| target.kind != Kind::Support)
        {
            let Some(source) = tree.source(&target.root) else {
                continue;
            };
            let forbids = source.lines_with(&["#", "!", "[", "forbid", "(", "unsafe_code", ")", "]"]);
            if forbids.is_empty() {
                let message = format!("`{}` is {reason}: write `#![forbid(unsafe_code)]`", target.name);
                violations.push(Violation::new(&source.path, 1, message));
            }
        }
    }
    violations
}

/// True when a library or program of the package holds unsafe code; its tests do not count.
fn has_unsafe_code(tree: &Tree, package: &Package) -> bool {
    let mut sources = tree.sources_below(&package.folder);
    let is_tested = |source: &Source| {
        ["tests", "benches", "examples"]
            .iter()
            .any(|kind| source.path.starts_with(package.folder.join(kind)))
    };
    sources.any(|source| !is_tested(source) && unsafe_line(source).is_some())
}

fn unsafe_line(source: &Source) -> Option<usize> {
    source.lines_with(&["unsafe"]).first().copied()
}

/// Unsafe code needs an `expect` with a reason; an `allow` is not accepted.
pub(super) fn check_reasons(tree: &Tree) -> Vec<Violation> {
    let mut violations = Vec::new();
    for source in tree.sources() {
        let mut expects = false;
        for (index, token) in source.tokens.iter().enumerate() {
            if token.text != "unsafe_code" {
                continue;
            }
            let (level, has_reason) = attribute_around(&source.tokens, index);
            expects |= level == "expect";
            let message = match level {
                "allow" | "warn" => {
                    "write `expect(unsafe_code, reason = …)`, which warns once it is not needed"
                }
                "expect" if !has_reason => "add a reason: `expect(unsafe_code, reason = …)`",
                _ => continue,
            };
            violations.push(Violation::new(&source.path, token.line, message));
        }
        if let (false, Some(line)) = (expects, unsafe_line(source)) {
            let message = "unsafe code in a file without `#![expect(unsafe_code, reason = …)]`; move it to a module that \
                           has one";
            violations.push(Violation::new(&source.path, line, message));
        }
    }
    violations
}

/// The word before the parenthesis that the token stands in, and whether a `reason` stands in there too.
fn attribute_around(tokens: &[Token], index: usize) -> (&str, bool) {
    let (before, after) = tokens.split_at(index);
    let mut level = before.iter().rev().skip_while(|token| token.text != "(").skip(1);
    let mut rest = after.iter().take_while(|token| token.text != ")");
    let level = level.next().map_or("", |token| token.text.as_str());
    (level, rest.any(|token| token.text == "reason"))
}

#[cfg(test)]
mod tests {
    use super::super::testing::{check, manifest};
    use super::*;

    #[test]
    fn crates_without_unsafe_code_forbid_it() {
        check(
            check_forbidden,
            &[
                (
                    "crates/fmt-elf/src/lib.rs",
                    "#![deny(unsafe_code)]\nfn f() { unsafe { g() } }\n",
                ),
                ("crates/guest-ram/Cargo.toml", &manifest("guest-ram", "")),
                ("crates/guest-ram/src/lib.rs", "fn f() { unsafe { g() } }\n"),
                ("crates/hv-core/Cargo.toml", &manifest("hv-core", "")),
                ("crates/hv-core/src/lib.rs", "fn f() {}\n"),
                ("crates/hv-core/src/main.rs", "#![forbid(unsafe_code)]\n"),
                ("crates/hv-core/tests/t.rs", "fn f() { unsafe { g() } }\n"),
            ],
            &[
                ("crates/fmt-elf/src/lib.rs:1", "a pure crate"),
                ("crates/hv-core/src/lib.rs:1", "without unsafe code"),
            ],
        );
    }

    #[test]
    fn unsafe_code_has_a_reason() {
        let path = "crates/fmt-elf/src/parse.rs";
        let place = |line: usize| format!("{path}:{line}");
        let code = "fn f() { unsafe { g() } }\n";
        let check = |start: &str, expected: &[(&str, &str)]| {
            check(check_reasons, &[(path, &format!("{start}\n{code}"))], expected);
        };
        check(
            "#![expect(\n    unsafe_code,\n    reason = \"a system call\"\n)]",
            &[],
        );
        check(
            "#![cfg_attr(test, expect(clippy::all, unsafe_code, reason = \"a system call\"))]",
            &[],
        );
        check("", &[(&place(2), "without `#![expect")]);
        check("#![expect(unsafe_code)]", &[(&place(1), "add a reason")]);
        check("#![deny(unsafe_code)]", &[(&place(2), "without `#![expect")]);
        check(
            "#![allow(unsafe_code, reason = \"a system call\")]",
            &[(&place(1), "write `expect"), (&place(2), "without `#![expect")],
        );
    }
}
