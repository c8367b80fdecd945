use super::*;
use crate::guids::EVENT_READY_TO_BOOT;
use std::vec;

const INVALID: Status = Status::INVALID_PARAMETER;
const WAIT: u32 = 0x100;
const SIGNAL: u32 = 0x200;
const TIMER: u32 = 0x8000_0000;

fn event(kind: u32, tpl: Tpl, function: u64) -> NewEvent {
    let notify = (function != 0).then_some(Notify { function, context: 0 });
    NewEvent {
        kind,
        tpl,
        notify,
        group: None,
    }
}

fn dispatch(events: &mut Events, floor: Tpl) -> Vec<u64> {
    let called = core::iter::from_fn(|| events.next_notification(floor));
    called.map(|notification| notification.notify.function).collect()
}

#[test]
fn types_and_levels_are_checked() {
    let mut events = Events::new();
    let mut check =
        |new: NewEvent, expected: Option<Status>| assert_eq!(events.create(&new).err(), expected, "{new:?}");
    check(event(0, Tpl(0), 0), None);
    check(event(TIMER, Tpl(0), 0), None);
    check(event(TIMER | SIGNAL, Tpl::CALLBACK, 1), None);
    check(event(WAIT, Tpl::NOTIFY, 1), None);
    check(event(EventKind::EXIT_BOOT_SERVICES, Tpl::NOTIFY, 1), None);
    check(event(EventKind::VIRTUAL_ADDRESS_CHANGE, Tpl::NOTIFY, 1), None);
    check(event(WAIT | SIGNAL, Tpl::NOTIFY, 1), Some(INVALID));
    check(event(SIGNAL, Tpl::NOTIFY, 0), Some(INVALID));
    check(event(SIGNAL, Tpl::APPLICATION, 1), Some(INVALID));
    check(event(SIGNAL, Tpl::HIGH_LEVEL, 1), Some(INVALID));
    check(event(1, Tpl::NOTIFY, 1), Some(INVALID));
    let grouped = NewEvent {
        group: Some(EVENT_READY_TO_BOOT),
        ..event(EventKind::EXIT_BOOT_SERVICES, Tpl::NOTIFY, 1)
    };
    check(grouped, Some(INVALID));
}

#[test]
fn notifications_come_by_level_and_then_by_age() {
    let mut events = Events::new();
    let new = [
        (Tpl::CALLBACK, 1),
        (Tpl::NOTIFY, 2),
        (Tpl::CALLBACK, 3),
        (Tpl::NOTIFY, 4),
    ];
    let all = new.map(|(tpl, function)| events.create(&event(SIGNAL, tpl, function)).unwrap());
    for event in all {
        events.signal(event).unwrap();
        events.signal(event).unwrap();
        assert_eq!(events.check(event), Err(INVALID));
    }
    assert_eq!(dispatch(&mut events, Tpl::NOTIFY), []);
    assert_eq!(dispatch(&mut events, Tpl::CALLBACK), [2, 4]);
    assert_eq!(events.close(all[0]), Ok(()));
    assert_eq!(dispatch(&mut events, Tpl::APPLICATION), [3]);
    assert_eq!(events.signal(all[0]), Err(INVALID));
    assert_eq!(events.close(all[0]), Err(INVALID));
    events.signal(all[3]).unwrap();
    assert_eq!(dispatch(&mut events, Tpl::APPLICATION), [4]);
}

#[test]
fn checks_clear_the_signal_or_queue_the_notification() {
    let mut events = Events::new();
    let plain = events.create(&event(0, Tpl(0), 0)).unwrap();
    assert_eq!(events.check(plain), Ok(Check::NotReady));
    events.signal(plain).unwrap();
    assert_eq!(events.check(plain), Ok(Check::Signaled));
    assert_eq!(events.check(plain), Ok(Check::NotReady));
    assert_eq!(dispatch(&mut events, Tpl::APPLICATION), []);

    let wait = events.create(&event(WAIT, Tpl::NOTIFY, 9)).unwrap();
    assert_eq!(events.check(wait), Ok(Check::NotReady));
    assert_eq!(events.check(wait), Ok(Check::NotReady));
    assert_eq!(dispatch(&mut events, Tpl::APPLICATION), [9]);
    events.signal(wait).unwrap();
    assert_eq!(
        dispatch(&mut events, Tpl::APPLICATION),
        [],
        "only checks queue it"
    );
    assert_eq!(events.take(wait), Ok(true));
    assert_eq!(events.take(Event(1)), Err(INVALID));
}

