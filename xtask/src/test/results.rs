//! Results of all tiers: the summary, and JUnit XML.

use std::fmt;
use std::fs::{self, File};
use std::path::Path;

use quick_junit::{NonSuccessKind, Report, TestCase, TestCaseStatus, TestSuite};

use crate::error::{Error, WithPath as _};

/// The lines of a failed test's message that the error at the end repeats. The summary has all of them.
const REASON_LINES: usize = 12;

/// How a test ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    Passed,
    /// With the test's message.
    Failed(String),
    /// With the reason.
    Skipped(String),
}

/// One test.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Case {
    /// The test program it belongs to.
    pub(crate) suite: String,
    pub(crate) name: String,
    pub(crate) outcome: Outcome,
}

impl Case {
    /// A failure of a whole test program.
    pub(crate) fn failed(suite: &str, name: &str, message: impl Into<String>) -> Self {
        Self {
            suite: suite.to_owned(),
            name: name.to_owned(),
            outcome: Outcome::Failed(message.into()),
        }
    }
}

/// Every test of every tier.
#[derive(Clone, Debug, Default)]
pub(crate) struct Results {
    tiers: Vec<TierResults>,
}

/// The tests of one tier on one machine.
#[derive(Clone, Debug)]
struct TierResults {
    /// The tier, and the machine if there are several.
    name: String,
    cases: Vec<Case>,
}

/// How many tests ended in which way.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Counts {
    passed: usize,
    failed: usize,
    skipped: usize,
}

impl Counts {
    fn of<'a>(cases: impl IntoIterator<Item = &'a Case>) -> Self {
        let mut counts = Self::default();
        for case in cases {
            match case.outcome {
                Outcome::Passed => counts.passed += 1,
                Outcome::Failed(_) => counts.failed += 1,
                Outcome::Skipped(_) => counts.skipped += 1,
            }
        }
        counts
    }
}

impl fmt::Display for Counts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            passed,
            failed,
            skipped,
        } = self;
        write!(f, "{passed} passed, {failed} failed, {skipped} skipped")
    }
}

impl Results {
    /// Adds the tests of a tier. No test at all is a failure, unless that `may_be_empty`.
    pub(crate) fn add_tier(
        &mut self,
        name: impl Into<String>,
        outcome: Result<Vec<Case>, Error>,
        may_be_empty: bool,
    ) {
        let name = name.into();
        let cases = match outcome {
            Ok(mut cases) => {
                let counts = Counts::of(&cases);
                if counts.passed + counts.failed == 0 && !may_be_empty {
                    let message = "no test of this tier ran";
                    cases.push(Case::failed(&name, "at least one test runs", message));
                }
                cases
            }
            Err(error) => vec![Case::failed(&name, "the tests can be run", error.to_string())],
        };
        self.tiers.push(TierResults { name, cases });
    }

    /// Every test, with its tier's name.
    fn cases(&self) -> impl Iterator<Item = (&str, &Case)> {
        self.tiers
            .iter()
            .flat_map(|tier| tier.cases.iter().map(|case| (tier.name.as_str(), case)))
    }

    fn counts(&self) -> Counts {
        Counts::of(self.cases().map(|(_, case)| case))
    }

    /// Success if no test failed; otherwise an error with the name and the start of the message of each.
    pub(crate) fn to_result(&self) -> Result<(), Error> {
        let mut message = match self.counts().failed {
            0 => return Ok(()),
            1 => "a test failed".to_owned(),
            failed => format!("{failed} tests failed"),
        };
        for (tier, case) in self.cases() {
            if let Outcome::Failed(reason) = &case.outcome {
                message.extend(["\n  ", tier, ": ", &case.suite, ": ", &case.name]);
                for line in reason.lines().filter(|line| !line.is_empty()).take(REASON_LINES) {
                    message.extend(["\n      ", line]);
                }
            }
        }
        Err(Error::Tests { message })
    }

    /// Writes all results as JUnit XML.
    pub(crate) fn write_junit(&self, path: &Path) -> Result<(), Error> {
        if let Some(directory) = path.parent() {
            fs::create_dir_all(directory).with_path(directory)?;
        }
        self.junit().serialize(File::create(path).with_path(path)?)?;
        Ok(())
    }

