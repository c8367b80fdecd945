//! Measures sandboxes in units of one bare KVM round trip (`rt`) of the same run, and prints a JSON object for each row.
//! `cargo xtask bench sandbox` builds the guest, runs this program in the lab, and prints the table.

mod arch;
mod floor;
mod measure;

use std::time::{Duration, Instant};

use sandbox::{CallError, CallOptions, CopyOnWrite, Function, Kvm, Sandbox, SandboxBuilder, Snapshot};

use crate::floor::Floor;
use crate::measure::{lowest_tenth, proportional_set_size, time, time_with};

/// Calls in one sample of a short row.
const BATCH: u32 = 100;

/// Calls of the host function in one call of the guest.
const HOST_CALLS: u64 = 100;

/// Heap of most rows in bytes.
const SMALL_HEAP: u64 = 1 << 20;

/// Heap of restores in bytes: the default.
const DEFAULT_HEAP: u64 = 4 << 20;

/// Heap of the rows that show what a large heap costs.
const LARGE_HEAP: u64 = 64 << 20;

/// Number of clones whose memory is measured.
const CLONES: usize = 100;

fn main() {
    let path = std::env::args_os()
        .nth(1)
        .filter(|argument| argument != "--bench");
    let Some(path) = path else {
        eprintln!("usage: sandbox GUEST; run it with cargo xtask bench sandbox");
        return;
    };
    let elf = std::fs::read(&path).expect("the guest is readable");
    let table = Table::new();
    // First, because what the others leave in the allocator would count as memory of the one clone.
    memory(&table, &elf);
    calls(&table, &elf);
    snapshots(&table, &elf);
    creation(&table, &elf);
    crashes(&table, &elf);
    let again = time(BATCH, {
        let mut bare = table.floor.create();
        move || bare.ring()
    });
    table.row("bare round trip, again", Value::Time(again), None);
}

/// The unit and the floor.
struct Table {
    floor: Floor,
    unit: Duration,
}

/// A measured value.
#[derive(Clone, Copy)]
enum Value {
    /// A time, printed in round trips.
    Time(Duration),
    /// A ratio or a number, with its unit.
    Number(f64, &'static str),
}

impl Table {
    fn new() -> Self {
        let floor = Floor::new();
        let mut bare = floor.create();
        let unit = time(BATCH, || bare.ring());
        let table = Self { floor, unit };
        let value = Value::Number(unit.as_secs_f64() * 1e9, "ns");
        table.row("bare round trip", value, None);
        table
    }

