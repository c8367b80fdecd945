//! Seeds for generated kernel files: pseudo-random inputs, each of which describes a file and a machine.

use fmt_test::pseudo_random;

use crate::seed::Seed;

const NAMES: [&str; 24] = [
    "made-up-00",
    "made-up-01",
    "made-up-02",
    "made-up-03",
    "made-up-04",
    "made-up-05",
    "made-up-06",
    "made-up-07",
    "made-up-08",
    "made-up-09",
    "made-up-10",
    "made-up-11",
    "made-up-12",
    "made-up-13",
    "made-up-14",
    "made-up-15",
    "made-up-16",
    "made-up-17",
    "made-up-18",
    "made-up-19",
    "made-up-20",
    "made-up-21",
    "made-up-22",
    "made-up-23",
];

/// Some of each format.
pub(crate) fn seeds() -> Vec<Seed> {
    NAMES
        .into_iter()
        .zip(0..)
        .map(|(name, i)| (name, pseudo_random(i, 800)))
        .collect()
}
