//! Snapshots in files.

use std::env::{self, consts::ARCH};
use std::fs;
use std::ops::Range;

use hv_core::StateError;
use hv_kvm_test::CheckResult;
use sandbox::{
    BuildError, FileError, Kvm, LoadOptions, LoadSnapshotError, RestoreError, Sandbox, SandboxBuilder,
    SaveSnapshotError, Snapshot,
};

use super::guest::{Result, check, count, expect, load, peek, poke, sandbox, start, with_increment, works};
use super::test::Test;
use crate::guest::copy_on_write;

pub(crate) const TESTS: &[Test] = &[
    ("file::calls_continue_after_a_load", continues),
    ("file::floating_point_state_is_part_of_it", floating_point),
    ("file::loaded_snapshots_are_of_an_image_of_their_own", own_image),
    ("file::clones_of_a_loaded_snapshot", clones),
    ("file::host_functions_are_checked_again", host_functions),
    ("file::changed_control_registers_are_refused", control),
    ("file::registers_are_those_of_the_machine", registers),
    ("file::guest_with_its_own_page_tables_is_not_saved", own_tables),
    ("file::damaged_files_are_refused", damaged),
];

fn bytes(snapshot: &Snapshot) -> Result<Vec<u8>> {
    let mut file = Vec::new();
    snapshot.write_to(&mut file)?;
    Ok(file)
}

fn read(file: &[u8]) -> std::result::Result<Snapshot, LoadSnapshotError> {
    let options = LoadOptions::default().with_copy_on_write(copy_on_write());
    Snapshot::read_from(Kvm, &file, options)
}

fn build(snapshot: &Snapshot) -> Result<Sandbox> {
    Ok(with_increment(SandboxBuilder::from_snapshot(snapshot)).build()?)
}

fn continues() -> CheckResult {
    let path = env::temp_dir().join(format!("vmboot-sandbox-{}.snapshot", std::process::id()));
    let text = b"what the guest knows".to_vec();
    let address = {
        let mut sandbox = with_increment(load()?).build()?;
        for expected in 1..=3 {
            expect("a count", &count(&mut sandbox)?, &expected)?;
        }
        let address: u64 = sandbox.call("remember", (&text,))?;
        sandbox.snapshot()?;
        poke(&mut sandbox, address, b"W")?;
        let snapshot = sandbox.snapshot()?;
        fs::create_dir_all(env::temp_dir())?;
        snapshot.save(&path)?;
        address
    };
    let loaded = Snapshot::load(&path, LoadOptions::default());
    let len = fs::metadata(&path)?.len();
    fs::remove_file(&path)?;
    let loaded = loaded?;
    let mut sandbox = build(&loaded)?;
    for _ in 0..2 {
        expect("a count", &count(&mut sandbox)?, &4)?;
        let found = peek(&mut sandbox, address, text.len())?;
        expect("its memory", &found, &b"What the guest knows".to_vec())?;
        works(&mut sandbox)?;
        poke(&mut sandbox, address, b"something else")?;
        sandbox.restore(&loaded)?;
    }
    // A snapshot of it can be saved again, and is the same file.
    sandbox.restore(&loaded)?;
    let again = bytes(&sandbox.snapshot()?)?;
    expect("length of the file", &u64::try_from(again.len())?, &len)?;
    let mut second = build(&read(&again)?)?;
    expect("a count", &count(&mut second)?, &4)?;
    works(&mut second)
}

fn floating_point() -> CheckResult {
    if ARCH == "x86_64" && !hv_kvm_test::has_virtualisation() {
        // The guest has no floating-point instructions.
        return works(&mut build(&read(&bytes(&start()?)?)?)?);
    }
    // Registers are those of the first snapshot of a sandbox.
    let mut sandbox = with_increment(load()?).build()?;
    let nearest: u64 = sandbox.call("third", ())?;
    sandbox.call::<_, ()>("round_up", ())?;
    let snapshot = sandbox.snapshot()?;
    let mut loaded = build(&read(&bytes(&snapshot)?)?)?;
    expect("a third, rounded up", &loaded.call("third", ())?, &(nearest + 1))?;
    let mut of_start = build(&read(&bytes(&start()?)?)?)?;
    expect("a third", &of_start.call("third", ())?, &nearest)
}