    /// Prints a row with its limit.
    fn row(&self, name: &str, value: Value, limit: Option<f64>) {
        let (value, unit) = match value {
            Value::Time(time) => (time.as_secs_f64() / self.unit.as_secs_f64(), "rt"),
            Value::Number(value, unit) => (value, unit),
        };
        let number = |value: Option<f64>| value.map_or("null".to_owned(), |value| value.to_string());
        let limit = number(limit);
        println!(r#"{{"name":"{name}","value":{value},"unit":"{unit}","limit":{limit}}}"#);
    }
}

fn builder(elf: &[u8], heap: u64) -> SandboxBuilder {
    SandboxBuilder::from_bytes(elf.to_vec())
        .heap(heap)
        .register("increment", |value: u64| value.wrapping_add(1))
}

fn sandbox(elf: &[u8], heap: u64) -> Sandbox {
    builder(elf, heap).build().expect("the guest starts")
}

fn clone(snapshot: &Snapshot) -> Sandbox {
    SandboxBuilder::from_snapshot(snapshot)
        .register("increment", |value: u64| value.wrapping_add(1))
        .build()
        .expect("a clone starts")
}

fn calls(table: &Table, elf: &[u8]) {
    let mut sandbox = sandbox(elf, SMALL_HEAP);
    let nop = sandbox.function::<(), ()>("nop").expect("the guest has nop");
    let call = time(BATCH, || {
        sandbox
            .invoke(&nop, &(), CallOptions::default())
            .expect("nop returns");
    });
    table.row("call, no arguments", Value::Time(call), Some(1.5));

    let host_loop = sandbox
        .function::<(u64,), u64>("host_loop")
        .expect("the guest has host_loop");
    let calls = time(1, || {
        let value = sandbox.invoke(&host_loop, &(HOST_CALLS,), CallOptions::default());
        assert_eq!(value.expect("host_loop returns"), HOST_CALLS);
    });
    let each = calls.saturating_sub(call) / u32::try_from(HOST_CALLS).expect("32 bits");
    table.row("host function, each", Value::Time(each), Some(1.6));

    let page = vec![7; 4096];
    let mut result = Vec::new();
    let echo = time(BATCH, || {
        sandbox
            .call_bytes("echo", &page, &mut result)
            .expect("echo returns");
        assert_eq!(result.len(), page.len());
    });
    assert_eq!(result, page);
    table.row("4 KiB echo", Value::Time(echo), Some(3.0));
}

/// Time of restores after calls that write pages, for a guest with a heap of `heap` bytes.
fn restores(table: &Table, elf: &[u8], heap: u64, copy_on_write: CopyOnWrite, name: &str) {
    let builder = builder(elf, heap).copy_on_write(copy_on_write);
    let mut sandbox = builder.build().expect("the guest starts");
    let dirty = Dirty::of(&sandbox);
    let snapshot = sandbox.snapshot().expect("a snapshot is taken");
    for pages in [1, 16, 256] {
        let mut samples = Vec::new();
        let mut both = Vec::new();
        for _ in 0..31 {
            let start = Instant::now();
            dirty.write(&mut sandbox, pages);
            let called = start.elapsed();
            sandbox.restore(&snapshot).expect("the sandbox returns");
            let total = start.elapsed();
            samples.push(total.saturating_sub(called));
            both.push(total);
        }
        // The limits are those of the reference, which was measured with a small heap.
        let limit = |value| (pages == 1 && name.is_empty()).then_some(value);
        let row = format!("restore after {pages} dirty pages{name}");
        let restore = Value::Time(lowest_tenth(samples));
        table.row(&row, restore, limit(10.0));
        if pages == 1 || copy_on_write == CopyOnWrite::Guest {
            // The guest's copies are part of the call.
            let of = if pages == 1 {
                String::new()
            } else {
                format!(" of {pages} pages")
            };
            let row = format!("call and restore{of}{name}");
            let both = Value::Time(lowest_tenth(both));
            table.row(&row, both, limit(22.0));
        }
    }
}

/// The function of the guest that writes pages.
struct Dirty(Function<(u32,), u32>);

impl Dirty {
    fn of(sandbox: &Sandbox) -> Self {
        Self(sandbox.function("dirty").expect("the guest has dirty"))
    }

