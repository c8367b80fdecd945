//! Boots media with the firmware of this repository to userspace, and the conformance guests.

mod conformance;

use std::path::Path;

use super::loader;
use super::results::{Case, Outcome};
use crate::arch::ArchRow;
use crate::error::Error;
use crate::firmware;
use crate::workspace::Workspace;

/// Runs the boots, each of which is a test.
pub(super) fn run(
    workspace: &Workspace,
    row: &'static ArchRow,
    fixtures: &Path,
    filter: Option<&str>,
) -> Result<Vec<Case>, Error> {
    let mut cases = Vec::new();
    for boot in firmware::test_boots(row) {
        let name = boot.name();
        if filter.is_some_and(|filter| !name.contains(filter)) {
            continue;
        }
        let outcome = match boot.run(workspace) {
            Ok(None) => Outcome::Passed,
            Ok(Some(message)) => Outcome::Failed(message),
            Err(error @ Error::MayNotInstall { .. }) => Outcome::Skipped(error.to_string()),
            Err(error) => return Err(error),
        };
        let case = Case {
            suite: "firmware".to_owned(),
            name,
            outcome,
        };
        loader::print(&case);
        cases.push(case);
    }
    cases.extend(conformance::run(workspace, row, fixtures, filter)?);
    Ok(cases)
}
