//! Boots media with the firmware of this repository to userspace, and the conformance guests.

mod conformance;

use std::path::Path;

use super::loader;
use super::results::{Case, Outcome};
use crate::arch::ArchRow;
use crate::error::Error;
use crate::firmware::{self, PreparedBoot};
use crate::parallel;
use crate::workspace::Workspace;

/// Runs the boots, each of which is a test.
pub(super) fn run(
    workspace: &Workspace,
    row: &'static ArchRow,
    fixtures: &Path,
    filter: Option<&str>,
) -> Result<Vec<Case>, Error> {
    let boots = firmware::test_boots(row).into_iter();
    let boots = boots.filter(|boot| filter.is_none_or(|filter| boot.name().contains(filter)));
    // What the boots share is made first, by one after the other.
    let boots = boots.map(|boot| (boot.name(), boot.prepare(workspace)));
    let outcomes = parallel::map(boots.collect(), |(name, prepared)| {
        let outcome = match prepared.and_then(PreparedBoot::run) {
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
        Ok(case)
    });
    let mut cases: Vec<Case> = outcomes.into_iter().collect::<Result<_, Error>>()?;
    cases.extend(conformance::run(workspace, row, fixtures, filter)?);
    Ok(cases)
}
