//! Snapshots of snapshots.

use hv_kvm_test::CheckResult;
use sandbox::{Sandbox, SandboxBuilder, Snapshot};

use super::guest::{PAGE, Result, check, count, expect, peek, poke, sandbox, start, with_increment, works};
use super::test::Test;

pub(crate) const TESTS: &[Test] = &[
    ("snapshot::layers", layers),
    ("snapshot::branches", branches),
    ("snapshot::chain_of_twenty", chain),
    ("snapshot::large_one_is_flattened", flattened),
    ("snapshot::of_unchanged_memory", unchanged),
    ("snapshot::above_the_resident_budget", budget),
];

/// Length of the memory that the tests write.
const PAGES: usize = 40;

/// Memory of the guest, of [`PAGES`] pages.
fn memory(sandbox: &mut Sandbox) -> Result<u64> {
    let address: u64 = sandbox.call("remember", (vec![0u8; (PAGES + 1) * PAGE],))?;
    Ok(address.next_multiple_of(PAGE.try_into()?))
}

/// Address of a byte in a page.
fn page(memory: u64, number: usize) -> u64 {
    memory + (number * PAGE + 123) as u64
}

/// The first bytes of pages.
fn bytes(sandbox: &mut Sandbox, memory: u64, pages: usize) -> Result<Vec<u8>> {
    let byte = |number| Ok(peek(sandbox, page(memory, number), 1)?[0]);
    (0..pages).map(byte).collect()
}

fn clone(snapshot: &Snapshot) -> Result<Sandbox> {
    Ok(with_increment(SandboxBuilder::from_snapshot(snapshot)).build()?)
}

fn layers() -> CheckResult {
    let mut sandbox = sandbox()?;
    let memory = memory(&mut sandbox)?;
    let mut snapshots = Vec::new();
    for value in 1..=3 {
        for number in [0, usize::from(value)] {
            poke(&mut sandbox, page(memory, number), &[value])?;
        }
        count(&mut sandbox)?;
        snapshots.push(sandbox.snapshot()?);
    }
    let expected = [[1, 1, 0, 0], [2, 1, 2, 0], [3, 1, 2, 3]];
    for at in [2, 0, 1, 0, 2, 1, 1] {
        sandbox.restore(&snapshots[at])?;
        expect("pages", &bytes(&mut sandbox, memory, 4)?, &expected[at].to_vec())?;
        poke(&mut sandbox, page(memory, 5), &[9])?;
        expect("a count", &count(&mut sandbox)?, &(at as u64 + 2))?;
        let mut clone = clone(&snapshots[at])?;
        expect(
            "pages of a clone",
            &bytes(&mut clone, memory, 4)?,
            &expected[at].to_vec(),
        )?;
        expect(
            "a page of another one",
            &peek(&mut clone, page(memory, 5), 1)?,
            &vec![0],
        )?;
    }
    sandbox.restore(&start()?)?;
    expect("a count", &count(&mut sandbox)?, &1)
}

fn branches() -> CheckResult {
    let mut sandbox = sandbox()?;
    let memory = memory(&mut sandbox)?;
    let root = sandbox.snapshot()?;
    let mut branches = Vec::new();
    for value in 1..=4u8 {
        sandbox.restore(&root)?;
        poke(&mut sandbox, page(memory, usize::from(value)), &[value])?;
        sandbox.snapshot()?;
        poke(&mut sandbox, page(memory, 0), &[value])?;
        branches.push(sandbox.snapshot()?);
    }
    for (branch, value) in branches
        .iter()
        .zip([1, 2, 3, 4])
        .chain(branches.iter().zip([1, 2, 3, 4]).rev())
    {
        sandbox.restore(branch)?;
        let mut expected = vec![0; 6];
        expected[0] = value;
        expected[usize::from(value)] = value;
        expect("pages", &bytes(&mut sandbox, memory, 6)?, &expected)?;
    }
    works(&mut sandbox)
}

