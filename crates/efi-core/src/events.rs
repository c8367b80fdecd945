//! Events, timers and task priority levels, UEFI 2.10 section 7.1.
//!
//! Nothing here calls a notification function. [`Events::next_notification`] hands out what to call next, so that the caller
//! can release all borrows before the call.

mod kind;
mod queue;

pub use kind::{EventKind, Notify, TimerDelay, Tpl};
pub use queue::{Check, Event, Events, NewEvent, Notification};