    fn write(&self, sandbox: &mut Sandbox, pages: u32) {
        let written = sandbox.invoke(&self.0, &(pages,), CallOptions::default());
        assert_eq!(written.expect("dirty returns"), pages);
    }
}

fn snapshots(table: &Table, elf: &[u8]) {
    let (host, guest) = (CopyOnWrite::Host, CopyOnWrite::Guest);
    restores(table, elf, DEFAULT_HEAP, host, "");
    restores(table, elf, LARGE_HEAP, host, ", heap of 64 MiB");
    restores(table, elf, DEFAULT_HEAP, guest, ", guest copies");
    restores(table, elf, LARGE_HEAP, guest, ", guest copies, heap of 64 MiB");
    snapshots_of(table, elf, DEFAULT_HEAP, "");
    snapshots_of(table, elf, LARGE_HEAP, ", heap of 64 MiB");
}

/// Time of snapshots after calls that write pages.
fn snapshots_of(table: &Table, elf: &[u8], heap: u64, name: &str) {
    let mut sandbox = sandbox(elf, heap);
    let dirty = Dirty::of(&sandbox);
    let start = Instant::now();
    let snapshot = sandbox.snapshot().expect("a snapshot is taken");
    let row = format!("first snapshot{name}");
    table.row(&row, Value::Time(start.elapsed()), None);
    for pages in [0, 1, 16, 256] {
        let mut samples = Vec::new();
        let mut copied = 0;
        for _ in 0..31 {
            sandbox.restore(&snapshot).expect("the sandbox returns");
            if pages > 0 {
                dirty.write(&mut sandbox, pages);
            }
            let start = Instant::now();
            let taken = sandbox.snapshot().expect("a snapshot is taken");
            samples.push(start.elapsed());
            copied = u32::try_from(taken.copied() / 4096).expect("32 bits");
        }
        // Besides those that it was asked for, the guest writes its stack and its allocator's lists.
        assert!(copied >= pages);
        let limit = 5.0 + 2.0 * f64::from(copied);
        let row = format!("snapshot after {pages} dirty pages{name}");
        table.row(&row, Value::Time(lowest_tenth(samples)), Some(limit));
    }
}

fn creation(table: &Table, elf: &[u8]) {
    let bare = time_with(|| None, |bare| *bare = Some(table.floor.create()));
    table.row("create a bare machine", Value::Time(bare), None);
    let create = |heap| {
        let snapshot = sandbox(elf, heap).snapshot().expect("a snapshot is taken");
        time_with(|| None, |created| *created = Some(clone(&snapshot)))
    };
    let small = create(SMALL_HEAP);
    let large = create(LARGE_HEAP);
    let ratio = |a: Duration, b: Duration| a.as_secs_f64() / b.as_secs_f64();
    table.row("create from a snapshot", Value::Time(small), None);
    let value = Value::Number(ratio(small, bare), "x bare");
    table.row("create from a snapshot, beside a bare machine", value, Some(1.2));
    let value = Value::Number(ratio(large, small), "x small");
    table.row("create with a heap of 64 MiB, beside 1 MiB", value, Some(1.1));
    let build = time_with(|| None, |built| *built = Some(sandbox(elf, SMALL_HEAP)));
    table.row("create from a file", Value::Time(build), None);
    let snapshot = sandbox(elf, SMALL_HEAP).snapshot().expect("a snapshot is taken");
    let dropped = time_with(|| Some(clone(&snapshot)), |clone| drop(clone.take()));
    table.row("drop", Value::Time(dropped), None);
}

fn crashes(table: &Table, elf: &[u8]) {
    let mut sandbox = sandbox(elf, SMALL_HEAP);
    let snapshot = sandbox.snapshot().expect("a snapshot is taken");
    let before = sandbox.exits();
    let error = sandbox
        .call::<_, ()>("panic", ("no reason",))
        .expect_err("the guest panics");
    assert!(matches!(error, CallError::Crashed(_)), "{error}");
    let exits = sandbox.exits() - before;
    let exits = u32::try_from(exits).expect("few exits");
    table.row(
        "panic with a message",
        Value::Number(exits.into(), "exits"),
        Some(2.0),
    );
    sandbox.restore(&snapshot).expect("the sandbox returns");
    sandbox.call::<_, ()>("nop", ()).expect("nop returns");
}

/// Memory of many clones beside that of one, each after a call, for a guest whose initialised heap is 8 MiB.
fn memory(table: &Table, elf: &[u8]) {
    let mut first = sandbox(elf, LARGE_HEAP);
    let pages = 2048u32;
    first.call::<_, u32>("keep", (pages,)).expect("keep returns");
    let snapshot = first.snapshot().expect("a snapshot is taken");
    drop(first);
    let called = || {
        let mut sandbox = clone(&snapshot);
        sandbox.call::<_, ()>("nop", ()).expect("nop returns");
        sandbox
    };
    let mut clones = vec![called()];
    let one = proportional_set_size();
    clones.resize_with(CLONES, called);
    let all = proportional_set_size();
    let value = |kib: u64| f64::from(u32::try_from(kib).expect("less than 4 TiB"));
    let ratio = Value::Number(value(all) / value(one), "x one");
    table.row("memory of 100 clones, beside one", ratio, Some(1.2));
    let each = value(all - one) / value(99);
    table.row("memory of a further clone", Value::Number(each, "KiB"), None);
    drop::<Vec<Sandbox<Kvm>>>(clones);
}
