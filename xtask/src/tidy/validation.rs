//! Rule: the tests that `docs/validation.md` names exist.

use std::path::{Path, PathBuf};

use super::source::{Source, Token};
use super::tree::Tree;
use super::violation::Violation;

/// The document with the tables of rules.
pub(super) const DOCUMENT: &str = "docs/validation.md";

/// Every test named in a table of the document exists, and every row names one.
///
/// A test is named `file::name` in a code span. The file is relative to the crate that the last heading of level 2 names, or to the
/// root of the repository where it begins with `crates/`.
pub(super) fn check(tree: &Tree) -> Vec<Violation> {
    let text = tree.document(Path::new(DOCUMENT)).unwrap_or_default();
    let mut violations = Vec::new();
    let mut folder = PathBuf::new();
    let mut lines = text.lines().enumerate().peekable();
    while let Some((index, line)) = lines.next() {
        if let Some(heading) = line.strip_prefix("## ") {
            folder = Path::new("crates").join(heading.trim().trim_matches('`'));
        }
        let mut report = |message: String| {
            violations.push(Violation::new(Path::new(DOCUMENT), index + 1, message));
        };
        let names: Vec<_> = code_spans(line).filter_map(test_name).collect();
        // The header of a table comes before its line of dashes.
        let is_header = |next: &(usize, &str)| next.1.starts_with("|-") || next.1.starts_with("| -");
        let is_row = line.starts_with('|') && !line.starts_with("|-") && !line.starts_with("| -");
        if is_row && names.is_empty() && !lines.peek().is_some_and(is_header) {
            report("the row names no test; end it with one as `file.rs::name`".to_owned());
        }
        for (file, name) in names {
            let path = if file.starts_with("crates/") {
                PathBuf::from(file)
            } else {
                folder.join(file)
            };
            match tree.source(&path) {
                None => report(format!("there is no file {}", path.display())),
                Some(source) if !has_test(source, name) => {
                    report(format!("there is no test `{name}` in {}", path.display()));
                }
                Some(_) => {}
            }
        }
    }
    violations
}

/// The code spans of a line. Every second backquote closes one.
fn code_spans(line: &str) -> impl Iterator<Item = &str> {
    line.split('`').skip(1).step_by(2)
}

/// The file and the name of a test, if that is what the code span has.
fn test_name(span: &str) -> Option<(&str, &str)> {
    let (file, name) = span.split_once("::")?;
    let is_rust = Path::new(file).extension().is_some_and(|end| end == "rs");
    is_rust.then_some((file, name))
}

/// True if a function of this name has the attribute `test`. Those in macro calls such as `proptest!` count.
fn has_test(source: &Source, name: &str) -> bool {
    let tokens = &source.tokens;
    (0..tokens.len()).any(|index| {
        let pair = tokens.get(index..).unwrap_or_default();
        let is_function = matches!(pair, [first, second, ..] if first.text == "fn" && second.text == name);
        is_function && has_test_attribute(tokens.get(..index).unwrap_or_default())
    })
}

/// True if one of the attributes at the end of these tokens is `#[test]`.
fn has_test_attribute(mut before: &[Token]) -> bool {
    loop {
        let text = |back: usize| {
            let index = before.len().checked_sub(back)?;
            before.get(index).map(|token| token.text.as_str())
        };
        if text(1) != Some("]") {
            return false;
        }
        if (text(2), text(3), text(4)) == (Some("test"), Some("["), Some("#")) {
            return true;
        }
        let mut depth = 0_usize;
        let start = before.iter().rposition(|token| {
            match token.text.as_str() {
                "]" => depth += 1,
                "[" => depth = depth.saturating_sub(1),
                _ => {}
            }
            depth == 0
        });
        // The `#` before the bracket belongs to the attribute.
        let end = start.unwrap_or_default().saturating_sub(1);
        before = before.get(..end).unwrap_or_default();
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing;
    use super::*;

    const FILE: &str = "#[test]\nfn first() {}\n\nfn helper() {}\n\n\
                        /// About it.\n#[cfg(all(unix, any()))]\n#[test]\n#[expect(unused, reason = \"[\")]\nfn second() {}\n\n\
                        proptest! {\n    #[test]\n    fn third(bytes in any()) {}\n}\n";

    #[track_caller]
    fn check_rows(rows: &str, expected: &[(&str, &str)]) {
        let text = format!("# Rules\n\n## `fmt-elf`\n\n| rule | test |\n|---|---|\n{rows}\n");
        testing::check(
            check,
            &[(DOCUMENT, &text), ("crates/fmt-elf/tests/a.rs", FILE)],
            expected,
        );
    }

    #[test]
    fn tests_that_exist_are_accepted() {
        for name in ["first", "second", "third"] {
            check_rows(&format!("| a | `tests/a.rs::{name}` |"), &[]);
            check_rows(
                &format!("| `Error::A` | `crates/fmt-elf/tests/a.rs::{name}` |"),
                &[],
            );
        }
    }

    #[test]
    fn other_names_are_violations() {
        let no_test = "no test `helper` in crates/fmt-elf/tests/a.rs";
        check_rows(
            "| a | `tests/a.rs::helper` |",
            &[("docs/validation.md:7", no_test)],
        );
        check_rows(
            "| a | `tests/a.rs::first`, `tests/a.rs::fourth` |",
            &[("docs/validation.md:7", "no test `fourth`")],
        );
        check_rows(
            "| a | `tests/b.rs::first` |",
            &[("docs/validation.md:7", "no file crates/fmt-elf/tests/b.rs")],
        );
        check_rows(
            "| a | `tests/a.rs::first` |\n| b | `Error::A` |",
            &[("docs/validation.md:8", "names no test")],
        );
        check_rows(
            "| a | `tests/a.rs::first` |\n\n## `boot-core`\n\n`tests/a.rs::first`",
            &[("docs/validation.md:11", "no file crates/boot-core/tests/a.rs")],
        );
    }
}
