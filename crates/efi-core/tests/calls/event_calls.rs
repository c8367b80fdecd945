//! Event services against a list of events.

use std::collections::BTreeMap;

use efi_core::Guid;
use efi_core::events::{Check, Event, Events, NewEvent, Notify, TimerDelay, Tpl};
use efi_core::guids::{EVENT_EXIT_BOOT_SERVICES, EVENT_READY_TO_BOOT};

use super::arguments::Arguments;

const SIGNAL: u32 = 0x200;
const KINDS: [u32; 8] = [0, 0x8000_0000, 0x100, SIGNAL, 0x8000_0200, 0x201, 0x300, 1];

struct Entry {
    kind: u32,
    tpl: Tpl,
    is_signaled: bool,
    timer: Option<u64>,
    group: Option<Guid>,
}

pub(crate) struct Model {
    events: Events,
    entries: BTreeMap<u64, Entry>,
    dead: Vec<u64>,
    now: u64,
}

impl Model {
    pub(crate) fn new() -> Self {
        Self {
            events: Events::new(),
            entries: BTreeMap::new(),
            dead: Vec::new(),
            now: 0,
        }
    }

    fn any(&self, arguments: &mut Arguments<'_>) -> u64 {
        let known: Vec<u64> = self.entries.keys().chain(&self.dead).copied().collect();
        arguments.pick(&known, 0x77)
    }

    pub(crate) fn step(&mut self, arguments: &mut Arguments<'_>) {
        match arguments.below(8) {
            0 | 1 => self.create(arguments),
            2 => self.close(arguments),
            3 => self.signal(arguments),
            4 => self.check(arguments),
            5 => self.timer(arguments),
            6 => self.levels(arguments),
            _ => self.drain(arguments),
        }
        for event in &self.dead {
            assert!(!self.events.is_valid(Event(*event)));
        }
    }

    fn create(&mut self, arguments: &mut Arguments<'_>) {
        let kind = KINDS[usize::from(arguments.byte()) % KINDS.len()];
        let tpl = Tpl(usize::from(arguments.byte()) % 33);
        let notify = (arguments.below(4) != 0).then_some(Notify {
            function: 1,
            context: 2,
        });
        let is_grouped = arguments.below(3) == 0;
        let new = NewEvent {
            kind,
            tpl,
            notify,
            group: is_grouped.then_some(EVENT_READY_TO_BOOT),
        };
        let result = self.events.create(&new);
        let has_function = notify.is_some() && tpl > Tpl::APPLICATION && tpl < Tpl::HIGH_LEVEL;
        let expected = match kind {
            0x201 => !is_grouped && has_function,
            0x300 | 1 => false,
            kind => kind & 0x300 == 0 || has_function,
        };
        assert_eq!(result.is_ok(), expected, "{new:?}");
        if let Ok(event) = result {
            assert!(!self.dead.contains(&event.0) && !self.entries.contains_key(&event.0));
            let (kind, group) = match kind {
                0x201 => (SIGNAL, Some(EVENT_EXIT_BOOT_SERVICES)),
                kind => (kind, new.group),
            };
            self.entries.insert(
                event.0,
                Entry {
                    kind,
                    tpl,
                    is_signaled: false,
                    timer: None,
                    group,
                },
            );
        }
    }

    fn close(&mut self, arguments: &mut Arguments<'_>) {
        let event = self.any(arguments);
        assert_eq!(
            self.events.close(Event(event)).is_ok(),
            self.entries.remove(&event).is_some()
        );
        if !self.dead.contains(&event) && event != 0x77 {
            self.dead.push(event);
        }
    }

    fn signal(&mut self, arguments: &mut Arguments<'_>) {
        let event = self.any(arguments);
        assert_eq!(
            self.events.signal(Event(event)).is_ok(),
            self.entries.contains_key(&event)
        );
        let group = self.entries.get(&event).and_then(|entry| entry.group);
        for (other, entry) in &mut self.entries {
            if *other == event || (group.is_some() && entry.group == group) {
                entry.is_signaled = true;
            }
        }
    }

    fn check(&mut self, arguments: &mut Arguments<'_>) {
        let event = self.any(arguments);
        let found = self.events.check(Event(event));
        match self.entries.get_mut(&event) {
            Some(entry) if entry.kind & SIGNAL == 0 => {
                let expected = if entry.is_signaled {
                    Check::Signaled
                } else {
                    Check::NotReady
                };
                assert_eq!(found, Ok(expected));
                entry.is_signaled = false;
            }
            _ => assert!(found.is_err()),
        }
    }

    fn timer(&mut self, arguments: &mut Arguments<'_>) {
        let event = self.any(arguments);
        let trigger = arguments.number();
        if arguments.below(2) == 0 {
            let set = self
                .events
                .set_timer(Event(event), TimerDelay::Relative, trigger, self.now);
            let entry = self.entries.get_mut(&event).filter(|entry| entry.kind >> 31 == 1);
            assert_eq!(set.is_ok(), entry.is_some());
            if let Some(entry) = entry {
                entry.timer = Some(self.now.saturating_add(trigger));
            }
        }
        self.now = self.now.saturating_add(arguments.number());
        self.events.tick(self.now);
        for entry in self.entries.values_mut() {
            if entry.timer.is_some_and(|due| due <= self.now) {
                entry.timer = None;
                entry.is_signaled = true;
            }
        }
    }

    fn levels(&mut self, arguments: &mut Arguments<'_>) {
        let before = self.events.tpl();
        let tpl = Tpl(usize::from(arguments.byte()) % 40);
        if arguments.below(2) == 0 {
            assert_eq!(self.events.raise_tpl(tpl), before);
            assert!(self.events.tpl() >= before && self.events.tpl() <= Tpl::HIGH_LEVEL);
        } else {
            self.events.restore_tpl(tpl);
            assert_eq!(self.events.tpl(), before.min(tpl));
        }
    }

    fn drain(&mut self, arguments: &mut Arguments<'_>) {
        let floor = Tpl(usize::from(arguments.byte()) % 33);
        let mut last = Tpl::HIGH_LEVEL;
        let mut seen = Vec::new();
        while let Some(notification) = self.events.next_notification(floor) {
            let entry = self
                .entries
                .get_mut(&notification.event.0)
                .expect("a closed event is not notified");
            assert!(notification.tpl == entry.tpl && notification.tpl > floor && notification.tpl <= last);
            assert!(!seen.contains(&notification.event), "once for each signal");
            last = notification.tpl;
            seen.push(notification.event);
            if entry.kind & SIGNAL != 0 {
                assert!(entry.is_signaled);
                entry.is_signaled = false;
            }
        }
        let waiting = self
            .entries
            .values()
            .filter(|entry| entry.kind & SIGNAL != 0 && entry.tpl > floor);
        assert!(
            waiting.into_iter().all(|entry| !entry.is_signaled),
            "nothing above the level waits"
        );
    }
}
