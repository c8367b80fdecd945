//! Table of the time that each step of a task took.

use std::fmt;
use std::time::{Duration, Instant};

/// The steps of a task in the order in which they ended. Steps may run in parallel.
#[derive(Clone, Debug, Default)]
pub(crate) struct Timings {
    rows: Vec<Row>,
}

#[derive(Clone, Debug)]
struct Row {
    name: String,
    elapsed: Duration,
    /// True for a part of the preceding step.
    is_part: bool,
}

impl Timings {
    /// Adds a step that took `elapsed`, and its parts.
    pub(crate) fn add(&mut self, name: impl Into<String>, elapsed: Duration, parts: Self) {
        self.rows.push(Row {
            name: name.into(),
            elapsed,
            is_part: false,
        });
        let parts = parts.rows.into_iter().map(|row| Row { is_part: true, ..row });
        self.rows.extend(parts);
    }

    /// Runs `work` as a step without parts.
    pub(crate) fn measure<T>(&mut self, name: impl Into<String>, work: impl FnOnce() -> T) -> T {
        let start = Instant::now();
        let result = work();
        self.add(name, start.elapsed(), Self::default());
        result
    }
}

impl fmt::Display for Timings {
    /// A line for each row: seconds, then the name; parts are indented.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for row in &self.rows {
            let indent = if row.is_part { "    " } else { "" };
            writeln!(f, "{indent}{:>8.1} s  {}", row.elapsed.as_secs_f64(), row.name)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_follow_their_step() {
        let mut parts = Timings::default();
        parts.add("host", Duration::from_millis(1_250), Timings::default());
        parts.add("kvm", Duration::from_mins(20), Timings::default());
        let mut timings = Timings::default();
        timings.add("tests: ok", Duration::from_millis(1_201_300), parts);
        assert_eq!(timings.measure("docs: ok", || 7), 7);
        let text = timings.to_string();
        let (head, last) = text.trim_end().rsplit_once('\n').unwrap();
        assert_eq!(
            head,
            "  1201.3 s  tests: ok\n         1.2 s  host\n      1200.0 s  kvm"
        );
        assert!(
            last.starts_with("     0.") && last.ends_with(" s  docs: ok"),
            "{last}"
        );
    }
}
