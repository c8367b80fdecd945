//! Events and the queue of notifications.

use alloc::collections::VecDeque;
use alloc::vec::Vec;

use uguid::Guid;

use super::kind::{EventKind, Notify, TimerDelay, Tpl};
use crate::guids::{EVENT_EXIT_BOOT_SERVICES, EVENT_VIRTUAL_ADDRESS_CHANGE};
use crate::sorted_map::SortedMap;
use crate::{Result, Status};

/// An event. Numbers are never used again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Event(pub u64);

/// Parameters of `CreateEvent` and `CreateEventEx`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NewEvent {
    /// The type as a number.
    pub kind: u32,
    /// Level of the notification function; only used with one.
    pub tpl: Tpl,
    /// The notification function.
    pub notify: Option<Notify>,
    /// The group of `CreateEventEx`.
    pub group: Option<Guid>,
}

/// What `CheckEvent` found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Check {
    /// The event was signalled; it is not any more.
    Signaled,
    /// The event is not signalled. If it has the type `NOTIFY_WAIT`, its notification is queued: dispatch notifications and
    /// use [`Events::take`].
    NotReady,
}

/// A notification function to call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Notification {
    /// The event.
    pub event: Event,
    /// Level for the call.
    pub tpl: Tpl,
    /// The function.
    pub notify: Notify,
}

#[derive(Clone, Copy, Debug)]
struct Timer {
    due: u64,
    period: Option<u64>,
}

#[derive(Clone, Debug)]
struct Entry {
    kind: EventKind,
    tpl: Tpl,
    notify: Option<Notify>,
    group: Option<Guid>,
    is_signaled: bool,
    is_queued: bool,
    timer: Option<Timer>,
}

/// Events that may exist at the same time.
const MAX_EVENTS: usize = 16_384;
const FIRST: u64 = 0x4556_0010;
const STEP: u64 = 0x10;

/// All events, the queue, and the current task priority level. Times are in units of 100 ns.
#[derive(Clone, Debug)]
pub struct Events {
    entries: SortedMap<u64, Entry>,
    queue: SortedMap<Tpl, VecDeque<u64>>,
    next: u64,
    tpl: Tpl,
    /// Number of running timers.
    timers: usize,
}

impl Default for Events {
    fn default() -> Self {
        Self::new()
    }
}

impl Events {
    /// No events; the level is that of applications.
    #[must_use]
    pub const fn new() -> Self {
        Self {
            entries: SortedMap::new(),
            queue: SortedMap::new(),
            next: FIRST,
            tpl: Tpl::APPLICATION,
            timers: 0,
        }
    }

    /// `CreateEvent` and `CreateEventEx`.
    ///
    /// # Errors
    ///
    /// `INVALID_PARAMETER` if the type is unknown, the types `NOTIFY_SIGNAL` and `NOTIFY_WAIT` are combined, or one of them
    /// has no function or a level that is not between those of applications and of interrupts; `OUT_OF_RESOURCES` if there
    /// are too many events.
    pub fn create(&mut self, new: &NewEvent) -> Result<Event> {
        let (kind, group) = match (new.kind, new.group) {
            (EventKind::EXIT_BOOT_SERVICES, None) => {
                (EventKind::NOTIFY_SIGNAL, Some(EVENT_EXIT_BOOT_SERVICES))
            }
            (EventKind::VIRTUAL_ADDRESS_CHANGE, None) => (
                EventKind::NOTIFY_SIGNAL | EventKind::RUNTIME,
                Some(EVENT_VIRTUAL_ADDRESS_CHANGE),
            ),
            (number, group) => (
                EventKind::from_bits(number).ok_or(Status::INVALID_PARAMETER)?,
                group,
            ),
        };
        let notifies = EventKind::NOTIFY_SIGNAL | EventKind::NOTIFY_WAIT;
        if kind.contains(notifies) {
            return Err(Status::INVALID_PARAMETER);
        }
        let has_notify = kind.intersects(notifies);
        let has_level = new.tpl > Tpl::APPLICATION && new.tpl < Tpl::HIGH_LEVEL;
        if has_notify && (new.notify.is_none() || !has_level) {
            return Err(Status::INVALID_PARAMETER);
        }
        if self.entries.len() >= MAX_EVENTS {
            return Err(Status::OUT_OF_RESOURCES);
        }
        let event = self.next;
        self.next = event.checked_add(STEP).ok_or(Status::OUT_OF_RESOURCES)?;
        let entry = Entry {
            kind,
            tpl: new.tpl,
            notify: new.notify.filter(|_| has_notify),
            group,
            is_signaled: false,
            is_queued: false,
            timer: None,
        };
        self.entries.insert(event, entry);
        Ok(Event(event))
    }

