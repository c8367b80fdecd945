//! Sandboxes whose calls to KVM fail.

use hv_kvm_test::{expect, faults};

use crate::guest::{self, Test, TestResult, sandbox};

pub(crate) const TESTS: &[Test] = &[("sandbox::kvm_errors::every_call_fails", every_call_fails)];

/// Reason why the tests cannot run on this host.
pub(crate) fn skip_reason() -> Option<String> {
    guest::skip_reason(true).or_else(faults::skip_reason)
}

fn every_call_fails() -> TestResult {
    faults::every_call_fails(|| {
        let mut sandbox = sandbox()?;
        expect("first call", &sandbox.call::<_, u64>("count", ())?, &1)?;
        let snapshot = sandbox.snapshot()?;
        expect("second call", &sandbox.call::<_, u64>("count", ())?, &2)?;
        sandbox.restore(&snapshot)?;
        expect("call after a restore", &sandbox.call::<_, u64>("count", ())?, &2)
    })
}
