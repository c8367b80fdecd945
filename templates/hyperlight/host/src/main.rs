//! Measures Hyperlight as `crates/sandbox/benches/sandbox` measures sandboxes: the same functions, heaps and estimator. Prints a JSON object
//! for each row, with times in nanoseconds.

use std::env;
use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use hyperlight_host::sandbox::snapshot::Snapshot;
use hyperlight_host::{Sandbox, SandboxBuilder};
use rustix::mount::{MountFlags, mount};

/// Number of samples of a row.
const SAMPLES: usize = 31;

/// Calls in one sample of a short row.
const BATCH: u32 = 100;

/// Calls of the host function in one call of the guest.
const HOST_CALLS: u64 = 100;

/// Heaps in bytes: the default of Hyperlight, and those of the bench of sandboxes.
const HYPERLIGHT_HEAP: u64 = 128 << 10;
const SMALL_HEAP: u64 = 1 << 20;
const DEFAULT_HEAP: u64 = 4 << 20;
const LARGE_HEAP: u64 = 64 << 20;

/// Scratch memory in bytes for a large heap, whose page tables need more than the default.
const LARGE_HEAP_SCRATCH: usize = 512 << 10;

/// Scratch memory in bytes for guests that write 256 pages.
const LARGE_SCRATCH: usize = 2 << 20;

/// Scratch memory in bytes for guests that write 2048 pages.
const HUGE_SCRATCH: usize = 16 << 20;

/// Where debugfs is mounted.
const DEBUG: &str = "/sys/kernel/debug";

/// Number of clones whose memory is measured.
const CLONES: usize = 100;

fn main() {
    let path = env::args_os().nth(1).expect("usage: hyperlight-peer GUEST");
    let elf = fs::read(path).expect("the guest is readable");
    // First, because what the others leave in the allocator would count as memory of the one clone.
    memory(&elf);
    calls(&elf);
    snapshots(&elf);
    creation(&elf);
    crashes(&elf);
}