    /// True if the event exists.
    #[must_use]
    pub fn is_valid(&self, event: Event) -> bool {
        self.entries.contains_key(&event.0)
    }

    /// `CloseEvent`; a queued notification is dropped.
    ///
    /// # Errors
    ///
    /// `INVALID_PARAMETER` if the event is invalid.
    pub fn close(&mut self, event: Event) -> Result<()> {
        let entry = self.entries.remove(&event.0).ok_or(Status::INVALID_PARAMETER)?;
        if entry.timer.is_some() {
            self.timers = self.timers.saturating_sub(1);
        }
        if let Some(queue) = self.queue.get_mut(&entry.tpl).filter(|_| entry.is_queued) {
            queue.retain(|queued| *queued != event.0);
        }
        Ok(())
    }

    /// `SignalEvent`: signals the event, and the other events of its group.
    ///
    /// # Errors
    ///
    /// `INVALID_PARAMETER` if the event is invalid.
    pub fn signal(&mut self, event: Event) -> Result<()> {
        let entry = self.entries.get(&event.0).ok_or(Status::INVALID_PARAMETER)?;
        match entry.group {
            Some(group) => self.signal_group(group),
            None => self.set_signaled(event.0),
        }
        Ok(())
    }

    /// Signals all events of a group.
    pub fn signal_group(&mut self, group: Guid) {
        let members = self
            .entries
            .iter()
            .filter(|(_, entry)| entry.group == Some(group));
        let members: Vec<u64> = members.map(|(event, _)| *event).collect();
        for event in members {
            self.set_signaled(event);
        }
    }

