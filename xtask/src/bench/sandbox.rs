//! Calls, snapshots and clones of sandboxes, in units of one bare KVM round trip of the same run.

use std::fmt::{self, Write as _};
use std::time::Duration;

use serde::Deserialize;

use crate::arch::ArchRow;
use crate::build;
use crate::cli::BenchArgs;
use crate::error::Error;
use crate::guests;
use crate::json_lines;
use crate::metadata;
use crate::progress::{Step, print_status};
use crate::runner::job::{Arg, Task};
use crate::runner::{Clock, Runner};
use crate::workspace::Workspace;

/// Name of the bench target.
const BENCH: &str = "sandbox";

/// Time for all rows: ten seconds natively, minutes in an emulated machine that counts instructions.
const DEADLINE: Duration = Duration::from_mins(30);

/// Builds the bench, runs it, and prints its table.
pub(super) fn run(workspace: &Workspace, row: &'static ArchRow, args: &BenchArgs) -> Result<(), Error> {
    let runner = Runner::ensure(workspace, row, args.host)?.with_clock(Clock::Instructions);
    let guest = guests::sandbox_demo(workspace, row)?;
    let mut command = build::static_cargo(workspace, row, "bench")?;
    command.args(["--no-run", "--package", "vmboot-sandbox", "--bench", BENCH]);
    let executable = {
        let _step = Step::start(format!("building the bench for {}", row.std_target));
        metadata::program(workspace, &mut command, "build-bench-sandbox", BENCH)?
    };
    let task = Task {
        executable,
        args: vec![Arg::File(guest)],
        deadline: DEADLINE,
    };
    print_status(&format!(
        "measuring sandboxes of {} on {}",
        row.name,
        runner.kind()
    ));
    let (output, result) = runner.run_captured(workspace, BENCH, task);
    // The rows before a failure are of use, too.
    let table = Table::parse(&output)?;
    print!("{table}");
    result?;
    let missed = table.missed();
    if args.check && !missed.is_empty() {
        return Err(Error::LimitsMissed { rows: missed });
    }
    Ok(())
}

/// A row of the table, as the bench prints it: one JSON object a line.
#[derive(Clone, Debug, PartialEq, Deserialize)]
struct Row {
    name: String,
    value: f64,
    unit: String,
    /// The largest value that is good enough.
    limit: Option<f64>,
    /// What Hyperlight 0.18 needs, in the same unit.
    hyperlight: Option<f64>,
}

/// The rows in the order of the bench.
#[derive(Debug)]
struct Table(Vec<Row>);

impl Table {
    fn parse(output: &str) -> Result<Self, Error> {
        Ok(Self(json_lines::read(output, "a row of the bench")?))
    }

    /// Names of the rows that miss their limit.
    fn missed(&self) -> Vec<String> {
        let missed = self
            .0
            .iter()
            .filter(|row| row.limit.is_some_and(|limit| row.value > limit));
        missed.map(|row| row.name.clone()).collect()
    }
}

impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let width = self.0.iter().map(|row| row.name.len()).max().unwrap_or(0);
        let number = |value: Option<f64>| value.map_or("-".to_owned(), |value| format!("{value:.2}"));
        let heading = ["limit", "measured", "Hyperlight"];
        writeln!(
            f,
            "{:width$}  {:>8}  {:>10}  {:>10}",
            "", heading[0], heading[1], heading[2]
        )?;
        for row in &self.0 {
            let mut line = format!("{:width$}", row.name);
            write!(line, "  {:>8}  {:>10.2}", number(row.limit), row.value)?;
            write!(line, "  {:>10}  {}", number(row.hyperlight), row.unit)?;
            if row.limit.is_some_and(|limit| row.value > limit) {
                line.push_str("  missed");
            }
            writeln!(f, "{line}")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_over_their_limit_are_missed() {
        let output = concat!(
            "some text\n",
            r#"{"name":"call","value":1.26,"unit":"rt","limit":1.5,"hyperlight":10.5}"#,
            "\n",
            r#"{"name":"restore","value":11.0,"unit":"rt","limit":10.0,"hyperlight":null}"#,
            "\n",
            r#"{"name":"drop","value":99.0,"unit":"rt","limit":null,"hyperlight":null}"#,
            "\n",
        );
        let table = Table::parse(output).unwrap();
        assert_eq!(table.missed(), ["restore"]);
        let text = table.to_string();
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines.len(), 4);
        assert!(lines[1].starts_with("call") && lines[1].contains("1.26") && lines[1].ends_with("rt"));
        assert!(lines[2].ends_with("missed"));
        assert!(Table::parse("{").is_err());
    }
}
