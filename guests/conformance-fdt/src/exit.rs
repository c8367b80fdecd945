//! Ways to end the run.

use clauses::report;

use crate::machine::arch;

/// Prints the summary of the report and ends the run.
pub(crate) fn finish() -> ! {
    exit(report::summary())
}

/// Ends the run: powers the machine off after success, resets it after a failure.
pub(crate) fn exit(success: bool) -> ! {
    if success { arch::power_off() } else { arch::reset() }
}