fn row(name: &str, value: f64, unit: &str) {
    println!(r#"{{"name":"{name}","value":{value},"unit":"{unit}"}}"#);
}

fn time_row(name: &str, time: Duration) {
    row(name, time.as_secs_f64() * 1e9, "ns");
}

fn lowest_tenth(mut samples: Vec<Duration>) -> Duration {
    samples.sort_unstable();
    samples[samples.len() / 10]
}

/// Time of one call of `f`: the lowest tenth of the samples, each the mean of `batch` calls.
fn time(batch: u32, mut f: impl FnMut()) -> Duration {
    f();
    let sample = || {
        let start = Instant::now();
        for _ in 0..batch {
            f();
        }
        start.elapsed() / batch
    };
    lowest_tenth(std::iter::repeat_with(sample).take(SAMPLES).collect())
}

/// Time of `make`. All values are dropped at the end.
fn time_to_make<T>(mut make: impl FnMut() -> T) -> Duration {
    let mut made = Vec::with_capacity(SAMPLES);
    let sample = || {
        let start = Instant::now();
        made.push(make());
        start.elapsed()
    };
    lowest_tenth(std::iter::repeat_with(sample).take(SAMPLES).collect())
}

fn with_host_function(builder: SandboxBuilder) -> SandboxBuilder {
    builder.host_function("increment", |value: u64| Ok(value.wrapping_add(1)))
}

fn builder(elf: &[u8], heap: u64) -> SandboxBuilder {
    let builder = with_host_function(SandboxBuilder::from_bytes(elf).heap_size(heap));
    if heap < LARGE_HEAP {
        builder
    } else {
        builder.scratch_size(LARGE_HEAP_SCRATCH)
    }
}

fn sandbox(elf: &[u8], heap: u64) -> Sandbox {
    builder(elf, heap).build().expect("the guest starts")
}

fn clone(snapshot: &Arc<Snapshot>) -> Sandbox {
    with_host_function(SandboxBuilder::from_snapshot(Arc::clone(snapshot)))
        .build()
        .expect("a clone starts")
}

fn nop(sandbox: &mut Sandbox) {
    sandbox.call::<()>("nop", ()).expect("nop returns");
}

fn dirty(sandbox: &mut Sandbox, pages: u32) {
    let written: u32 = sandbox.call("dirty", pages).expect("dirty returns");
    assert_eq!(written, pages);
}

fn calls(elf: &[u8]) {
    let mut sandbox = sandbox(elf, SMALL_HEAP);
    let call = time(BATCH, || nop(&mut sandbox));
    time_row("call, no arguments", call);

    let calls = time(1, || {
        let value: u64 = sandbox.call("host_loop", HOST_CALLS).expect("host_loop returns");
        assert_eq!(value, HOST_CALLS);
    });
    let each = calls.saturating_sub(call) / u32::try_from(HOST_CALLS).expect("32 bits");
    time_row("host function, each", each);

    let page = vec![7_u8; 4096];
    let echo = time(BATCH, || {
        let result: Vec<u8> = sandbox.call("echo", page.clone()).expect("echo returns");
        assert_eq!(result.len(), page.len());
    });
    time_row("4 KiB echo", echo);
}

/// Time of restores after calls that write this many pages.
fn restores(mut sandbox: Sandbox, all_pages: &[u32], name: &str) {
    let snapshot = sandbox.snapshot().expect("a snapshot is taken");
    for &pages in all_pages {
        let mut restores = Vec::new();
        let mut both = Vec::new();
        for _ in 0..SAMPLES {
            let start = Instant::now();
            dirty(&mut sandbox, pages);
            let called = start.elapsed();
            sandbox
                .restore(Arc::clone(&snapshot))
                .expect("the sandbox returns");
            let total = start.elapsed();
            restores.push(total.saturating_sub(called));
            both.push(total);
        }
        time_row(
            &format!("restore after {pages} dirty pages{name}"),
            lowest_tenth(restores),
        );
        if pages == 1 {
            time_row(&format!("call and restore{name}"), lowest_tenth(both));
        }
    }
}

/// Time of snapshots after calls that write one page.
fn snapshot(elf: &[u8], heap: u64, name: &str) {
    let mut sandbox = sandbox(elf, heap);
    let sample = || {
        dirty(&mut sandbox, 1);
        let start = Instant::now();
        sandbox.snapshot().expect("a snapshot is taken");
        start.elapsed()
    };
    let samples = std::iter::repeat_with(sample).take(SAMPLES).collect();
    time_row(
        &format!("snapshot after 1 dirty pages{name}"),
        lowest_tenth(samples),
    );
}

fn snapshots(elf: &[u8]) {
    restores(sandbox(elf, DEFAULT_HEAP), &[1, 16], "");
    let large = builder(elf, DEFAULT_HEAP).scratch_size(LARGE_SCRATCH).build();
    restores(large.expect("the guest starts"), &[256], "");
    restores(sandbox(elf, LARGE_HEAP), &[1], ", heap of 64 MiB");
    snapshot(elf, HYPERLIGHT_HEAP, ", heap of 128 KiB");
    snapshot(elf, DEFAULT_HEAP, "");
    snapshot(elf, LARGE_HEAP, ", heap of 64 MiB");
}

fn creation(elf: &[u8]) {
    let create = |heap| {
        let snapshot = sandbox(elf, heap).snapshot().expect("a snapshot is taken");
        time_to_make(|| clone(&snapshot))
    };
    let small = create(SMALL_HEAP);
    let large = create(LARGE_HEAP);
    time_row("create from a snapshot", small);
    let ratio = large.as_secs_f64() / small.as_secs_f64();
    row("create with a heap of 64 MiB, beside 1 MiB", ratio, "x small");
    time_row("create from a file", time_to_make(|| sandbox(elf, SMALL_HEAP)));
}

/// Number of exits with port I/O of all machines of KVM since it was loaded, from its files in debugfs.
fn io_exits() -> Option<u64> {
    let text = fs::read_to_string(Path::new(DEBUG).join("kvm/io_exits")).ok()?;
    text.trim().parse().ok()
}

fn crashes(elf: &[u8]) {
    let mounted = mount("debugfs", DEBUG, "debugfs", MountFlags::empty(), None);
    if let Err(error) = mounted {
        eprintln!("debugfs is not mounted, so exits are not counted: {error}");
    }
    let mut sandbox = sandbox(elf, SMALL_HEAP);
    let before = io_exits();
    let error = sandbox
        .call::<()>("crash", "no reason".to_owned())
        .expect_err("the guest panics");
    assert!(error.to_string().contains("no reason"), "{error}");
    if let (Some(before), Some(after)) = (before, io_exits()) {
        let exits = u32::try_from(after - before).expect("few exits");
        row("panic with a message", exits.into(), "exits");
    }
}

/// Proportional set size of this process in KiB.
fn proportional_set_size() -> u32 {
    let rollup = fs::read_to_string("/proc/self/smaps_rollup").expect("smaps_rollup is readable");
    let line = rollup.lines().find_map(|line| line.strip_prefix("Pss:"));
    line.and_then(|line| line.trim().strip_suffix("kB"))
        .and_then(|kib| kib.trim().parse().ok())
        .expect("smaps_rollup has a line Pss")
}

/// Memory of many clones beside that of one, each after a call, for a guest whose initialised heap is 8 MiB.
fn memory(elf: &[u8]) {
    let mut first = builder(elf, LARGE_HEAP)
        .scratch_size(HUGE_SCRATCH)
        .build()
        .expect("the guest starts");
    let pages = 2048_u32;
    let kept: u32 = first.call("keep", pages).expect("keep returns");
    assert_eq!(kept, pages);
    let snapshot = first.snapshot().expect("a snapshot is taken");
    drop(first);
    let called = || {
        let mut sandbox = clone(&snapshot);
        nop(&mut sandbox);
        sandbox
    };
    let mut clones = vec![called()];
    let one = proportional_set_size();
    clones.resize_with(CLONES, called);
    let all = proportional_set_size();
    row(
        "memory of 100 clones, beside one",
        f64::from(all) / f64::from(one),
        "x one",
    );
    row("memory of a further clone", f64::from(all - one) / 99.0, "KiB");
}
