//! See README.md. Lines that start with `{` are the times, for `cargo xtask sandbox`.
#![forbid(unsafe_code)]

use std::error::Error;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::{Duration, Instant};

use sandbox::{
    CallError, CallOptions, ElfSymbols, Kvm, LoadOptions, Sandbox, SandboxBuilder, Snapshot, Status,
};

/// Calls that are timed together.
const CALLS: u32 = 1000;

/// Number of clones.
const CLONES: u32 = 100;

/// Limit of the call that does not return.
const DEADLINE: Duration = Duration::from_millis(50);

fn main() -> ExitCode {
    let Some(path) = std::env::args_os().nth(1) else {
        eprintln!("usage: sandbox-demo GUEST");
        return ExitCode::FAILURE;
    };
    let demo = std::fs::read(path).map_err(Into::into).and_then(|elf| run(&elf));
    match demo {
        Ok(()) => {
            println!("sandbox demo: ok");
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("error: {error}");
            let mut source = error.source();
            while let Some(error) = source {
                eprintln!("  caused by: {error}");
                source = error.source();
            }
            ExitCode::FAILURE
        }
    }
}

/// Prints a time; `times` is the number of operations that it is for.
fn report(step: &str, elapsed: Duration, times: u32) {
    let microseconds = elapsed.as_secs_f64() * 1e6 / f64::from(times);
    println!(r#"{{"step":"{step}","microseconds":{microseconds:.3}}}"#);
}

/// Runs a step once and prints its time.
fn timed<T, E>(step: &str, run: impl FnOnce() -> Result<T, E>) -> Result<T, E> {
    let start = Instant::now();
    let result = run()?;
    report(step, start.elapsed(), 1);
    Ok(result)
}

fn run(elf: &[u8]) -> Result<(), Box<dyn Error>> {
    let builder = SandboxBuilder::from_bytes(elf.to_vec())
        .register("increment", |value: u64| value + 1)
        .symbolizer(Arc::new(ElfSymbols::new(elf.to_vec())));
    let mut sandbox = timed("create from a file", || builder.build())?;
    let names: Vec<&str> = sandbox
        .functions()
        .map(|function| function.name.as_str())
        .collect();
    println!(
        "The guest offers {} functions: {}.",
        names.len(),
        names.join(", ")
    );
    calls(&mut sandbox)?;
    let snapshot = timed("snapshot", || sandbox.snapshot())?;
    state(&mut sandbox, &snapshot)?;
    crash(&mut sandbox, &snapshot)?;
    deadline(&mut sandbox, &snapshot)?;
    clones(&snapshot)?;
    file(&mut sandbox)
}

/// Calls in both directions.
fn calls(sandbox: &mut Sandbox) -> Result<(), Box<dyn Error>> {
    let sum: u32 = timed("first call", || sandbox.call("add", (2u32, 3u32)))?;
    println!("add(2, 3) returned {sum}.");
    check(sum == 5, "a sum")?;

    let nop = sandbox.function::<(), ()>("nop")?;
    let start = Instant::now();
    for _ in 0..CALLS {
        sandbox.invoke(&nop, &(), CallOptions::default())?;
    }
    report("call", start.elapsed(), CALLS);

    let start = Instant::now();
    let value: u64 = sandbox.call("host_loop", (u64::from(CALLS),))?;
    report("call of a host function", start.elapsed(), CALLS);
    println!("The guest called the host function increment {value} times.");
    check(value == u64::from(CALLS), "the number of calls")?;

    let page = vec![7; 4096];
    let mut result = Vec::new();
    timed("echo of 4 KiB", || sandbox.call_bytes("echo", &page, &mut result))?;
    check(result == page, "an echo")
}

/// State of the guest, and the way back.
fn state(sandbox: &mut Sandbox, snapshot: &Snapshot) -> Result<(), Box<dyn Error>> {
    let counted: [u64; 2] = [sandbox.call("count", ())?, sandbox.call("count", ())?];
    timed("restore", || sandbox.restore(snapshot))?;
    let again: u64 = sandbox.call("count", ())?;
    println!(
        "count() returned {} and {}; after a restore it returned {again}.",
        counted[0], counted[1]
    );
    check(counted == [1, 2] && again == 1, "a counter")
}

/// A panic, with the stack of the guest.
fn crash(sandbox: &mut Sandbox, snapshot: &Snapshot) -> Result<(), Box<dyn Error>> {
    let start = Instant::now();
    let error = sandbox.call::<_, ()>("panic", ("the demo asked for it",)).err();
    report("panic, with its report", start.elapsed(), 1);
    let Some(CallError::Crashed(crash)) = error else {
        return Err(format!("the guest did not panic: {error:?}").into());
    };
    println!("{crash}");
    for frame in &crash.backtrace {
        let function = frame.function.as_deref().unwrap_or("?");
        print!("  {:#x} {function}", frame.address);
        match &frame.location {
            Some(location) => println!(" at {}:{}", location.file, location.line),
            None => println!(),
        }
    }
    check(
        crash.message.contains("the demo asked for it"),
        "the text of a panic",
    )?;
    let has_names = crash.backtrace.iter().any(|frame| frame.function.is_some());
    check(has_names, "a stack with names")?;
    check(
        matches!(sandbox.status(), Status::Poisoned(_)),
        "a poisoned sandbox",
    )?;
    sandbox.restore(snapshot)?;
    Ok(())
}

/// A call that does not return.
fn deadline(sandbox: &mut Sandbox, snapshot: &Snapshot) -> Result<(), Box<dyn Error>> {
    let spin = sandbox.function::<(), ()>("spin")?;
    let start = Instant::now();
    let options = CallOptions::default().with_deadline(DEADLINE);
    let error = sandbox.invoke(&spin, &(), options).err();
    let late = start.elapsed().saturating_sub(DEADLINE);
    println!("spin() was ended {late:.1?} after its deadline of {DEADLINE:?}.");
    report("end of a call after its deadline", late, 1);
    check(matches!(error, Some(CallError::Deadline { .. })), "a deadline")?;
    sandbox.restore(snapshot)?;
    Ok(())
}

/// Many sandboxes from one snapshot.
fn clones(snapshot: &Snapshot) -> Result<(), Box<dyn Error>> {
    let start = Instant::now();
    let clones = (0..CLONES).map(|_| {
        SandboxBuilder::from_snapshot(snapshot)
            .register("increment", |value: u64| value + 1)
            .build()
    });
    let mut clones: Vec<Sandbox> = clones.collect::<Result<_, _>>()?;
    report("create from a snapshot", start.elapsed(), CLONES);
    let start = Instant::now();
    for (clone, number) in clones.iter_mut().zip(0..) {
        let sum: u32 = clone.call("add", (number, 1u32))?;
        check(sum == number + 1, "a clone's sum")?;
    }
    report("first call of a clone", start.elapsed(), CLONES);
    println!("{CLONES} clones each added two numbers.");
    let start = Instant::now();
    drop(clones);
    report("drop", start.elapsed(), CLONES);
    Ok(())
}

/// A snapshot on its way to another process: the counter goes on there.
fn file(sandbox: &mut Sandbox) -> Result<(), Box<dyn Error>> {
    let counted: u64 = sandbox.call("count", ())?;
    let snapshot = sandbox.snapshot()?;
    let mut file = Vec::new();
    timed("save a snapshot", || snapshot.write_to(&mut file))?;
    let options = LoadOptions::default();
    let loaded = timed("load a snapshot", || {
        Snapshot::read_from(Kvm, &file.as_slice(), options)
    })?;
    let mut loaded = SandboxBuilder::from_snapshot(&loaded)
        .register("increment", |value: u64| value + 1)
        .build()?;
    let next: u64 = loaded.call("count", ())?;
    println!(
        "A snapshot of {} KiB was saved and loaded; count() returned {counted} before and {next} after.",
        file.len() / 1024
    );
    check(next == counted + 1, "a counter in a file")
}

fn check(holds: bool, what: &str) -> Result<(), Box<dyn Error>> {
    if holds {
        Ok(())
    } else {
        Err(format!("wrong: {what}").into())
    }
}