fn own_image() -> CheckResult {
    let snapshot = start()?;
    let [first, second] = [read(&bytes(&snapshot)?)?, read(&bytes(&snapshot)?)?];
    let mut original = sandbox()?;
    let mut of_first = build(&first)?;
    let is_other = |result: std::result::Result<(), RestoreError>| {
        check(matches!(result, Err(RestoreError::OtherImage)), || {
            format!("found {result:?}")
        })
    };
    is_other(original.restore(&first))?;
    is_other(of_first.restore(&second))?;
    is_other(of_first.restore(&snapshot))?;
    works(&mut original)?;
    count(&mut of_first)?;
    of_first.restore(&first)?;
    expect("a count", &count(&mut of_first)?, &1)
}

fn clones() -> CheckResult {
    let mut sandbox = sandbox()?;
    count(&mut sandbox)?;
    // More than a quarter of the memory.
    sandbox.call::<_, u32>("keep", (600u32,))?;
    let file = bytes(&sandbox.snapshot()?)?;
    let loaded = read(&file)?;
    let mut clones = (0..3).map(|_| build(&loaded)).collect::<Result<Vec<_>>>()?;
    for clone in &mut clones {
        expect("own memory", &clone.memory().resident, &0)?;
        expect("a count", &count(clone)?, &2)?;
        works(clone)?;
    }
    let of_clone = clones[0].snapshot()?;
    clones[1].restore(&of_clone)?;
    expect("a count", &count(&mut clones[1])?, &3)
}

fn host_functions() -> CheckResult {
    let loaded = read(&bytes(&start()?)?)?;
    let missing = Sandbox::clone_from(&loaded).err();
    check(
        matches!(&missing, Some(BuildError::MissingImport { name }) if name == "increment"),
        || format!("found {missing:?}"),
    )?;
    let builder = SandboxBuilder::from_snapshot(&loaded);
    let other = builder.register("increment", |value: u32| value).build().err();
    check(
        matches!(&other, Some(BuildError::ImportSignature { name, .. }) if name == "increment"),
        || format!("found {other:?}"),
    )?;
    works(&mut build(&loaded)?)
}

/// The number in eight bytes of a file.
fn number(file: &[u8], at: usize) -> Result<usize> {
    let bytes = file.get(at..).and_then(|rest| rest.first_chunk());
    let bytes = bytes.ok_or("the file is too short")?;
    Ok(usize::try_from(u64::from_le_bytes(*bytes))?)
}

/// Changes a byte.
fn change(mut file: Vec<u8>, at: usize) -> Result<Vec<u8>> {
    *file.get_mut(at).ok_or("the file is too short")? ^= 1;
    Ok(with_checksum(file))
}

/// Makes the checksum that of the file.
fn with_checksum(mut file: Vec<u8>) -> Vec<u8> {
    let end = file.len() - 8;
    let sum = file[..end].iter().fold(0xcbf2_9ce4_8422_2325_u64, |sum, byte| {
        (sum ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3)
    });
    file[end..].copy_from_slice(&sum.to_le_bytes());
    file
}

/// The registers of a file: their numbers, and where their records are.
fn records(file: &[u8]) -> Result<Vec<(u64, Range<usize>)>> {
    let features = u32::from_le_bytes(*file[84..].first_chunk().ok_or("no header")?);
    let mut at = 152 + number(file, 32)? + 16 * usize::try_from(features)?;
    let end = at + number(file, 96)?;
    let mut records = Vec::new();
    while at < end {
        let len = u32::from_le_bytes(*file[at + 8..].first_chunk().ok_or("no length")?);
        let next = at + 16 + usize::try_from(len)?;
        records.push((u64::try_from(number(file, at)?)?, at..next));
        at = next;
    }
    Ok(records)
}

/// Where the value of a register is in a file.
fn register(file: &[u8], id: u64) -> Result<usize> {
    let records = records(file)?;
    let found = records.iter().find(|(found, _)| *found == id);
    let (_, record) = found.ok_or_else(|| format!("the file has no register {id:#x}"))?;
    Ok(record.start + 16)
}

/// A file with other bytes in place of a record: `more` registers more.
fn replace(file: &[u8], record: &Range<usize>, by: &[u8], more: i32) -> Result<Vec<u8>> {
    let mut changed = file.to_vec();
    changed.splice(record.clone(), by.iter().copied());
    let len = u64::try_from(changed.len())?;
    let registers = u64::try_from(number(file, 96)? + by.len() - record.len())?;
    let count = u32::from_le_bytes(*file[88..].first_chunk().ok_or("no header")?);
    changed[16..24].copy_from_slice(&len.to_le_bytes());
    changed[88..92].copy_from_slice(&count.wrapping_add_signed(more).to_le_bytes());
    changed[96..104].copy_from_slice(&registers.to_le_bytes());
    Ok(with_checksum(changed))
}

