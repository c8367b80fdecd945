//! Digests of other programs. The inputs are generated here and, in the same way, by the scripts in this directory, whose
//! output is stored beside them.

mod archives;
mod images;
mod inputs;
mod ovmf;
mod pcr;
mod plan;
mod snp;

/// Compares digests with the lines `name digest` of a script's output. Every line must be used.
fn check(expected: &str, found: &[(&str, String)]) {
    let expected: Vec<(&str, String)> = expected
        .lines()
        .filter(|line| !line.starts_with('#'))
        .map(|line| line.split_once(' ').unwrap())
        .map(|(name, digest)| (name, digest.to_owned()))
        .collect();
    assert!(!expected.is_empty());
    assert_eq!(expected, found);
}