    /// The notification functions of a group in the order of creation, for a caller that signals it without these events:
    /// after `ExitBootServices`, `SetVirtualAddressMap` has only runtime memory.
    pub fn group_notifications(&self, group: Guid) -> impl Iterator<Item = Notification> + '_ {
        let members = self
            .entries
            .iter()
            .filter(move |(_, entry)| entry.group == Some(group));
        members.filter_map(|(event, entry)| {
            let notify = entry.notify?;
            Some(Notification {
                event: Event(*event),
                tpl: entry.tpl,
                notify,
            })
        })
    }

    /// Puts an event in the signalled state. An event that is already in it changes nothing, but one with a signal
    /// notification leaves the state when its function is handed out.
    fn set_signaled(&mut self, event: u64) {
        let Some(entry) = self.entries.get_mut(&event) else {
            return;
        };
        if entry.is_signaled {
            return;
        }
        entry.is_signaled = true;
        if entry.kind.contains(EventKind::NOTIFY_SIGNAL) {
            self.enqueue(event);
        }
    }

    fn enqueue(&mut self, event: u64) {
        let Some(entry) = self.entries.get_mut(&event) else {
            return;
        };
        if entry.notify.is_some() && !entry.is_queued {
            entry.is_queued = true;
            match self.queue.get_mut(&entry.tpl) {
                Some(queue) => queue.push_back(event),
                None => {
                    self.queue.insert(entry.tpl, VecDeque::from([event]));
                }
            }
        }
    }

    /// `CheckEvent` up to the notification.
    ///
    /// # Errors
    ///
    /// `INVALID_PARAMETER` if the event is invalid or has the type `NOTIFY_SIGNAL`.
    pub fn check(&mut self, event: Event) -> Result<Check> {
        if self.take(event)? {
            return Ok(Check::Signaled);
        }
        let entry = self.entries.get(&event.0).ok_or(Status::INVALID_PARAMETER)?;
        if entry.kind.contains(EventKind::NOTIFY_WAIT) {
            self.enqueue(event.0);
        }
        Ok(Check::NotReady)
    }

    /// True if the event was signalled; it is not any more.
    ///
    /// # Errors
    ///
    /// Those of [`check`](Self::check).
    pub fn take(&mut self, event: Event) -> Result<bool> {
        let entry = self.entries.get_mut(&event.0).ok_or(Status::INVALID_PARAMETER)?;
        if entry.kind.contains(EventKind::NOTIFY_SIGNAL) {
            return Err(Status::INVALID_PARAMETER);
        }
        Ok(core::mem::take(&mut entry.is_signaled))
    }

    /// `SetTimer`; `trigger` is in units of 100 ns.
    ///
    /// # Errors
    ///
    /// `INVALID_PARAMETER` if the event is invalid or has no timer.
    pub fn set_timer(&mut self, event: Event, delay: TimerDelay, trigger: u64, now: u64) -> Result<()> {
        let entry = self.entries.get_mut(&event.0).ok_or(Status::INVALID_PARAMETER)?;
        if !entry.kind.contains(EventKind::TIMER) {
            return Err(Status::INVALID_PARAMETER);
        }
        if entry.timer.is_some() {
            self.timers = self.timers.saturating_sub(1);
        }
        let due = now.saturating_add(trigger);
        entry.timer = match delay {
            TimerDelay::Cancel => None,
            TimerDelay::Relative => Some(Timer { due, period: None }),
            TimerDelay::Periodic => Some(Timer {
                due,
                period: Some(trigger),
            }),
        };
        if entry.timer.is_some() {
            self.timers = self.timers.saturating_add(1);
        }
        Ok(())
    }

    /// Signals the timers that are due. A periodic timer that missed periods is signalled once.
    pub fn tick(&mut self, now: u64) {
        if self.timers == 0 {
            return;
        }
        let mut due = Vec::new();
        for (event, entry) in self.entries.iter_mut() {
            let Some(timer) = entry.timer.as_mut().filter(|timer| timer.due <= now) else {
                continue;
            };
            due.push(*event);
            if let Some(period) = timer.period {
                let late = now.saturating_sub(timer.due).checked_rem(period).unwrap_or(0);
                timer.due = now.saturating_sub(late).saturating_add(period);
            } else {
                entry.timer = None;
                self.timers = self.timers.saturating_sub(1);
            }
        }
        for event in due {
            self.set_signaled(event);
        }
    }

    /// Stops all timers, as `ExitBootServices` does.
    pub fn stop_timers(&mut self) {
        self.entries.values_mut().for_each(|entry| entry.timer = None);
        self.timers = 0;
    }

    /// The current level.
    #[must_use]
    pub const fn tpl(&self) -> Tpl {
        self.tpl
    }

    /// `RaiseTPL`: the level before. A level that is not higher, which the specification leaves undefined, or above the
    /// highest changes nothing.
    pub fn raise_tpl(&mut self, new: Tpl) -> Tpl {
        let old = self.tpl;
        if new > old && new <= Tpl::HIGH_LEVEL {
            self.tpl = new;
        }
        old
    }

    /// `RestoreTPL`: sets the level. Before that, the caller dispatches notifications above it, with
    /// [`next_notification`](Self::next_notification). A level that is higher than the current one changes nothing.
    pub fn restore_tpl(&mut self, old: Tpl) {
        if old < self.tpl {
            self.tpl = old;
        }
    }

    /// The queued notification with the highest level above `floor`, the oldest first. The event is no longer queued, and not
    /// signalled if it has the type `NOTIFY_SIGNAL`. The caller raises the level for the call.
    pub fn next_notification(&mut self, floor: Tpl) -> Option<Notification> {
        loop {
            let (tpl, queue) = self.queue.last_mut()?;
            let tpl = *tpl;
            let Some(event) = queue.pop_front() else {
                self.queue.pop_last();
                continue;
            };
            if tpl <= floor {
                queue.push_front(event);
                return None;
            }
            let Some(entry) = self.entries.get_mut(&event) else {
                continue;
            };
            entry.is_queued = false;
            if entry.kind.contains(EventKind::NOTIFY_SIGNAL) {
                entry.is_signaled = false;
            }
            if let Some(notify) = entry.notify {
                return Some(Notification {
                    event: Event(event),
                    tpl,
                    notify,
                });
            }
        }
    }

    /// Sets the level for the call of a notification function, and back.
    pub fn set_tpl(&mut self, tpl: Tpl) {
        self.tpl = tpl;
    }
}

#[cfg(test)]
mod tests;