fn registers() -> CheckResult {
    let file = bytes(&start()?)?;
    let records = records(&file)?;
    let error = |file: Vec<u8>| match read(&file) {
        Err(LoadSnapshotError::State(error)) => Ok(error),
        other => Err(format!("found {other:?}")),
    };
    // Each load plans the program, which takes its time in an emulated machine.
    for (id, record) in records.iter().step_by(records.len().div_ceil(12)) {
        let bytes = &file[record.clone()];
        let missing = error(replace(&file, record, &[], -1)?)?;
        check(matches!(missing, StateError::Missing { .. }), || {
            format!("{id:#x}: {missing}")
        })?;
        let twice = error(replace(&file, record, &bytes.repeat(2), 1)?)?;
        check(matches!(twice, StateError::Duplicate { .. }), || {
            format!("{id:#x}: {twice}")
        })?;
        let mut longer = [bytes, &[0]].concat();
        let len = u32::try_from(longer.len() - 16)?;
        longer[8..12].copy_from_slice(&len.to_le_bytes());
        let longer = error(replace(&file, record, &longer, 0)?)?;
        check(matches!(longer, StateError::Length { .. }), || {
            format!("{id:#x}: {longer}")
        })?;
        let mut other = bytes.to_vec();
        other[7] ^= 0x55;
        let unknown = error(replace(&file, record, &[bytes, &other].concat(), 1)?)?;
        check(matches!(unknown, StateError::Unknown { .. }), || {
            format!("{id:#x}: {unknown}")
        })?;
    }
    // A CPU with all features.
    let mut more = file.clone();
    let first = records.first().ok_or("no registers")?.1.start;
    more[first - 8..first].fill(0xff);
    let feature = error(with_checksum(more))?;
    check(matches!(feature, StateError::Feature { .. }), || {
        format!("{feature}")
    })
}

fn control() -> CheckResult {
    let file = bytes(&start()?)?;
    // Its base of the page tables, its handlers of exceptions: IDTR, VBAR_EL1, stvec.
    let places = match ARCH {
        "x86_64" => {
            let state = register(&file, 1)?;
            [state + 162, state + 330]
        }
        "aarch64" => [
            register(&file, 0x6030_0000_0013_c100)? + 2,
            register(&file, 0x6030_0000_0013_c600)? + 2,
        ],
        _ => [
            register(&file, 0x8030_0000_0300_0008)?,
            register(&file, 0x8030_0000_0300_0002)? + 1,
        ],
    };
    for place in places {
        let error = read(&change(file.clone(), place)?).err();
        check(matches!(error, Some(LoadSnapshotError::Control(_))), || {
            format!("found {error:?}")
        })?;
    }
    // A change of a general register is one that the guest could have made.
    let general = match ARCH {
        "x86_64" => register(&file, 1)?,
        "aarch64" => register(&file, 0x6030_0000_0010_0020)?,
        _ => register(&file, 0x8030_0000_0200_0006)?,
    };
    read(&change(file, general)?)?;
    Ok(())
}

fn own_tables() -> CheckResult {
    // Registers are those of the first snapshot of a sandbox.
    let mut sandbox = with_increment(load()?).build()?;
    sandbox.call::<_, u64>("map_all", ())?;
    let error = sandbox.snapshot()?.write_to(&mut Vec::new()).err();
    check(matches!(error, Some(SaveSnapshotError::Control(_))), || {
        format!("found {error:?}")
    })?;
    works(&mut build(&read(&bytes(&start()?)?)?)?)
}

fn damaged() -> CheckResult {
    let file = bytes(&start()?)?;
    let middle = file.len() / 2;
    for len in [0, 8, 151, middle, file.len() - 1] {
        let error = read(&file[..len]).err();
        check(
            matches!(
                error,
                Some(LoadSnapshotError::File(
                    FileError::NotASnapshot | FileError::Length { .. }
                ))
            ),
            || format!("found {error:?}"),
        )?;
    }
    let mut changed = file.clone();
    // In the contents of the last page.
    let last = file.len() - 9;
    changed[last] ^= 1;
    let error = read(&changed).err();
    check(
        matches!(error, Some(LoadSnapshotError::File(FileError::Checksum { .. }))),
        || format!("found {error:?}"),
    )?;
    works(&mut build(&read(&file)?)?)
}
