//! What a VMM does before its guest starts.

use serde::{Deserialize, Serialize};

/// The cost of a VMM from `exec` to the start of its guest, as the program `start-cost` prints it.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct StartCost {
    /// System calls of all its threads, that of the first `KVM_RUN` included.
    pub calls: u32,
    /// Milliseconds from just before `exec` to the first line on standard error, when the boot is planned.
    pub planned_ms: f64,
    /// Milliseconds from there to the start of the guest.
    pub start_ms: f64,
}
