//! Rule: no file of a crate imports, directly or through others, from a file that imports from it.
//!
//! The files of each target are the nodes. An edge goes from a file to another one that defines something it names: in a
//! `use`, in a path in code, or in the tokens of a macro call. Names are followed to their definition, through imports,
//! globs and re-exports. These are no edges: a `mod` line, a re-export of what a module below defines, and whatever is for
//! tests (`#[cfg(test)]`). Not seen: methods that another file implements, and paths that a macro puts together.

mod items;
mod module;
mod names;
mod paths;

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use super::circle::{circles, steps};
use super::tree::Tree;
use super::violation::Violation;
use module::Modules;

/// The places of an edge: each its line, and the path that is written there.
type Places = BTreeSet<(usize, String)>;

/// No circle of imports between the files of a target.
pub(super) fn check(tree: &Tree) -> Vec<Violation> {
    let mut violations = BTreeSet::new();
    for target in tree.packages().iter().flat_map(|package| &package.targets) {
        let modules = Modules::read(tree, &target.root);
        let edges = edges(&modules);
        let pairs = edges.keys().copied().collect();
        violations.extend(
            circles(&pairs)
                .iter()
                .filter_map(|circle| describe(circle, &edges)),
        );
    }
    violations.into_iter().collect()
}

/// The files of the target whose root is this one, but those for tests.
pub(super) fn files(tree: &Tree, root: &Path) -> BTreeSet<PathBuf> {
    let modules = Modules::read(tree, root);
    (0..modules.all.len())
        .map(|id| modules.file(id).to_path_buf())
        .collect()
}

/// Every pair of files of which the first names something of the second, and where it does.
fn edges(modules: &Modules) -> BTreeMap<(&Path, &Path), Places> {
    let mut edges: BTreeMap<(&Path, &Path), Places> = BTreeMap::new();
    for (id, reference) in modules.references() {
        let from = modules.file(id);
        for to in modules
            .files_of(id, reference)
            .into_iter()
            .filter(|to| *to != from)
        {
            let place = (reference.line(), reference.to_string());
            edges.entry((from, to)).or_default().insert(place);
        }
    }
    edges
}

fn describe(circle: &[&Path], edges: &BTreeMap<(&Path, &Path), Places>) -> Option<Violation> {
    let mut parts = Vec::new();
    let mut first_line = None;
    for edge in steps(circle) {
        let (from, to) = edge;
        let places = edges.get(&edge)?;
        let (line, path) = places.first()?;
        let more = match places.len() {
            1 => String::new(),
            count => format!(" ({count} places)"),
        };
        let uses = format!("uses {path} of {}{more}", to.display());
        if first_line.is_none() {
            first_line = Some(*line);
            parts.push(uses);
        } else {
            parts.push(format!("{}:{line} {uses}", from.display()));
        }
    }
    let message = format!(
        "{}: move what both need to a file that uses neither",
        parts.join(", ")
    );
    Some(Violation::new(circle.first()?, first_line?, message))
}

#[cfg(test)]
mod tests {
    use super::super::testing;
    use super::*;

    const PARSE: &str = "crates/fmt-elf/src/parse.rs";
    const OTHER: &str = "crates/fmt-elf/src/other.rs";

    /// Asserts whether there is a circle between the library's files, whose contents are given.
    #[track_caller]
    fn check_files(lib: &str, parse: &str, other: &str, circle: Option<(&str, &str)>) {
        let lib = format!("{lib}\nmod parse;\nmod other;\n");
        let files = [
            ("crates/fmt-elf/src/lib.rs", lib.as_str()),
            (PARSE, parse),
            (OTHER, other),
        ];
        let expected: Vec<_> = circle.into_iter().collect();
        testing::check(check, &files, &expected);
    }

    const BOTH: Option<(&str, &str)> = Some((
        "crates/fmt-elf/src/other.rs:1",
        "crates/fmt-elf/src/parse.rs:1 uses ",
    ));

    #[test]
    fn two_files_that_import_each_other_are_a_circle() {
        let a = "use crate::other::A;\npub struct B(A);";
        for b in [
            "use crate::parse::B; pub struct A; ",
            "use super::parse::B as C; pub struct A;",
            "use super::{parse::{self, B}}; pub struct A;",
            "use crate::parse; pub struct A; fn f() -> parse::B { g() }",
            "pub struct A; fn f(b: crate::parse::B) {}",
            "pub struct A; fn f() { let b = super::parse::B(x); }",
            "pub struct A; fn f() { assert_eq!(1, crate::parse::B::ONE); }",
            "use crate::parse::*; pub struct A; fn f(b: B) {}",
            "use crate::parse::*; pub struct A; fn f() { println!(\"{:?}\", B(1)); }",
            "pub struct A; impl A { fn f() { use crate::parse::B; } }",
            "pub struct A; pub(crate) use crate::parse::B;",
            "pub struct A; mod inner { use super::super::parse::B; }",
            "pub struct A; macro_rules! m { () => { $crate::parse::B } }",
        ] {
            check_files("", a, b, BOTH);
        }
    }

