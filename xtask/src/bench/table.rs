//! The table of a bench: what was measured, its limits, and what another project takes for the same.

use std::collections::BTreeMap;
use std::fmt::{self, Write as _};

use serde::Deserialize;

use crate::error::Error;
use crate::json_lines;
use crate::plot::Bar;

/// Unit of times: one bare round trip.
const ROUND_TRIP: &str = "rt";

/// Unit of times that are not divided by the round trip yet.
const NANOSECONDS: &str = "ns";

/// Name of the row with the time of a round trip in nanoseconds.
const UNIT: &str = "bare round trip";

/// A row that is a ratio of two others: its name, the row that is divided, and the row of ours that it is divided by.
const BESIDE_BARE: (&str, &str, &str) = (
    "create from a snapshot, beside a bare machine",
    "create from a snapshot",
    "create a bare machine",
);

/// A row of the table, as the bench prints it: one JSON object a line.
#[derive(Clone, Debug, PartialEq, Deserialize)]
struct Row {
    name: String,
    value: f64,
    unit: String,
    /// The largest value that is good enough.
    #[serde(default)]
    limit: Option<f64>,
}

/// The rows in the order of the bench.
#[derive(Debug)]
pub(super) struct Table {
    rows: Vec<Row>,
    peer: Option<Peer>,
}

/// The rows of another project, with times in round trips.
#[derive(Debug)]
struct Peer {
    name: &'static str,
    rows: Vec<Row>,
}

impl Table {
    /// Reads what the bench printed.
    pub(super) fn parse(output: &str) -> Result<Self, Error> {
        Ok(Self {
            rows: json_lines::read(output, "a row of the bench")?,
            peer: None,
        })
    }

    /// Sets the limits of rows by their names.
    pub(super) fn with_limits(mut self, limits: &BTreeMap<String, f64>) -> Result<Self, Error> {
        for (name, limit) in limits {
            let row = self.rows.iter_mut().find(|row| row.name == *name);
            row.ok_or_else(|| Error::NoRow(name.clone()))?.limit = Some(*limit);
        }
        Ok(self)
    }

    /// The rows as bars of a plot.
    pub(super) fn bars(&self) -> Vec<Bar> {
        let bar = |row: &Row| Bar {
            label: row.name.clone(),
            value: row.value,
            text: format!("{:.4} {}", row.value, row.unit),
        };
        self.rows.iter().map(bar).collect()
    }

    /// Adds what the program of the project `name` printed in the same run. Does nothing without the time of a round trip, which a bench that
    /// failed has not measured.
    pub(super) fn with_peer(mut self, name: &'static str, output: &str) -> Result<Self, Error> {
        let mut rows: Vec<Row> = json_lines::read(output, "a row of the other project")?;
        let Some(round_trip) = value(&self.rows, UNIT) else {
            return Ok(self);
        };
        for row in rows.iter_mut().filter(|row| row.unit == NANOSECONDS) {
            row.value /= round_trip;
            ROUND_TRIP.clone_into(&mut row.unit);
        }
        let (ratio, divided, bare) = BESIDE_BARE;
        if let (Some(created), Some(bare)) = (value(&rows, divided), value(&self.rows, bare)) {
            rows.push(Row {
                name: ratio.to_owned(),
                value: created / bare,
                unit: "x bare".to_owned(),
                limit: None,
            });
        }
        self.peer = Some(Peer { name, rows });
        Ok(self)
    }

    /// Names of the rows that miss their limit.
    pub(super) fn missed(&self) -> Vec<String> {
        let missed = self.rows.iter().filter(|row| row.is_missed());
        missed.map(|row| row.name.clone()).collect()
    }
}

impl Row {
    fn is_missed(&self) -> bool {
        self.limit.is_some_and(|limit| self.value > limit)
    }
}

/// Value of the row `name`.
fn value(rows: &[Row], name: &str) -> Option<f64> {
    rows.iter().find(|row| row.name == name).map(|row| row.value)
}

impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let theirs = self.peer.as_ref().map(|peer| peer.rows.as_slice());
        let theirs = theirs.unwrap_or_default();
        let is_new = |row: &&Row| value(&self.rows, &row.name).is_none();
        let names = self.rows.iter().chain(theirs).map(|row| row.name.len());
        let width = names.max().unwrap_or(0);
        let number = |value: Option<f64>| match value {
            None => "-".to_owned(),
            Some(value) if value.abs() < 0.1 => format!("{value:.4}"),
            Some(value) => format!("{value:.2}"),
        };
        let mut line = |name: &str, limit: &str, measured: &str, peer: &str, unit: &str| {
            let mut line = format!("{name:width$}  {limit:>8}  {measured:>10}");
            if self.peer.is_some() {
                write!(line, "  {peer:>10}")?;
            }
            writeln!(f, "{}", format!("{line}  {unit}").trim_end())
        };
        let peer = self.peer.as_ref().map_or("", |peer| peer.name);
        line("", "limit", "measured", peer, "")?;
        for row in &self.rows {
            let unit = if row.is_missed() {
                format!("{}  missed", row.unit)
            } else {
                row.unit.clone()
            };
            let peer = number(value(theirs, &row.name));
            line(
                &row.name,
                &number(row.limit),
                &number(Some(row.value)),
                &peer,
                &unit,
            )?;
        }
        for row in theirs.iter().filter(is_new) {
            line(&row.name, "-", "-", &number(Some(row.value)), &row.unit)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const OURS: &str = concat!(
        "some text\n",
        r#"{"name":"bare round trip","value":2000.0,"unit":"ns","limit":null}"#,
        "\n",
        r#"{"name":"call","value":1.26,"unit":"rt","limit":1.5}"#,
        "\n",
        r#"{"name":"restore","value":11.0,"unit":"rt","limit":10.0}"#,
        "\n",
        r#"{"name":"create a bare machine","value":100.0,"unit":"rt","limit":null}"#,
        "\n",
    );

    #[test]
    fn rows_over_their_limit_are_missed() {
        let table = Table::parse(OURS).unwrap();
        assert_eq!(table.missed(), ["restore"]);
        let text = table.to_string();
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines.len(), 5);
        assert!(lines[2].starts_with("call") && lines[2].contains("1.26") && lines[2].ends_with("rt"));
        assert!(lines[3].ends_with("missed"));
        assert!(Table::parse("{").is_err());
    }

    #[test]
    fn limits_are_those_of_rows() {
        let table = |name: &str, limit| {
            let limits = BTreeMap::from([(name.to_owned(), limit)]);
            Table::parse(OURS).unwrap().with_limits(&limits)
        };
        assert_eq!(table("call", 1.2).unwrap().missed(), ["call", "restore"]);
        assert_eq!(table("restore", 12.0).unwrap().missed(), Vec::<String>::new());
        assert!(table("unknown", 1.0).is_err());
        assert_eq!(table("call", 1.2).unwrap().bars().len(), 4);
    }

    #[test]
    fn times_of_another_project_are_in_the_same_unit() {
        let theirs = concat!(
            r#"{"name":"call","value":21000.0,"unit":"ns"}"#,
            "\n",
            r#"{"name":"create from a snapshot","value":260000.0,"unit":"ns"}"#,
            "\n",
            r#"{"name":"panics","value":42,"unit":"exits"}"#,
            "\n",
        );
        let table = Table::parse(OURS).unwrap().with_peer("Other", theirs).unwrap();
        let text = table.to_string();
        let cells = |start: &str| -> Vec<String> {
            let line = text.lines().find(|line| line.starts_with(start)).unwrap();
            line[start.len()..]
                .split_whitespace()
                .map(str::to_owned)
                .collect()
        };
        assert!(text.starts_with(' ') && text.contains("Other"));
        assert_eq!(cells("call"), ["1.50", "1.26", "10.50", "rt"]);
        assert_eq!(cells("restore"), ["10.00", "11.00", "-", "rt", "missed"]);
        assert_eq!(cells("panics"), ["-", "-", "42.00", "exits"]);
        assert_eq!(
            cells("create from a snapshot, beside a bare machine"),
            ["-", "-", "1.30", "x", "bare"]
        );
        // Nothing can be compared without the unit.
        let table = Table::parse("").unwrap().with_peer("Other", theirs).unwrap();
        assert!(!table.to_string().contains("Other"));
    }
}
