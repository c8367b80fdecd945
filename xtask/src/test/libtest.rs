//! Parses the output of test programs, those of libtest and of libtest-mimic.
//!
//! A line `test NAME ... OUTCOME` is a result. When a test writes to the terminal itself, its outcome is at the
//! start of a later line. The messages of failed tests follow at the end, below `---- NAME stdout ----` or `---- NAME
//! ----`. A program that prints no line `test result:` has crashed; that is a failure as well.

use super::results::{Case, Outcome};

/// Takes the output of test programs line by line.
#[derive(Debug, Default)]
pub(crate) struct Parser {
    cases: Vec<Case>,
    /// The current program.
    suite: Option<Suite>,
}

#[derive(Debug)]
struct Suite {
    name: String,
    /// Index of its first case.
    first: usize,
    /// A test that has started, and whose outcome has not been seen.
    pending: Option<String>,
    /// Tests that libtest has reported as slow, and whose outcomes have not been seen.
    slow: Vec<String>,
    /// Index of the case whose message is read.
    message_of: Option<usize>,
    is_complete: bool,
}

impl Parser {
    /// The next lines come from the program `name`.
    pub(crate) fn start(&mut self, name: &str) {
        self.end("it ended early");
        self.suite = Some(Suite {
            name: name.to_owned(),
            first: self.cases.len(),
            pending: None,
            slow: Vec::new(),
            message_of: None,
            is_complete: false,
        });
    }

    /// The current program has ended; `how` is the reason to report if it printed no result.
    pub(crate) fn end(&mut self, how: &str) {
        let Some(suite) = self.suite.take() else { return };
        if suite.is_complete {
            return;
        }
        let mut names = suite.slow;
        names.extend(suite.pending);
        if names.is_empty() {
            names.push("the program runs to its end".to_owned());
        }
        for name in names {
            self.cases
                .push(Case::failed(&suite.name, &name, format!("no outcome: {how}")));
        }
    }

    /// Takes one line without its end.
    pub(crate) fn line(&mut self, line: &str) {
        let Some(suite) = &mut self.suite else { return };
        if let Some(name) = message_header(line) {
            let cases = self.cases.iter().enumerate().skip(suite.first);
            suite.message_of = cases
                .filter(|(_, case)| case.name == name)
                .map(|(index, _)| index)
                .next();
        } else if line.starts_with("test result: ") {
            suite.is_complete = true;
            suite.message_of = None;
        } else if line == "failures:" {
            suite.message_of = None;
        } else if let Some(index) = suite.message_of {
            if let Some(Case {
                outcome: Outcome::Failed(message),
                ..
            }) = self.cases.get_mut(index)
            {
                message.push_str(line);
                message.push('\n');
            }
        } else if let Some(name) = slow_test(line) {
            suite.slow.push(name.to_owned());
        } else if let Some((name, rest)) = test_line(line) {
            match outcome(rest) {
                Some(outcome) => self.push(name, outcome),
                None => suite.pending = Some(name.to_owned()),
            }
        } else if let Some(name) = suite.pending.clone()
            && let Some(outcome) = outcome(line)
        {
            self.push(&name, outcome);
        }
    }

    fn push(&mut self, name: &str, outcome: Outcome) {
        if let Some(suite) = &mut self.suite {
            suite.pending = None;
            suite.slow.retain(|slow| slow != name);
            self.cases.push(Case {
                suite: suite.name.clone(),
                name: name.to_owned(),
                outcome,
            });
        }
    }

    /// All cases so far, when no more lines come.
    pub(crate) fn finish(mut self) -> Vec<Case> {
        self.end("it ended early");
        for case in &mut self.cases {
            if let Outcome::Failed(message) = &mut case.outcome {
                message.truncate(message.trim_end().len());
            }
        }
        self.cases
    }

    /// True when a failure was seen.
    pub(crate) fn has_failures(&self) -> bool {
        self.cases
            .iter()
            .any(|case| matches!(case.outcome, Outcome::Failed(_)))
    }
}

/// The name and the rest of `test NAME ... REST`.
fn test_line(line: &str) -> Option<(&str, &str)> {
    // Names of doc tests contain blanks, so the name ends at the dots.
    let (name, rest) = line.strip_prefix("test ")?.split_once(" ... ")?;
    Some((name.trim_end(), rest))
}

/// The name in `test NAME has been running for over 60 seconds`.
fn slow_test(line: &str) -> Option<&str> {
    let (name, _) = line
        .strip_prefix("test ")?
        .split_once(" has been running for over ")?;
    Some(name)
}