fn chain() -> CheckResult {
    let mut sandbox = sandbox()?;
    let memory = memory(&mut sandbox)?;
    let mut snapshots = Vec::new();
    for number in 0..20 {
        poke(&mut sandbox, page(memory, number), &[7])?;
        count(&mut sandbox)?;
        snapshots.push(sandbox.snapshot()?);
    }
    let check_one = |sandbox: &mut Sandbox, at: usize| -> CheckResult {
        let expected: Vec<u8> = (0..22).map(|number| if number <= at { 7 } else { 0 }).collect();
        expect("pages", &bytes(sandbox, memory, 22)?, &expected)?;
        expect("a count", &count(sandbox)?, &(at as u64 + 2))
    };
    // Steps that are coprime to 20 visit all.
    for step in [7, 1, 19] {
        for at in (0..20).map(|number| number * step % 20) {
            sandbox.restore(&snapshots[at])?;
            check_one(&mut sandbox, at)?;
        }
    }
    for at in [0, 15, 16, 17, 19] {
        check_one(&mut clone(&snapshots[at])?, at)?;
    }
    // The sandboxes keep what they need of snapshots that are dropped.
    let last = snapshots.pop().ok_or("no snapshot")?;
    drop(snapshots);
    sandbox.restore(&start()?)?;
    sandbox.restore(&last)?;
    check_one(&mut sandbox, 19)
}

fn flattened() -> CheckResult {
    let mut sandbox = sandbox()?;
    let memory = memory(&mut sandbox)?;
    poke(&mut sandbox, page(memory, 3), &[3])?;
    let small = sandbox.snapshot()?;
    // The first clone makes a base that all clones share, whatever the layers are.
    expect("own memory of a clone", &clone(&small)?.memory().resident, &0)?;
    // More than a quarter of the memory.
    sandbox.call::<_, u32>("keep", (600u32,))?;
    poke(&mut sandbox, page(memory, 4), &[4])?;
    let large = sandbox.snapshot()?;
    let mut of_large = clone(&large)?;
    expect("own memory of a clone", &of_large.memory().resident, &0)?;
    expect(
        "pages",
        &bytes(&mut of_large, memory, 6)?,
        &vec![0, 0, 0, 3, 4, 0],
    )?;
    for _ in 0..2 {
        of_large.restore(&small)?;
        expect(
            "pages",
            &bytes(&mut of_large, memory, 6)?,
            &vec![0, 0, 0, 3, 0, 0],
        )?;
        of_large.restore(&large)?;
        expect(
            "pages",
            &bytes(&mut of_large, memory, 6)?,
            &vec![0, 0, 0, 3, 4, 0],
        )?;
    }
    sandbox.restore(&start()?)?;
    works(&mut sandbox)?;
    sandbox.restore(&large)?;
    expect("pages", &bytes(&mut sandbox, memory, 6)?, &vec![0, 0, 0, 3, 4, 0])
}

fn unchanged() -> CheckResult {
    let mut sandbox = sandbox()?;
    count(&mut sandbox)?;
    let first = sandbox.snapshot()?;
    let second = sandbox.snapshot()?;
    for snapshot in [&first, &second, &first] {
        sandbox.restore(snapshot)?;
        let third = sandbox.snapshot()?;
        expect("a count", &count(&mut sandbox)?, &2)?;
        sandbox.restore(&third)?;
        expect("a count", &count(&mut sandbox)?, &2)?;
    }
    Ok(())
}

fn budget() -> CheckResult {
    let pages: u64 = PAGE.try_into()?;
    let mut sandbox = with_increment(super::guest::builder()?.resident_budget(100 * pages)).build()?;
    let memory = memory(&mut sandbox)?;
    poke(&mut sandbox, page(memory, 1), &[1])?;
    let layer = sandbox.snapshot()?;
    for _ in 0..3 {
        sandbox.call::<_, u32>("keep", (200u32,))?;
        poke(&mut sandbox, page(memory, 2), &[2])?;
        sandbox.restore(&layer)?;
        expect("pages", &bytes(&mut sandbox, memory, 4)?, &vec![0, 1, 0, 0])?;
        let resident = sandbox.memory().resident;
        check(resident < 100 * pages, || {
            format!("{resident} bytes are resident")
        })?;
    }
    sandbox.restore(&start()?)?;
    expect(
        "own memory at the start",
        &(sandbox.memory().resident < 100 * pages),
        &true,
    )?;
    works(&mut sandbox)
}
