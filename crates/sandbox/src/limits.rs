//! Limits of a sandbox.

use std::time::Duration;

/// Limits of a sandbox.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Limits {
    /// Largest payload in bytes.
    pub(crate) max_payload: u64,
    /// Limit of the duration of a call.
    pub(crate) deadline: Option<Duration>,
    /// Limit of the number of messages of the guest in a call.
    pub(crate) max_messages: u32,
    /// Number of log records that are accepted in a call.
    pub(crate) log_records: u32,
    /// Memory of the sandbox in bytes from which on a restore drops pages.
    pub(crate) resident: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            max_payload: 64 << 20,
            deadline: Some(Duration::from_secs(10)),
            max_messages: 1 << 20,
            log_records: 1000,
            resident: 64 << 20,
        }
    }
}
