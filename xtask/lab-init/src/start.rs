//! What a VMM does before its guest starts.

use serde::{Deserialize, Serialize};

/// The cost of a VMM from `exec` to the start of its guest, as the program `start-cost` prints it.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct StartCost {
    /// System calls of all its threads, that of the first `KVM_RUN` included.
    pub calls: u32,
    /// Page faults of all its threads that needed no file to be read, among them those for the first access to a page.
    pub minor_faults: u64,
    /// Page faults of all its threads for which the kernel read a file.
    pub major_faults: u64,
    /// Milliseconds from `exec` to the first line on standard error, when the boot is planned.
    pub planned_ms: f64,
    /// Milliseconds from there to the first `KVM_RUN`.
    pub start_ms: f64,
}
