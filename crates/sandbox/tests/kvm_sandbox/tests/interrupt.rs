//! Calls that others end.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, mpsc};
use std::thread;
use std::time::{Duration, Instant};

use hv_kvm_test::CheckResult;
use sandbox::{CallError, CallOptions, Cause, InterruptHandle, Status};

use super::guest::{
    LIMIT, builder, check, count, expect, repetitions, sandbox, start, with_increment, works,
};
use super::test::Test;
use crate::guest::with_other_functions;

pub(crate) const TESTS: &[Test] = &[
    ("interrupt::deadline", deadline),
    ("interrupt::deadline_during_host_calls", deadline_of_host_calls),
    ("interrupt::by_another_thread", other_thread),
    ("interrupt::without_a_call", without_a_call),
    ("interrupt::at_each_exit", each_exit),
    ("interrupt::at_each_event_of_a_mixed_run", each_event),
    ("interrupt::at_any_time", any_time),
];

fn deadline() -> CheckResult {
    let limit = Duration::from_millis(30);
    let mut sandbox = with_increment(builder()?.deadline(limit)).build()?;
    let spin = sandbox.function::<(), ()>("spin")?;
    let add = sandbox.function::<(u32, u32), u32>("add")?;
    let longer = Duration::from_millis(100);
    for options in [
        CallOptions::default(),
        CallOptions::default().with_deadline(longer),
    ] {
        let expected = options.deadline.unwrap_or(limit);
        let begin = Instant::now();
        let error = sandbox.invoke(&spin, &(), options).err();
        let elapsed = begin.elapsed();
        check(
            matches!(error, Some(CallError::Deadline { limit }) if limit == expected),
            || format!("found {error:?}"),
        )?;
        check(elapsed >= expected && elapsed < LIMIT, || {
            format!("ended after {elapsed:?}")
        })?;
        expect("status", &sandbox.status(), &Status::Poisoned(Cause::Deadline))?;
        sandbox.restore(&start()?)?;
        let options = CallOptions::default().with_deadline(LIMIT);
        let sum = sandbox.invoke(&add, &(1, 2), options)?;
        expect("a sum", &sum, &3)?;
    }
    Ok(())
}

fn deadline_of_host_calls() -> CheckResult {
    let mut sandbox = sandbox()?;
    let host_loop = sandbox.function::<(u64,), u64>("host_loop")?;
    let options = CallOptions::default().with_deadline(Duration::from_millis(50));
    for _ in 0..5 {
        let error = sandbox.invoke(&host_loop, &(1_000_000,), options).err();
        check(matches!(error, Some(CallError::Deadline { .. })), || {
            format!("found {error:?}")
        })?;
        sandbox.restore(&start()?)?;
        works(&mut sandbox)?;
    }
    Ok(())
}

fn other_thread() -> CheckResult {
    let mut sandbox = with_increment(builder()?.no_deadline()).build()?;
    for _ in 0..10 {
        let handle = sandbox.interrupt_handle();
        let thread = thread::spawn(move || {
            // Until the call runs.
            let end = Instant::now() + LIMIT;
            while !handle.interrupt() && Instant::now() < end {
                thread::yield_now();
            }
            Instant::now() < end
        });
        let error = sandbox.call::<_, ()>("spin", ()).err();
        check(matches!(error, Some(CallError::Interrupted)), || {
            format!("found {error:?}")
        })?;
        check(thread.join().is_ok_and(|interrupted| interrupted), || {
            "no interrupt".to_owned()
        })?;
        expect("status", &sandbox.status(), &Status::Poisoned(Cause::Interrupted))?;
        sandbox.restore(&start()?)?;
        works(&mut sandbox)?;
    }
    Ok(())
}

fn without_a_call() -> CheckResult {
    let mut sandbox = sandbox()?;
    let handle = sandbox.interrupt_handle();
    for _ in 0..10 {
        expect("an interrupt without a call", &handle.interrupt(), &false)?;
        works(&mut sandbox)?;
    }
    drop(sandbox);
    expect("an interrupt of no sandbox", &handle.interrupt(), &false)
}

/// Calls of the host function in a run of which each exit is the last one of a call, unless the environment variable `VMBOOT_SANDBOX_CALLS` has
/// another number. The time grows with its square: 1000 take 20 s in an emulated machine that has a CPU for itself.
const CALLS: u64 = 500;

fn each_exit() -> CheckResult {
    let calls = repetitions("VMBOOT_SANDBOX_CALLS", CALLS)?;
    let handle: Arc<Mutex<Option<InterruptHandle>>> = Arc::default();
    let stop_at = Arc::new(AtomicU64::new(u64::MAX));
    let (shared, at) = (Arc::clone(&handle), Arc::clone(&stop_at));
    let mut sandbox = builder()?
        .register("increment", move |value: u64| {
            if value == at.load(Ordering::Relaxed)
                && let Ok(handle) = shared.lock()
                && let Some(handle) = &*handle
            {
                handle.interrupt();
            }
            value + 1
        })
        .build()?;
    if let Ok(mut handle) = handle.lock() {
        *handle = Some(sandbox.interrupt_handle());
    }
    let run = sandbox.function::<(u64,), u64>("host_loop")?;
    for exit in 0..calls {
        stop_at.store(exit, Ordering::Relaxed);
        let before = sandbox.exits();
        let error = sandbox.invoke(&run, &(calls,), CallOptions::default()).err();
        check(matches!(error, Some(CallError::Interrupted)), || {
            format!("exit {exit}: found {error:?}")
        })?;
        // The call that was interrupted, and the exit by the interrupt, which may also come before the guest executes anything.
        let exits = sandbox.exits() - before;
        check((exit + 1..=exit + 2).contains(&exits), || {
            format!("exit {exit}: {exits} exits")
        })?;
        expect("status", &sandbox.status(), &Status::Poisoned(Cause::Interrupted))?;
        sandbox.restore(&start()?)?;
        stop_at.store(u64::MAX, Ordering::Relaxed);
        expect("a count", &count(&mut sandbox)?, &1)?;
        let value = sandbox.invoke(&run, &(3,), CallOptions::default())?;
        expect("calls of the host function", &value, &3)?;
        sandbox.restore(&start()?)?;
    }
    Ok(())
}

