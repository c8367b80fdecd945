//! Classes of differences, and the document that explains them.

use std::collections::BTreeMap;
use std::fmt::Debug;
use std::fs;
use std::path::Path;

use libtest_mimic::Failed;

/// The sections of the document with a table of classes.
const SECTIONS: [&str; 6] = [
    "ELF: object",
    "ELF: goblin",
    "PE: object",
    "PE: goblin",
    "loading: linux-loader, ELF",
    "loading: linux-loader, bzImage",
];

/// The class of an accepted file.
pub(crate) const ACCEPTED: &str = "accepted";
/// The class of a refused file, for a peer whose reasons do not matter.
pub(crate) const REFUSED: &str = "refused";

/// The class of an error: its variant, and that inside it.
pub(crate) fn class(error: &dyn Debug) -> String {
    let text = format!("{error:?}");
    let mut words = text
        .split(|c: char| !c.is_alphanumeric())
        .filter(|word| !word.is_empty());
    let outer = words.next().unwrap_or_default();
    let inner = matches!(
        outer,
        "Unsupported"
            | "Malformed"
            | "Note"
            | "Image"
            | "Read"
            | "Placement"
            | "Protocol"
            | "Validation"
            | "Elf"
            | "Bzimage"
    );
    match words.next() {
        Some(word) if inner => format!("{outer}: {word}"),
        _ => outer.into(),
    }
}

/// Numbers of files by what this workspace and a peer make of them.
#[derive(Default)]
pub(crate) struct Matrix {
    /// The classes, with the number of files and the name of the first.
    counts: BTreeMap<(String, String), (usize, String)>,
}

impl Matrix {
    /// Counts a file.
    pub(crate) fn add(&mut self, name: &str, ours: &str, theirs: &str) {
        let key = (ours.to_owned(), theirs.to_owned());
        let count = self.counts.entry(key).or_insert_with(|| (0, name.to_owned()));
        count.0 += 1;
    }

    /// Prints the numbers, and compares the classes of differences with those of a section of the document.
    pub(crate) fn check(self, section: &str) -> Result<(), Failed> {
        let mut documented = rows(section)?;
        let mut missing = Vec::new();
        for ((ours, theirs), (count, first)) in self.counts {
            println!("{section}: {count:5} {ours} | {theirs} (such as {first})");
            let is_same = (ours == ACCEPTED) == (theirs == ACCEPTED);
            let row = (ours, theirs);
            let is_documented = documented.iter().position(|known| *known == row);
            match is_documented {
                Some(at) => drop(documented.remove(at)),
                None if !is_same => missing.push(row),
                None => {}
            }
        }
        if missing.is_empty() && documented.is_empty() {
            return Ok(());
        }
        Err(format!("not in docs/differences.md: {missing:?}; there, but not found: {documented:?}").into())
    }
}

fn document() -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/differences.md");
    fs::read_to_string(path).unwrap()
}

/// The first two cells of each row of the table in a section: the classes, in code marks.
fn rows(section: &str) -> Result<Vec<(String, String)>, Failed> {
    let text = document();
    let (_, text) = text
        .split_once(&format!("## {section}\n"))
        .ok_or("no such section")?;
    let text = text.split("\n## ").next().unwrap_or_default();
    let cells = |line: &str| {
        let mut cells = line
            .split('|')
            .skip(1)
            .map(|cell| cell.trim().trim_matches('`').to_owned());
        Some((cells.next()?, cells.next()?))
    };
    Ok(text
        .lines()
        .filter(|line| line.starts_with("| `"))
        .filter_map(cells)
        .collect())
}

/// Each section exists.
pub(crate) fn check_sections() -> Result<(), Failed> {
    SECTIONS.iter().try_for_each(|section| rows(section).map(drop))
}