    #[test]
    fn one_way_is_no_circle() {
        let a = "use crate::other::A;\npub struct B(A);";
        for b in [
            "pub struct A;",
            "use crate::parse; pub struct A;",
            "use crate::parse::*; pub struct A; fn f(b: String, parse: u8) {}",
            "pub struct A; #[cfg(test)] mod tests { use crate::parse::B; }",
            "pub struct A; #[cfg(all(test, unix))] use crate::parse::B;",
            "pub struct A; #[test] fn f() { crate::parse::B; }",
            "pub struct A; /// [`crate::parse::B`]\nfn f() {}",
            "pub struct A; pub(in crate::parse) fn f() {}",
            "pub struct A; use std::parse::B; fn f() -> ::parse::B {}",
            "pub struct A; fn f(x: X) { x.parse::<u8>(); x.B }",
        ] {
            check_files("", a, b, None);
        }
        check_files(
            "",
            a,
            "pub struct A; #[cfg(any(test, unix))] use crate::parse::B;",
            BOTH,
        );
    }

    #[test]
    fn a_name_is_followed_to_its_definition() {
        // Through the re-export of the crate's root, which is no part of the circle.
        check_files(
            "pub use crate::parse::B;",
            "use crate::other::A;\npub struct B(A);",
            "use crate::B; pub struct A;",
            Some((
                "crates/fmt-elf/src/other.rs:1",
                "uses crate::B of crates/fmt-elf/src/parse.rs",
            )),
        );
        // Through a glob, and an import that is private to a parent.
        check_files(
            "pub use parse::*; use std::fmt;",
            "use super::other::A;\npub struct B(A);",
            "use super::{fmt::Display, B}; pub struct A;",
            BOTH,
        );
        check_files(
            "use std::fmt; pub use parse::B; fn f(b: B) {}",
            "use super::fmt;\npub struct B;",
            "use super::B; pub struct A;",
            None,
        );
        // Through a re-export that has its module's name.
        for code in ["crate::parse(x)", "{ use crate::parse; parse(x) }"] {
            check_files(
                "pub use parse::parse;",
                "use crate::other::A; pub fn parse() {}",
                &format!("pub struct A; fn f() {{ {code} }}"),
                Some((
                    "crates/fmt-elf/src/other.rs:1",
                    "uses crate::parse of crates/fmt-elf/src/parse.rs",
                )),
            );
        }
        // A private import is none of its module's names elsewhere.
        check_files(
            "",
            "use crate::other::A;\nuse self::inner::C; mod inner { pub struct C; }",
            "use crate::parse::*; pub struct A; fn f(c: C) {}",
            None,
        );
    }

    #[test]
    fn a_parent_and_its_child_are_a_circle_too() {
        let root = "crates/fmt-elf/src/lib.rs";
        let message =
            "uses self::parse::B of crates/fmt-elf/src/parse.rs, crates/fmt-elf/src/parse.rs:1 uses super::A";
        let lib = "mod parse;\nuse self::parse::B;\npub struct A;\n";
        testing::check(
            check,
            &[(root, lib), (PARSE, "use super::A; pub struct B;")],
            &[("crates/fmt-elf/src/lib.rs:2", message)],
        );
        // Re-exporting alone is no use; using what is re-exported is.
        let lib = "mod parse;\npub use parse::B;\npub struct A;\n";
        let child = (PARSE, "use super::A; pub struct B;");
        testing::check(check, &[(root, lib), child], &[]);
        testing::check(
            check,
            &[(root, &format!("{lib}fn f(b: &B) {{}}\n")), child],
            &[(
                "crates/fmt-elf/src/lib.rs:4",
                "uses B of crates/fmt-elf/src/parse.rs",
            )],
        );
    }

    #[test]
    fn modules_are_found_where_the_compiler_finds_them() {
        let files = [
            (
                "crates/fmt-elf/src/lib.rs",
                "mod parse; mod outer { pub mod inner; }",
            ),
            (PARSE, "pub mod deep;"),
            (
                "crates/fmt-elf/src/parse/deep.rs",
                "use crate::outer::inner::A;\npub struct B;",
            ),
            (
                "crates/fmt-elf/src/outer/inner.rs",
                "#[path = \"../odd.rs\"] mod odd; pub struct A;",
            ),
            (
                "crates/fmt-elf/src/odd.rs",
                "use crate::parse::deep::B;\nuse super::A;",
            ),
            ("crates/fmt-elf/tests/t.rs", "mod a; mod b;"),
            ("crates/fmt-elf/tests/a.rs", "use crate::b::B; pub struct A;"),
            ("crates/fmt-elf/tests/b.rs", "use crate::a::A; pub struct B;"),
        ];
        testing::check(
            check,
            &files,
            &[(
                "crates/fmt-elf/tests/a.rs:1",
                "crates/fmt-elf/tests/b.rs:1 uses crate::a::A",
            )],
        );
    }

    #[test]
    fn a_circle_may_be_long() {
        check_files(
            "pub struct L; fn f() { crate::parse::B }",
            "use crate::other::A; pub struct B;",
            "use crate::L; pub struct A;",
            Some((
                "crates/fmt-elf/src/lib.rs:1",
                "crates/fmt-elf/src/other.rs:1 uses crate::L",
            )),
        );
    }

    #[test]
    fn macros_are_names_too() {
        check_files(
            "",
            "macro_rules! m { () => {} }\npub(crate) use m; use crate::other::A;",
            "pub struct A; fn f() { crate::parse::m!(); }",
            Some(("crates/fmt-elf/src/other.rs:1", "uses crate::parse::m")),
        );
        check_files(
            "",
            "#[macro_export]\nmacro_rules! m { () => {} }\nuse crate::other::A;",
            "pub struct A; fn f() { crate::m!(); }",
            Some(("crates/fmt-elf/src/other.rs:1", "uses crate::m")),
        );
        // Items that a macro makes are of the file that calls it.
        check_files(
            "",
            "use crate::other::A;\nmake! { pub struct B; }",
            "use crate::parse::B; pub struct A;",
            BOTH,
        );
    }
}