/// Events of a run, at one of which it is interrupted: calls of host functions, and log records.
#[derive(Clone, Default)]
struct Events(Arc<Mutex<EventState>>);

#[derive(Default)]
struct EventState {
    handle: Option<InterruptHandle>,
    seen: u64,
    stop_at: Option<u64>,
}

impl Events {
    fn lock(&self) -> MutexGuard<'_, EventState> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The next run is interrupted at its event `stop_at`, from 0 up.
    fn start(&self, stop_at: Option<u64>) {
        let mut state = self.lock();
        state.seen = 0;
        state.stop_at = stop_at;
    }

    fn occurs(&self) {
        let mut state = self.lock();
        if state.stop_at == Some(state.seen)
            && let Some(handle) = &state.handle
        {
            handle.interrupt();
        }
        state.seen += 1;
    }
}

/// Rounds of a run: each has two calls of host functions, one of them with parts in both directions, and a log record.
const ROUNDS: u64 = 40;

fn each_event() -> CheckResult {
    const LEN: u32 = 10_000;
    let events = Events::default();
    let [of_increment, of_reverse, of_log] = [(); 3].map(|()| events.clone());
    let mut sandbox = with_other_functions(crate::guest::load())
        .register("increment", move |value: u64| {
            of_increment.occurs();
            value + 1
        })
        .register_bytes("reverse", move |_, bytes, result| {
            of_reverse.occurs();
            result.extend(bytes.iter().rev());
            Ok(())
        })
        .log_to(move |_| of_log.occurs(), 1000)
        .window(0x1000)
        .deadline(LIMIT)
        .build()?;
    let snapshot = sandbox.snapshot()?;
    events.lock().handle = Some(sandbox.interrupt_handle());
    let run = sandbox.function::<(u64, u32), u64>("mixed")?;
    events.start(None);
    let first = sandbox.exits();
    let sum = sandbox.invoke(&run, &(ROUNDS, LEN), CallOptions::default())?;
    expect("sum", &sum, &(ROUNDS * u64::from(LEN)))?;
    let count = events.lock().seen;
    expect("events", &count, &(3 * ROUNDS))?;
    let exits = sandbox.exits() - first;
    check(exits > 5 * ROUNDS, || {
        format!("only {exits} exits: there were no parts")
    })?;
    for event in 0..count {
        sandbox.restore(&snapshot)?;
        events.start(Some(event));
        let error = sandbox.invoke(&run, &(ROUNDS, LEN), CallOptions::default()).err();
        check(matches!(error, Some(CallError::Interrupted)), || {
            format!("event {event}: found {error:?}")
        })?;
        expect("events", &events.lock().seen, &(event + 1))?;
        expect("status", &sandbox.status(), &Status::Poisoned(Cause::Interrupted))?;
        sandbox.restore(&snapshot)?;
        events.start(None);
        expect("a count", &sandbox.call::<_, u64>("count", ())?, &1)?;
        let sum = sandbox.invoke(&run, &(1, LEN), CallOptions::default())?;
        expect("sum after a restore", &sum, &u64::from(LEN))?;
    }
    check(sandbox.exits() - first > 1000, || "few exits".to_owned())
}

fn any_time() -> CheckResult {
    let mut sandbox = sandbox()?;
    let handle = sandbox.interrupt_handle();
    let (begin, begun) = mpsc::channel::<u32>();
    let killer = thread::spawn(move || {
        let mut interrupts = 0;
        while let Ok(round) = begun.recv() {
            for _ in 0..round * 500 {
                std::hint::spin_loop();
            }
            if round % 3 == 0 {
                thread::yield_now();
            }
            interrupts += u32::from(handle.interrupt());
        }
        interrupts
    });
    let run = sandbox.function::<(u64,), u64>("host_loop")?;
    let mut ended = 0;
    for round in 0..100 {
        begin.send(round)?;
        match sandbox.invoke(&run, &(2000,), CallOptions::default()) {
            Ok(value) => expect("calls of the host function", &value, &2000)?,
            Err(CallError::Interrupted) => {
                ended += 1;
                sandbox.restore(&start()?)?;
            }
            Err(error) => return Err(error.into()),
        }
        // An interrupt that is late ends this call or none.
        match sandbox.call::<_, u32>("add", (round, 1u32)) {
            Ok(sum) => expect("a sum", &sum, &(round + 1))?,
            Err(CallError::Interrupted) => {
                ended += 1;
                sandbox.restore(&start()?)?;
            }
            Err(error) => return Err(error.into()),
        }
    }
    drop(begin);
    let interrupts = killer.join().map_err(|_panic| "a thread panicked")?;
    check(ended <= interrupts && ended > 0, || {
        format!("{interrupts} interrupts, {ended} calls ended")
    })?;
    works(&mut sandbox)
}
