//! Ends calls from other threads.

use std::sync::{Arc, Weak};

use crate::call_slot::CallSlot;

/// Ends the running call of a sandbox, from any thread.
///
/// A host function that blocks is not interrupted: the call ends when the host function returns.
#[derive(Clone, Debug)]
pub struct InterruptHandle(Weak<CallSlot>);

impl InterruptHandle {
    pub(crate) fn new(slot: &Arc<CallSlot>) -> Self {
        Self(Arc::downgrade(slot))
    }

    /// Ends the running call, which returns [`CallError::Interrupted`](crate::CallError::Interrupted) and leaves the sandbox
    /// [poisoned](crate::Status::Poisoned). If the guest returns its result at the same time, the call can still succeed.
    ///
    /// Returns false if no call runs, or the sandbox was dropped. A later call is never affected.
    #[expect(clippy::must_use_candidate, reason = "the call may have ended anyway")]
    pub fn interrupt(&self) -> bool {
        self.0.upgrade().is_some_and(|slot| slot.interrupt())
    }
}
