//! A system of Debian on a virtio disk: `cargo xtask run --debian`, and what its userspace reports.

use super::loader;
use super::results::{Case, Outcome};
use crate::arch::ArchRow;
use crate::error::Error;
use crate::run;
use crate::runner::{Host, Runner};
use crate::workspace::Workspace;

const NAME: &str = "debian::root_on_a_disk";

/// Lines of the report that the system prints when it has started.
const EXPECTED: [&str; 5] = [
    "userspace reached: Linux ",
    "os: Debian GNU/Linux 13",
    "init: systemd",
    "system: running",
    "mount: /         /dev/vda2 ext4",
];

/// Boots the system to systemd, which reports that all of its units have started, and powers the machine off.
pub(super) fn run(
    workspace: &Workspace,
    row: &'static ArchRow,
    host: Host,
    filter: Option<&str>,
) -> Result<Vec<Case>, Error> {
    if filter.is_some_and(|filter| !NAME.contains(filter)) {
        return Ok(Vec::new());
    }
    let runner = Runner::ensure(workspace, row, host)?;
    let task = run::debian(workspace, row)?;
    let (console, result) = runner.run_captured(workspace, "vmboot", task);
    let case = Case {
        suite: "system".to_owned(),
        name: NAME.to_owned(),
        outcome: outcome(&console, result),
    };
    loader::print(&case);
    Ok(vec![case])
}

fn outcome(console: &str, result: Result<(), Error>) -> Outcome {
    let starts = |text: &str| console.lines().any(|line| line.trim_end().starts_with(text));
    let missing: Vec<&str> = EXPECTED.into_iter().filter(|text| !starts(text)).collect();
    let problem = match result {
        Err(error) => error.to_string(),
        Ok(()) if !missing.is_empty() => format!("not printed: {missing:?}"),
        Ok(()) if starts("failed unit: ") => "a unit of systemd failed".to_owned(),
        Ok(()) => return Outcome::Passed,
    };
    Outcome::Failed(format!("{problem}; the console:\n{console}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_system_that_runs_reports_every_line_and_no_failed_unit() {
        let report = EXPECTED.map(|line| format!("{line} and more\r\n")).concat();
        assert_eq!(outcome(&report, Ok(())), Outcome::Passed);
        let failed = |console: &str, result, text: &str| {
            assert!(
                matches!(outcome(console, result), Outcome::Failed(message) if message.starts_with(text)),
                "{console}"
            );
        };
        failed(
            &report.replace("running", "degraded"),
            Ok(()),
            "not printed: [\"system: running\"]",
        );
        failed(&format!("{report}failed unit: a.service\n"), Ok(()), "a unit");
        let error = Error::NoNativeKvm {
            reason: "none".into(),
        };
        failed(&report, Err(error), "");
    }
}
