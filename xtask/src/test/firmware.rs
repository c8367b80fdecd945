//! Boots media with the firmware of this repository to userspace.

use super::results::{Case, Outcome};
use crate::arch::ArchRow;
use crate::error::Error;
use crate::firmware;
use crate::workspace::Workspace;

/// Runs the boots, each of which is a test.
pub(super) fn run(
    workspace: &Workspace,
    row: &'static ArchRow,
    filter: Option<&str>,
) -> Result<Vec<Case>, Error> {
    let mut cases = Vec::new();
    for boot in firmware::test_boots(row) {
        let name = boot.name();
        if filter.is_some_and(|filter| !name.contains(filter)) {
            continue;
        }
        let outcome = match boot.run(workspace)? {
            None => Outcome::Passed,
            Some(message) => Outcome::Failed(message),
        };
        let word = if outcome == Outcome::Passed {
            "ok"
        } else {
            "FAILED"
        };
        println!("test firmware: {name} ... {word}");
        cases.push(Case {
            suite: "firmware".to_owned(),
            name,
            outcome,
        });
    }
    Ok(cases)
}
