//! Results of the mutants of a crate, and their table.

use std::fmt::Write as _;
use std::fs;
use std::path::Path;

use serde::Deserialize;

use super::equivalent::{Equivalent, Equivalents};
use crate::error::{Error, WithPath as _};

/// `outcomes.json` of cargo-mutants, as far as it is read here.
#[derive(Debug, Deserialize)]
pub(super) struct Outcomes {
    outcomes: Vec<Outcome>,
}

#[derive(Debug, Deserialize)]
struct Outcome {
    scenario: Scenario,
    summary: Summary,
}

/// What was tested: the sources as they are, or a mutant.
#[derive(Debug, Deserialize)]
enum Scenario {
    Baseline,
    Mutant(Mutant),
}

#[derive(Debug, Deserialize)]
struct Mutant {
    /// `FILE:LINE:COLUMN: WHAT IS CHANGED`.
    name: String,
    file: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
enum Summary {
    Success,
    CaughtMutant,
    MissedMutant,
    Unviable,
    Failure,
    Timeout,
}

impl Mutant {
    /// What is changed, without the place.
    fn change(&self) -> &str {
        let place = self.name.strip_prefix(&self.file).unwrap_or(&self.name);
        place.split_once(": ").map_or(place, |(_, change)| change)
    }

    fn is(&self, entry: &Equivalent) -> bool {
        self.file == entry.file && self.change() == entry.mutant
    }
}

impl Outcomes {
    /// Reads the results of a run, if there are any.
    pub(super) fn read(path: &Path) -> Result<Option<Self>, Error> {
        if !path.exists() {
            return Ok(None);
        }
        let json = fs::read(path).with_path(path)?;
        let outcomes = serde_json::from_slice(&json).map_err(|source| Error::Json {
            what: path.display().to_string(),
            source,
        })?;
        Ok(Some(outcomes))
    }

    fn mutants(&self, summary: Summary) -> impl Iterator<Item = &Mutant> {
        self.outcomes
            .iter()
            .filter_map(move |outcome| match &outcome.scenario {
                Scenario::Mutant(mutant) if outcome.summary == summary => Some(mutant),
                _ => None,
            })
    }
}

/// The numbers of one crate.
#[derive(Debug, PartialEq)]
pub(super) struct Score {
    pub(super) name: String,
    caught: usize,
    unviable: usize,
    timeout: usize,
    equivalent: usize,
    /// Names of the mutants that were missed and are not equivalent.
    missed: Vec<String>,
    /// Entries of the list with a higher count than mutants were missed.
    stale: Vec<String>,
}

impl Score {
    /// Counts the mutants. Missed ones that are listed as equivalent are counted separately.
    pub(super) fn new(name: &str, outcomes: &Outcomes, equivalents: &Equivalents) -> Self {
        let count = |summary| outcomes.mutants(summary).count();
        let mut left: Vec<(&Equivalent, usize)> =
            equivalents.all.iter().map(|entry| (entry, entry.count)).collect();
        let mut missed = Vec::new();
        let mut equivalent = 0;
        for mutant in outcomes.mutants(Summary::MissedMutant) {
            let entry = left
                .iter_mut()
                .find(|(entry, left)| *left > 0 && mutant.is(entry));
            if let Some((_, left)) = entry {
                *left -= 1;
                equivalent += 1;
            } else {
                missed.push(mutant.name.clone());
            }
        }
        // A run may be about some of the files only.
        let caught: Vec<_> = outcomes.mutants(Summary::CaughtMutant).collect();
        let stale = left
            .iter()
            .filter(|(entry, left)| *left > 0 && caught.iter().any(|mutant| mutant.is(entry)))
            .map(|(entry, left)| format!("{}: {} ({left} of {})", entry.file, entry.mutant, entry.count))
            .collect();
        Self {
            name: name.to_owned(),
            caught: caught.len(),
            unviable: count(Summary::Unviable),
            timeout: count(Summary::Timeout),
            equivalent,
            missed,
            stale,
        }
    }

    /// Number of mutants that compile and are not equivalent.
    fn viable(&self) -> usize {
        self.caught + self.timeout + self.missed.len()
    }

    /// The share of them that is caught, in per cent. A timeout counts as caught.
    #[expect(clippy::cast_precision_loss, reason = "numbers of mutants are small")]
    fn percent(&self) -> f64 {
        match self.viable() {
            0 => 100.0,
            viable => (self.caught + self.timeout) as f64 * 100.0 / viable as f64,
        }
    }

