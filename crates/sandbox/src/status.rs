//! What can be done with a sandbox, and how that changes.

use std::fmt;

/// What can be done with a sandbox.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Status {
    /// Functions can be called.
    Ready,
    /// The guest's state is unknown. [`restore`](crate::Sandbox::restore) makes the sandbox ready again.
    Poisoned(Cause),
    /// A restore failed half-way, or the hypervisor failed when a debugger came or went. The sandbox can only be dropped.
    Unrecoverable(Cause),
}

/// Why a sandbox is not ready.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Cause {
    /// The guest panicked, had an exception or ran out of memory.
    Crash,
    /// The guest left the CPU in another way than by its doorbell.
    Exit,
    /// A message of the guest broke the protocol.
    Protocol,
    /// [`InterruptHandle::interrupt`](crate::InterruptHandle::interrupt) ended a call.
    Interrupted,
    /// The deadline of a call passed.
    Deadline,
    /// The guest accessed a page of a mapped file that the file no longer has.
    File,
    /// The hypervisor failed.
    Backend,
    /// A host function, or the receiver of log records, panicked.
    HostPanic,
    /// A snapshot failed after the guest's state had changed.
    Snapshot,
    /// A restore failed after the guest's state had changed.
    Restore,
}

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Crash => "the guest crashed",
            Self::Exit => "the guest stopped without a message",
            Self::Protocol => "the guest broke the protocol",
            Self::Interrupted => "a call was interrupted",
            Self::Deadline => "the deadline of a call passed",
            Self::File => "a mapped file became too short",
            Self::Backend => "the hypervisor failed",
            Self::HostPanic => "a function of the host panicked",
            Self::Snapshot => "a snapshot failed",
            Self::Restore => "a restore failed",
        })
    }
}

impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ready => f.write_str("ready"),
            Self::Poisoned(cause) => write!(f, "poisoned until it is restored: {cause}"),
            Self::Unrecoverable(cause) => write!(f, "unrecoverable: {cause}"),
        }
    }
}

/// What happened to a sandbox.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Event {
    /// A call began. Until it ends, the sandbox is poisoned, so that it stays poisoned if the call unwinds.
    Entered,
    /// A call or a snapshot ended, and the guest waits for the next call.
    Parked,
    /// The guest cannot go on.
    Failed(Cause),
    /// A restore succeeded.
    Restored,
    /// A restore failed before it changed anything.
    RestoreRefused,
    /// A restore failed after it had changed something.
    RestoreFailed(Cause),
}

/// The status of a sandbox with `status` after `event`.
#[inline]
pub(crate) const fn next(status: Status, event: Event) -> Status {
    /// The cause while a call runs.
    const RUNNING: Cause = Cause::HostPanic;
    match (status, event) {
        (Status::Ready, Event::Entered) => Status::Poisoned(RUNNING),
        (Status::Poisoned(RUNNING) | Status::Ready, Event::Parked)
        | (Status::Poisoned(_) | Status::Ready, Event::Restored) => Status::Ready,
        (Status::Poisoned(RUNNING) | Status::Ready, Event::Failed(cause)) => Status::Poisoned(cause),
        (Status::Poisoned(_) | Status::Ready, Event::RestoreFailed(cause)) => Status::Unrecoverable(cause),
        // A poisoned sandbox is not entered, and keeps the first cause. Nothing is done with an unrecoverable one.
        (Status::Unrecoverable(_), _)
        | (_, Event::RestoreRefused)
        | (Status::Poisoned(_), Event::Entered | Event::Parked | Event::Failed(_)) => status,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_event_in_every_status() {
        use Cause::{Backend, Crash, Deadline, HostPanic, Restore};
        use Event::{Entered, Failed, Parked, RestoreFailed, RestoreRefused, Restored};
        use Status::{Poisoned, Ready, Unrecoverable};
        let table = [
            (Ready, Entered, Poisoned(HostPanic)),
            (Ready, Parked, Ready),
            (Ready, Failed(Backend), Poisoned(Backend)),
            (Ready, Restored, Ready),
            (Ready, RestoreRefused, Ready),
            (Ready, RestoreFailed(Restore), Unrecoverable(Restore)),
            (Poisoned(Crash), Entered, Poisoned(Crash)),
            (Poisoned(Crash), Parked, Poisoned(Crash)),
            (Poisoned(Crash), Failed(Deadline), Poisoned(Crash)),
            (Poisoned(Crash), Restored, Ready),
            (Poisoned(Crash), RestoreRefused, Poisoned(Crash)),
            (Poisoned(Crash), RestoreFailed(Restore), Unrecoverable(Restore)),
            (Poisoned(HostPanic), Entered, Poisoned(HostPanic)),
            (Poisoned(HostPanic), Parked, Ready),
            (Poisoned(HostPanic), Failed(Deadline), Poisoned(Deadline)),
            (Poisoned(HostPanic), Restored, Ready),
            (Poisoned(HostPanic), RestoreRefused, Poisoned(HostPanic)),
            (
                Poisoned(HostPanic),
                RestoreFailed(Restore),
                Unrecoverable(Restore),
            ),
            (Unrecoverable(Restore), Entered, Unrecoverable(Restore)),
            (Unrecoverable(Restore), Parked, Unrecoverable(Restore)),
            (Unrecoverable(Restore), Failed(Crash), Unrecoverable(Restore)),
            (Unrecoverable(Restore), Restored, Unrecoverable(Restore)),
            (Unrecoverable(Restore), RestoreRefused, Unrecoverable(Restore)),
            (
                Unrecoverable(Restore),
                RestoreFailed(Backend),
                Unrecoverable(Restore),
            ),
        ];
        for (status, event, expected) in table {
            assert_eq!(next(status, event), expected, "{status} {event:?}");
        }
    }
}
