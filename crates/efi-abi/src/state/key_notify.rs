//! Functions that are called when a key comes, `RegisterKeyNotify`, UEFI 2.10 section 12.3.

use alloc::collections::VecDeque;
use alloc::vec::Vec;

use efi_core::{Result, Status};

use crate::keys::Key;

/// Registrations, and calls that wait; more fail, and later keys are dropped.
const MAX_FUNCTIONS: usize = 256;
const MAX_CALLS: usize = 256;

/// A call of a notification function.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct KeyCall {
    pub(crate) function: u64,
    pub(crate) key: Key,
}

#[derive(Clone, Copy, Debug)]
struct Registration {
    id: u64,
    key: Key,
    function: u64,
}

/// All registrations, and the calls that wait for a low task priority level.
#[derive(Debug, Default)]
pub(crate) struct KeyNotifications {
    registrations: Vec<Registration>,
    calls: VecDeque<KeyCall>,
    last: u64,
}

impl KeyNotifications {
    pub(crate) const fn new() -> Self {
        Self {
            registrations: Vec::new(),
            calls: VecDeque::new(),
            last: 0,
        }
    }

    /// Registers a function for a key: its handle, never 0.
    pub(crate) fn register(&mut self, key: Key, function: u64) -> Result<u64> {
        if self.registrations.len() >= MAX_FUNCTIONS {
            return Err(Status::OUT_OF_RESOURCES);
        }
        let id = self.last.checked_add(1).ok_or(Status::OUT_OF_RESOURCES)?;
        self.last = id;
        self.registrations.push(Registration { id, key, function });
        Ok(id)
    }

    /// Removes a registration, and its calls that wait.
    pub(crate) fn unregister(&mut self, id: u64) -> Result<()> {
        let index = self.registrations.iter().position(|found| found.id == id);
        let removed = self.registrations.remove(index.ok_or(Status::INVALID_PARAMETER)?);
        let is_used = |function: u64| self.registrations.iter().any(|other| other.function == function);
        if !is_used(removed.function) {
            self.calls.retain(|call| call.function != removed.function);
        }
        Ok(())
    }

    /// Queues the calls for a key that came.
    pub(crate) fn pressed(&mut self, key: Key) {
        for registration in &self.registrations {
            if registration.key == key && self.calls.len() < MAX_CALLS {
                self.calls.push_back(KeyCall {
                    function: registration.function,
                    key,
                });
            }
        }
    }

    /// The next call.
    pub(crate) fn next(&mut self) -> Option<KeyCall> {
        self.calls.pop_front()
    }
}