    /// True when at least this share is caught, and no entry of the list is stale.
    pub(super) fn is_at_least(&self, percent: f64) -> bool {
        self.percent() >= percent && self.stale.is_empty()
    }
}

/// The numbers of all crates as a table, then each missed mutant.
pub(super) fn table(scores: &[Score]) -> String {
    let mut text = format!(
        "{:<20} {:>7} {:>7} {:>7} {:>8} {:>8} {:>10} {:>7}\n",
        "crate", "mutants", "caught", "missed", "timeout", "unviable", "equivalent", "score"
    );
    for score in scores {
        let missed = score.missed.len();
        // Writing to a string cannot fail.
        let _ = writeln!(
            text,
            "{:<20} {:>7} {:>7} {missed:>7} {:>8} {:>8} {:>10} {:>6.1}%",
            score.name,
            score.viable() + score.equivalent + score.unviable,
            score.caught,
            score.timeout,
            score.unviable,
            score.equivalent,
            score.percent()
        );
    }
    for name in scores.iter().flat_map(|score| &score.missed) {
        let _ = writeln!(text, "missed: {name}");
    }
    for entry in scores.iter().flat_map(|score| &score.stale) {
        let _ = writeln!(text, "listed as equivalent, but caught: {entry}");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    const JSON: &str = r#"{"outcomes":[
        {"scenario":"Baseline","summary":"Success"},
        {"scenario":{"Mutant":{"name":"src/a.rs:1:2: replace > with >= in f","file":"src/a.rs"}},"summary":"CaughtMutant"},
        {"scenario":{"Mutant":{"name":"src/a.rs:2:2: replace > with >= in f","file":"src/a.rs"}},"summary":"MissedMutant"},
        {"scenario":{"Mutant":{"name":"src/a.rs:3:2: replace > with >= in f","file":"src/a.rs"}},"summary":"MissedMutant"},
        {"scenario":{"Mutant":{"name":"src/a.rs:4:2: replace g -> u8 with 1","file":"src/a.rs"}},"summary":"Timeout"},
        {"scenario":{"Mutant":{"name":"src/a.rs:5:2: replace h -> X with X::new()","file":"src/a.rs"}},"summary":"Unviable"}
    ],"total_mutants":5}"#;

    fn score(entries: &[(&str, usize)]) -> Score {
        let all = entries.iter().map(|(mutant, count)| Equivalent {
            file: "src/a.rs".to_owned(),
            mutant: (*mutant).to_owned(),
            count: *count,
            reason: "they are never equal".to_owned(),
        });
        let outcomes: Outcomes = serde_json::from_str(JSON).unwrap();
        Score::new("a", &outcomes, &Equivalents { all: all.collect() })
    }

    #[test]
    fn a_score_is_about_what_can_be_caught() {
        let all = score(&[]);
        assert_eq!((all.viable(), all.missed.len(), all.equivalent), (4, 2, 0));
        assert!((all.percent() - 50.0).abs() < 1e-9);
        assert!(all.is_at_least(50.0) && !all.is_at_least(50.1));

        let one = score(&[("replace > with >= in f", 1)]);
        assert_eq!((one.viable(), one.equivalent), (3, 1));
        assert_eq!(one.missed, ["src/a.rs:3:2: replace > with >= in f"]);
        assert!(one.is_at_least(66.0) && !one.is_at_least(67.0));

        assert!(score(&[("replace > with >= in f", 2)]).is_at_least(100.0));
    }

    #[test]
    fn an_entry_for_a_caught_mutant_is_stale() {
        let stale = score(&[("replace > with >= in f", 3)]);
        assert_eq!(stale.stale, ["src/a.rs: replace > with >= in f (1 of 3)"]);
        assert!(!stale.is_at_least(0.0));
        // Nothing is said about a mutant that was not part of the run.
        assert!(score(&[("replace j with ()", 1)]).stale.is_empty());
    }

    #[test]
    fn the_table_names_what_was_missed() {
        let text = table(&[score(&[("replace > with >= in f", 1)])]);
        let lines: Vec<_> = text
            .lines()
            .map(|line| line.split_whitespace().collect::<Vec<_>>())
            .collect();
        assert_eq!(lines[1], ["a", "5", "1", "1", "1", "1", "1", "66.7%"]);
        assert_eq!(lines[2].join(" "), "missed: src/a.rs:3:2: replace > with >= in f");
        assert_eq!(lines.len(), 3);
    }
}
