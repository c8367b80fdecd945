//! Many sandboxes of one snapshot.

use std::fs;
use std::thread;

use hv_kvm_test::CheckResult;
use sandbox::{Sandbox, SandboxBuilder};

use super::Test;
use super::guest::{
    Result, check, count, expect, peek, poke, repetitions, sandbox, start, with_increment, works,
};

pub(crate) const TESTS: &[Test] = &[
    ("clone::state_is_independent", independent),
    ("clone::starts_where_the_snapshot_was_taken", starts),
    ("clone::hundred", hundred),
    ("clone::outlives_its_origin", outlives),
    ("clone::calls_on_other_threads", threads),
    ("clone::created_and_destroyed", churn),
];

fn independent() -> CheckResult {
    let mut first = sandbox()?;
    let address: u64 = first.call("remember", (b"original".as_slice(),))?;
    let snapshot = first.snapshot()?;
    let mut second = with_increment(SandboxBuilder::from_snapshot(&snapshot)).build()?;
    let mut third = with_increment(SandboxBuilder::from_snapshot(&snapshot)).build()?;
    poke(&mut first, address, b"first")?;
    poke(&mut second, address, b"second")?;
    for _ in 0..3 {
        count(&mut first)?;
    }
    count(&mut second)?;
    expect("the first", &peek(&mut first, address, 8)?, &b"firstnal".to_vec())?;
    expect(
        "the second",
        &peek(&mut second, address, 8)?,
        &b"secondal".to_vec(),
    )?;
    expect("the third", &peek(&mut third, address, 8)?, &b"original".to_vec())?;
    let counts = [count(&mut first)?, count(&mut second)?, count(&mut third)?];
    expect("counts", &counts, &[4, 2, 1])?;
    // Back to the common start, and to the state of another one.
    let of_second = second.snapshot()?;
    third.restore(&of_second)?;
    first.restore(&snapshot)?;
    let counts = [count(&mut first)?, count(&mut second)?, count(&mut third)?];
    expect("counts", &counts, &[1, 3, 3])?;
    expect("the third", &peek(&mut third, address, 8)?, &b"secondal".to_vec())
}

fn starts() -> CheckResult {
    let mut sandbox = sandbox()?;
    for _ in 0..5 {
        count(&mut sandbox)?;
    }
    let snapshot = sandbox.snapshot()?;
    let mut clone = with_increment(SandboxBuilder::from_snapshot(&snapshot)).build()?;
    expect("a count", &count(&mut clone)?, &6)?;
    works(&mut clone)
}

fn hundred() -> CheckResult {
    let snapshot = start()?;
    let build = |_| with_increment(SandboxBuilder::from_snapshot(&snapshot)).build();
    let mut clones: Vec<Sandbox> = (0..100).map(build).collect::<std::result::Result<_, _>>()?;
    for round in 1..=2 {
        for (clone, number) in clones.iter_mut().zip(0u32..) {
            let sum: u32 = clone.call("add", (number, round))?;
            expect("a sum", &sum, &(number + round))?;
            for _ in 0..number % 3 {
                count(clone)?;
            }
        }
    }
    for (clone, number) in clones.iter_mut().zip(0u64..) {
        expect("a count", &count(clone)?, &(number % 3 * 2 + 1))?;
    }
    Ok(())
}

fn outlives() -> CheckResult {
    let mut sandbox = sandbox()?;
    count(&mut sandbox)?;
    let snapshot = sandbox.snapshot()?;
    let mut clone = with_increment(SandboxBuilder::from_snapshot(&snapshot)).build()?;
    drop(sandbox);
    drop(snapshot);
    expect("a count", &count(&mut clone)?, &2)?;
    works(&mut clone)
}

fn threads() -> CheckResult {
    let mut clones = (0..4).map(|_| sandbox()).collect::<Result<Vec<_>>>()?;
    let work = |sandbox: &mut Sandbox, number: u32| -> std::result::Result<u32, sandbox::CallError> {
        let mut sum = 0;
        for _ in 0..100 {
            sum = sandbox.call("add", (sum, number))?;
        }
        Ok(sum)
    };
    let sums = thread::scope(|scope| {
        let threads: Vec<_> = clones
            .iter_mut()
            .zip(1..)
            .map(|(clone, number)| scope.spawn(move || work(clone, number)))
            .collect();
        threads
            .into_iter()
            .map(thread::ScopedJoinHandle::join)
            .collect::<Vec<_>>()
    });
    for (sum, number) in sums.into_iter().zip(1..) {
        let sum = sum.map_err(|_panic| "a thread panicked")??;
        expect("a sum", &sum, &(100 * number))?;
    }
    clones.iter_mut().try_for_each(works)
}

/// Numbers of file descriptors and of mappings of this process.
fn resources() -> Result<[usize; 2]> {
    let descriptors = fs::read_dir("/proc/self/fd")?.count();
    let maps = fs::read_to_string("/proc/self/maps")?;
    // The heap and the stacks grow in mappings that have names, or none.
    let is_of_sandboxes = |line: &&str| line.contains("memfd:sandbox") || line.contains("anon_inode:kvm");
    Ok([descriptors, maps.lines().filter(is_of_sandboxes).count()])
}

/// Number of all mappings.
fn mappings() -> Result<usize> {
    Ok(fs::read_to_string("/proc/self/maps")?.lines().count())
}

/// Number of clones that are created and destroyed, unless the environment variable `VMBOOT_SANDBOX_CYCLES` has another.
const CYCLES: u32 = 1000;

fn churn() -> CheckResult {
    let cycles = repetitions("VMBOOT_SANDBOX_CYCLES", CYCLES)?;
    let snapshot = start()?;
    let round = |number: u32| -> CheckResult {
        let mut clone = with_increment(SandboxBuilder::from_snapshot(&snapshot)).build()?;
        let sum: u32 = clone.call("add", (number, 1u32))?;
        expect("a sum", &sum, &(number + 1))?;
        if number.is_multiple_of(10) {
            count(&mut clone)?;
            let taken = clone.snapshot()?;
            clone.restore(&snapshot)?;
            clone.restore(&taken)?;
            expect("a count", &count(&mut clone)?, &2)?;
        }
        Ok(())
    };
    // Arenas of the allocator, and the like.
    (0..20).try_for_each(round)?;
    let (before, mappings_before) = (resources()?, mappings()?);
    (0..cycles).try_for_each(round)?;
    expect("file descriptors and mappings", &resources()?, &before)?;
    let grown = mappings()?.saturating_sub(mappings_before);
    check(grown < 10, || format!("{grown} mappings more"))?;
    // The mappings are counted: a sandbox has some.
    let _sandbox = sandbox()?;
    let with_one = resources()?;
    check(
        with_one[0] >= before[0] + 2 && with_one[1] >= before[1] + 2,
        || format!("found {before:?} and {with_one:?}"),
    )
}
