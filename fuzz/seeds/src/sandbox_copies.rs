//! Changes of page tables by a hostile guest: area, number of a word, kind of the entry, number of a page.

use crate::seed::Seed;

fn change(area: u8, word: u16, kind: u8, page: u16) -> [u8; 6] {
    let ([a, b], [c, d]) = (word.to_le_bytes(), page.to_le_bytes());
    [area, a, b, kind, c, d]
}

pub(crate) fn seeds() -> Vec<Seed> {
    // The tables are those of the fake program: entries of level 0 start with the third table.
    let copy = 0b0100_0001;
    let script = |changes: &[[u8; 6]]| changes.concat();
    vec![
        ("empty", Vec::new()),
        ("copy", script(&[change(0, 3 * 512 + 1, copy, 5)])),
        (
            "twice",
            script(&[change(0, 3 * 512 + 1, copy, 5), change(0, 3 * 512 + 2, copy, 5)]),
        ),
        ("host", script(&[change(0, 3 * 512 + 1, 0b0100_0011, 9)])),
        (
            "circle",
            script(&(100..140).map(|word| change(0, word, 0, 0)).collect::<Vec<_>>()),
        ),
        (
            "table-in-copies",
            script(&[change(0, 100, 1, 3), change(1, 3 * 512, 1, 4)]),
        ),
    ]
}