#[test]
fn groups_are_signalled_together() {
    let mut events = Events::new();
    let group = Some(EVENT_READY_TO_BOOT);
    let first = events
        .create(&NewEvent {
            group,
            ..event(SIGNAL, Tpl::CALLBACK, 1)
        })
        .unwrap();
    let plain = events
        .create(&NewEvent {
            group,
            ..event(0, Tpl(0), 0)
        })
        .unwrap();
    events
        .create(&event(EventKind::EXIT_BOOT_SERVICES, Tpl::CALLBACK, 2))
        .unwrap();
    let members: Vec<_> = events.group_notifications(EVENT_READY_TO_BOOT).collect();
    assert_eq!(members.len(), 1, "events without a function are left out");
    assert_eq!((members[0].event, members[0].notify.function), (first, 1));
    events.signal(first).unwrap();
    assert_eq!(events.take(plain), Ok(true));
    assert_eq!(dispatch(&mut events, Tpl::APPLICATION), [1]);
    events.signal_group(EVENT_EXIT_BOOT_SERVICES);
    assert_eq!(dispatch(&mut events, Tpl::APPLICATION), [2]);
}

#[test]
fn timers_fire_once_or_periodically() {
    let mut events = Events::new();
    let [once, often] = [1, 2].map(|n| events.create(&event(TIMER, Tpl(0), n)).unwrap());
    let none = events.create(&event(0, Tpl(0), 0)).unwrap();
    assert_eq!(events.set_timer(none, TimerDelay::Relative, 1, 0), Err(INVALID));
    events.set_timer(once, TimerDelay::Relative, 100, 1000).unwrap();
    events.set_timer(often, TimerDelay::Periodic, 30, 1000).unwrap();
    let mut check = |now, expected| {
        events.tick(now);
        assert_eq!(
            [once, often].map(|event| events.take(event).unwrap()),
            expected,
            "at {now}"
        );
    };
    check(1029, [false, false]);
    check(1030, [false, true]);
    check(1100, [true, true]);
    check(1119, [false, false]);
    check(1120, [false, true]);
    check(u64::MAX, [false, true]);
    events.set_timer(often, TimerDelay::Cancel, 0, 0).unwrap();
    events.set_timer(once, TimerDelay::Periodic, 0, 5).unwrap();
    let mut check = |now, expected| {
        events.tick(now);
        assert_eq!(
            [once, often].map(|event| events.take(event).unwrap()),
            expected,
            "at {now}"
        );
    };
    check(4, [false, false]);
    check(5, [true, false]);
    check(5, [true, false]);
    events.stop_timers();
    events.tick(100);
    assert_eq!(events.take(once), Ok(false));
    assert_eq!(TimerDelay::from_number(3), Err(INVALID));
    assert_eq!(TimerDelay::from_number(2), Ok(TimerDelay::Relative));
}

#[test]
fn levels_only_rise_and_fall_within_their_range() {
    let mut events = Events::new();
    let found = vec![
        events.raise_tpl(Tpl::NOTIFY),
        events.raise_tpl(Tpl::CALLBACK),
        events.raise_tpl(Tpl(32)),
        events.raise_tpl(Tpl::HIGH_LEVEL),
    ];
    assert_eq!(found, [Tpl::APPLICATION, Tpl::NOTIFY, Tpl::NOTIFY, Tpl::NOTIFY]);
    events.restore_tpl(Tpl(40));
    assert_eq!(events.tpl(), Tpl::HIGH_LEVEL);
    events.restore_tpl(Tpl::APPLICATION);
    assert_eq!(events.tpl(), Tpl::APPLICATION);
}
