//! The guest that `cargo xtask new-guest` writes.

use hv_kvm_test::{CheckResult, fixture};
use sandbox::{CallError, SandboxBuilder};

use super::guest::{LIMIT, check, error_of, expect};
use super::test::Test;
use crate::guest::program;

pub(crate) const TESTS: &[Test] = &[("template::functions", functions)];

fn file() -> String {
    program("sandbox-template")
}

/// Reason why the tests cannot run.
pub(crate) fn skip_reason() -> Option<String> {
    hv_kvm_test::skip_reason(&[file()], false)
}

fn functions() -> CheckResult {
    let builder = SandboxBuilder::from_file(fixture(&file())).deadline(LIMIT);
    let mut sandbox = builder.register("time_of_day", || 9 * 3600u32).build()?;
    let text: String = sandbox.call("greet", ("Ada",))?;
    expect("a greeting", &text.as_str(), &"Good morning, Ada!")?;
    let words: Vec<(String, u32)> = sandbox.call("count_words", ("b a b",))?;
    expect("words", &words, &vec![("a".to_owned(), 1), ("b".to_owned(), 2)])?;
    let error = error_of::<_, Vec<(String, u32)>>(&mut sandbox, "count_words", (" ",))?;
    check(
        matches!(&error, CallError::Guest(error) if error.code == 1),
        || format!("found {error:?}"),
    )?;
    let mut result = Vec::new();
    sandbox.call_bytes("reverse", b"abc", &mut result)?;
    expect("bytes in reverse order", &result.as_slice(), &b"cba".as_slice())
}