fn outcome(text: &str) -> Option<Outcome> {
    let text = text.trim_end();
    match text {
        "ok" => return Some(Outcome::Passed),
        "FAILED" => return Some(Outcome::Failed(String::new())),
        "ignored" => return Some(Outcome::Skipped("no reason given".to_owned())),
        _ => {}
    }
    // libtest writes `ignored, REASON`, libtest-mimic `ignored (REASON)`.
    let reason = text.strip_prefix("ignored")?;
    let reason = reason.strip_prefix(", ").or_else(|| {
        reason
            .strip_prefix(" (")
            .and_then(|reason| reason.strip_suffix(')'))
    })?;
    Some(Outcome::Skipped(reason.to_owned()))
}

/// The test's name in the header of a failed test's output.
fn message_header(line: &str) -> Option<&str> {
    let name = line.strip_prefix("---- ")?.strip_suffix(" ----")?;
    Some(name.strip_suffix(" stdout").unwrap_or(name))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Parses the output of one program and gives its cases, without the program's name.
    fn check(output: &str, expected: &[(&str, Outcome)]) {
        let mut parser = Parser::default();
        parser.start("program");
        output.lines().for_each(|line| parser.line(line));
        let found: Vec<_> = parser
            .finish()
            .into_iter()
            .map(|case| (case.name, case.outcome))
            .collect();
        let expected: Vec<_> = expected
            .iter()
            .map(|(name, outcome)| ((*name).to_owned(), outcome.clone()))
            .collect();
        assert_eq!(found, expected, "{output}");
    }

    fn failed(message: &str) -> Outcome {
        Outcome::Failed(message.to_owned())
    }

    fn skipped(reason: &str) -> Outcome {
        Outcome::Skipped(reason.to_owned())
    }

    #[test]
    fn libtest() {
        check(
            "\nrunning 4 tests\ntest a::b ... ok\ntest c ... ignored, needs a disk\ntest d ... FAILED\n\
             test e ... ignored\n\nfailures:\n\n---- d stdout ----\n\nthread 'd' panicked:\ntest x ... ok\n\n\n\
             failures:\n    d\n\ntest result: FAILED. 1 passed; 1 failed; 2 ignored; 0 measured\n",
            &[
                ("a::b", Outcome::Passed),
                ("c", skipped("needs a disk")),
                ("d", failed("\nthread 'd' panicked:\ntest x ... ok")),
                ("e", skipped("no reason given")),
            ],
        );
    }

    #[test]
    fn libtest_mimic() {
        check(
            "running 3 tests\ntest a        ... ok\ntest longer_b ... ignored (/dev/kvm: no such file (2))\n\
             test c        ... FAILED\n\nfailures:\n\n---- c ----\nfound 1\n\n\nfailures:\n    c\n\n\
             test result: FAILED. 1 passed; 1 failed; 1 ignored; 0 measured; 0 filtered out; finished in 0s\n",
            &[
                ("a", Outcome::Passed),
                ("longer_b", skipped("/dev/kvm: no such file (2)")),
                ("c", failed("found 1")),
            ],
        );
    }

    #[test]
    fn doc_tests() {
        check(
            "test crates/a/src/lib.rs - (line 3) ... ok\ntest crates/a/README.md - B::c (line 9) - compile ... ok\n\
             test result: ok. 2 passed\n",
            &[
                ("crates/a/src/lib.rs - (line 3)", Outcome::Passed),
                ("crates/a/README.md - B::c (line 9) - compile", Outcome::Passed),
            ],
        );
    }

    #[test]
    fn a_test_may_write_between_its_name_and_its_outcome() {
        check(
            "test a ... hello\nworld\nok\nok\ntest b ... ok\ntest result: ok.\n",
            &[("a", Outcome::Passed), ("b", Outcome::Passed)],
        );
    }

    #[test]
    fn a_crash_is_a_failure() {
        check(
            "running 2 tests\ntest a ... ok\ntest b ... ",
            &[
                ("a", Outcome::Passed),
                ("b", failed("no outcome: it ended early")),
            ],
        );
        check(
            "",
            &[(
                "the program runs to its end",
                failed("no outcome: it ended early"),
            )],
        );
    }

    #[test]
    fn a_slow_test_without_outcome_has_failed() {
        check(
            "running 3 tests\ntest a has been running for over 60 seconds\n\
             test b has been running for over 60 seconds\ntest b ... ok\ntest c ... ok\n",
            &[
                ("b", Outcome::Passed),
                ("c", Outcome::Passed),
                ("a", failed("no outcome: it ended early")),
            ],
        );
    }

    #[test]
    fn the_next_program_ends_the_one_before() {
        let mut parser = Parser::default();
        parser.line("test nobody ... ok");
        parser.start("one");
        parser.line("test a ... ok");
        parser.start("two");
        parser.line("test result: ok. 0 passed");
        parser.end("killed");
        assert!(parser.has_failures());
        let cases = parser.finish();
        assert_eq!(cases.len(), 2);
        assert_eq!(
            cases[1],
            Case::failed("one", "the program runs to its end", "no outcome: it ended early")
        );
    }
}
