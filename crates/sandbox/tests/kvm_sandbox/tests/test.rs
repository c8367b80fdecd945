//! What a test is.

use hv_kvm_test::CheckResult;

/// A test: its name, and what it does.
pub(super) type Test = (&'static str, fn() -> CheckResult);