    fn junit(&self) -> Report {
        let mut report = Report::new("vmboot");
        let mut suites: Vec<TestSuite> = Vec::new();
        for (tier, case) in self.cases() {
            let name = format!("{tier}: {}", case.suite);
            let status = match &case.outcome {
                Outcome::Passed => TestCaseStatus::success(),
                Outcome::Failed(message) => {
                    let mut status = TestCaseStatus::non_success(NonSuccessKind::Failure);
                    status.set_description(message.as_str());
                    status
                }
                Outcome::Skipped(reason) => {
                    let mut status = TestCaseStatus::skipped();
                    status.set_message(reason.as_str());
                    status
                }
            };
            let mut test = TestCase::new(case.name.as_str(), status);
            test.set_classname(name.as_str());
            let position = suites.iter().position(|suite| suite.name.as_str() == name);
            let index = position.unwrap_or_else(|| {
                suites.push(TestSuite::new(name));
                suites.len() - 1
            });
            suites[index].add_test_case(test);
        }
        report.add_test_suites(suites);
        report
    }
}

impl fmt::Display for Results {
    /// Failed tests, skipped tests with their reasons, the counts of each tier, and on the last line the total.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f)?;
        for (tier, case) in self.cases() {
            if let Outcome::Failed(message) = &case.outcome {
                writeln!(f, "FAILED {tier}: {}: {}", case.suite, case.name)?;
                for line in message.lines() {
                    writeln!(f, "    {line}")?;
                }
            }
        }
        for (tier, case) in self.cases() {
            if let Outcome::Skipped(reason) = &case.outcome {
                writeln!(f, "skipped {tier}: {}: {} ({reason})", case.suite, case.name)?;
            }
        }
        for tier in &self.tiers {
            writeln!(f, "{}: {}", tier.name, Counts::of(&tier.cases))?;
        }
        writeln!(f, "{}", self.counts())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn case(name: &str, outcome: Outcome) -> Case {
        Case {
            suite: "suite".into(),
            name: name.into(),
            outcome,
        }
    }

    fn mixed() -> Results {
        let mut results = Results::default();
        let cases = vec![
            case("a", Outcome::Passed),
            case("b", Outcome::Failed("left 1\nright 2".into())),
            case("c", Outcome::Skipped("no KVM".into())),
            case("d", Outcome::Passed),
        ];
        results.add_tier("host", Ok(cases), false);
        results
    }

    #[test]
    fn the_summary_ends_with_the_counts_alone() {
        assert_eq!(
            mixed().to_string(),
            "\nFAILED host: suite: b\n    left 1\n    right 2\nskipped host: suite: c (no KVM)\n\
             host: 2 passed, 1 failed, 1 skipped\n2 passed, 1 failed, 1 skipped\n"
        );
    }

    #[test]
    fn a_failure_decides() {
        let error = mixed().to_result().unwrap_err().to_string();
        assert_eq!(
            error,
            "a test failed\n  host: suite: b\n      left 1\n      right 2"
        );
        let mut results = Results::default();
        results.add_tier("host", Ok(vec![case("a", Outcome::Passed)]), false);
        assert!(results.to_result().is_ok());
    }

    #[test]
    fn a_tier_without_a_test_that_ran_is_a_failure() {
        for cases in [vec![], vec![case("a", Outcome::Skipped("no KVM".into()))]] {
            let mut results = Results::default();
            results.add_tier("kvm", Ok(cases.clone()), false);
            assert!(results.to_result().is_err());
            let mut filtered = Results::default();
            filtered.add_tier("kvm", Ok(cases), true);
            assert!(filtered.to_result().is_ok());
        }
    }

    #[test]
    fn a_tier_that_cannot_run_is_a_failure() {
        let mut results = Results::default();
        results.add_tier(
            "kvm",
            Err(Error::Lab {
                message: "no /dev/kvm".into(),
            }),
            true,
        );
        assert!(results.to_string().contains("no /dev/kvm"));
        assert!(results.to_result().is_err());
    }

    #[test]
    fn the_junit_report_counts_the_same() {
        let xml = mixed().junit().to_string().unwrap();
        assert!(
            xml.contains(r#"<testsuite name="host: suite" tests="4" skipped="1" errors="0" failures="1">"#),
            "{xml}"
        );
        assert!(xml.contains(r#"<skipped message="no KVM"/>"#), "{xml}");
    }
}
