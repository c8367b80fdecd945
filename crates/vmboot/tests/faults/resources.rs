//! Descriptors and mappings that a run must give back.

use libtest_mimic::Failed;

use hv_kvm_test::Held;

/// Runs `run` twice and compares what the process has after each. The first run also makes what stays, such as arenas of the allocator.
pub(crate) fn without_leak(run: fn() -> Result<(), Failed>) -> Result<(), Failed> {
    run()?;
    let before = Held::now()?;
    run()?;
    let after = Held::now()?;
    if before != after {
        return Err(format!("before {before:?}, after {after:?}").into());
    }
    Ok(())
}
