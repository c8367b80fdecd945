//! Mapped files and regions.

use std::fs::{self, File};
use std::io::Write;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::sync::atomic::{AtomicU32, Ordering};
use std::{env, process};

use hv_kvm_test::CheckResult;
use sandbox::{
    CallError, Cause, CrashKind, FileOptions, Mapping, RegionAccess, Sandbox, SandboxBuilder, SharedRegion,
    SnapshotError, Status,
};
use sandbox_abi::layout;

use super::guest::{
    PAGE, Result, check, count, crash_of, error_of, expect, pattern, peek, poke, sandbox, start,
    with_increment, works,
};
use super::test::Test;
use crate::guest;

pub(crate) const TESTS: &[Test] = &[
    ("mapping::file", read_file),
    ("mapping::parts_of_a_file", parts),
    ("mapping::copy_on_write", copy_on_write),
    ("mapping::region", region),
    ("mapping::read_only_is_read_only", read_only),
    ("mapping::no_execution", no_execution),
    ("mapping::unmapped", unmapped),
    ("mapping::large_sparse_file", sparse),
    ("mapping::many", many),
    ("mapping::restore_of_changed_page_tables", tables),
    ("mapping::truncated_file", truncated),
    ("mapping::truncated_copy", truncated_copy),
    ("mapping::created_and_destroyed", churn),
    ("mapping::clones", clones),
];

/// Tests of the type `Region` of guests.
pub(crate) const GUEST_TESTS: &[Test] = &[
    ("mapping::parameters", parameters),
    ("mapping::wrong_parameters", wrong_parameters),
];

/// A file without a name.
pub(crate) fn file(bytes: &[u8]) -> Result<File> {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let number = NEXT.fetch_add(1, Ordering::Relaxed);
    let path = env::temp_dir().join(format!("sandbox-mapped-{}-{number}", process::id()));
    let mut options = File::options();
    options.read(true).write(true).create_new(true);
    let mut file = options.open(&path)?;
    fs::remove_file(path)?;
    file.write_all(bytes)?;
    Ok(file)
}

/// The bytes of a mapping, in parts for which the guest has memory.
fn bytes(sandbox: &mut Sandbox, mapping: Mapping) -> Result<Vec<u8>> {
    const PART: usize = 0x2_0000;
    let len = usize::try_from(mapping.len())?;
    let mut bytes = Vec::with_capacity(len);
    while bytes.len() < len {
        let address = mapping.address() + u64::try_from(bytes.len())?;
        bytes.extend(peek(sandbox, address, PART.min(len - bytes.len()))?);
    }
    Ok(bytes)
}

fn offset(mapping: Mapping, pages: usize) -> Result<u64> {
    Ok(mapping.address() + u64::try_from(pages * PAGE)?)
}

/// Checks that an access of the guest is an exception of its own, at this address.
fn exception(sandbox: &mut Sandbox, address: u64, write: bool) -> CheckResult {
    let crash = if write {
        crash_of::<_, ()>(sandbox, "poke", (address, [1u8].as_slice()))?
    } else {
        crash_of::<_, Vec<u8>>(sandbox, "peek", (address, 1u64))?
    };
    check(matches!(crash.kind, CrashKind::Exception { .. }), || {
        format!("found {crash:?}")
    })?;
    expect("address", &crash.registers.fault_address, &address)
}

fn read_file() -> CheckResult {
    let contents = pattern(5 * PAGE + 123);
    let file = file(&contents)?;
    let mut sandbox = sandbox()?;
    let mapping = sandbox.map_file(&file, FileOptions::read_only())?;
    expect("address", &mapping.address(), &layout::REGIONS)?;
    expect("contents", &(bytes(&mut sandbox, mapping)? == contents), &true)?;
    let rest = peek(&mut sandbox, mapping.address() + mapping.len(), PAGE - 123)?;
    expect("rest of the page", &rest.iter().all(|byte| *byte == 0), &true)?;
    works(&mut sandbox)?;
    // The guest sees the file, and not a copy of it, before and after restores.
    for round in 0..3u8 {
        file.write_all_at(&[round; 4], 4090)?;
        expect(
            "new contents",
            &peek(&mut sandbox, mapping.address() + 4091, 2)?,
            &vec![round; 2],
        )?;
        sandbox.restore(&start()?)?;
        expect(
            "contents",
            &peek(&mut sandbox, mapping.address() + 4093, 1)?,
            &vec![round],
        )?;
    }
    works(&mut sandbox)
}

fn parts() -> CheckResult {
    let contents = pattern(600 * PAGE);
    let file = file(&contents)?;
    let mut sandbox = sandbox()?;
    for (first, len) in [(0, 1), (1, PAGE), (3, 2 * PAGE + 1), (17, 583 * PAGE)] {
        let start = first * PAGE;
        let options = FileOptions::read_only()
            .with_offset(u64::try_from(start)?)
            .with_len(u64::try_from(len)?);
        let mapping = sandbox.map_file(&file, options)?;
        let found = bytes(&mut sandbox, mapping)?;
        expect("a part", &(found == contents[start..start + len]), &true)?;
    }
    Ok(())
}

fn copy_on_write() -> CheckResult {
    let contents = pattern(700 * PAGE);
    let file = file(&contents)?;
    let mut sandbox = sandbox()?;
    let mapping = sandbox.map_file(&file, FileOptions::copy_on_write())?;
    for round in 0..4u8 {
        let pages = [usize::from(round), 10, 11, 600, 699];
        for page in pages {
            poke(&mut sandbox, offset(mapping, page)? + 8, &[round ^ 0xff; 16])?;
        }
        let mut expected = contents.clone();
        for page in pages {
            expected[page * PAGE + 8..page * PAGE + 24].fill(round ^ 0xff);
        }
        expect("with copies", &(bytes(&mut sandbox, mapping)? == expected), &true)?;
        sandbox.restore(&start()?)?;
        expect("restored", &(bytes(&mut sandbox, mapping)? == contents), &true)?;
        works(&mut sandbox)?;
    }
    let mut in_file = vec![0; contents.len()];
    file.read_exact_at(&mut in_file, 0)?;
    expect("the file", &(in_file == contents), &true)
}

fn region() -> CheckResult {
    let region = SharedRegion::new(3 * PAGE)?;
    region.write(PAGE - 2, b"host")?;
    let [mut writer, mut reader] = [sandbox()?, sandbox()?];
    let written = writer.map_region(&region, RegionAccess::ReadWrite)?;
    let read = reader.map_region(&region, RegionAccess::ReadOnly)?;
    let after = |mapping: Mapping| mapping.address() + 4094;
    expect(
        "of the host",
        &peek(&mut writer, after(written), 4)?,
        &b"host".to_vec(),
    )?;
    poke(&mut writer, after(written), b"gues")?;
    poke(&mut writer, written.address() + 8, &77u64.to_le_bytes())?;
    expect(
        "of the other guest",
        &peek(&mut reader, after(read), 4)?,
        &b"gues".to_vec(),
    )?;
    expect("a number", &region.load_u64(8)?, &77)?;
    writer.restore(&start()?)?;
    expect(
        "after a restore",
        &peek(&mut writer, after(written), 4)?,
        &b"gues".to_vec(),
    )?;
    region.store_u64(8, 78)?;
    let found = peek(&mut reader, read.address() + 8, 8)?;
    expect("a new number", &found, &78u64.to_le_bytes().to_vec())?;
    exception(&mut reader, read.address(), true)?;
    drop(reader);
    drop(region);
    poke(&mut writer, written.address(), &[1])
}

fn read_only() -> CheckResult {
    let contents = pattern(2 * PAGE);
    let file = file(&contents)?;
    let mut sandbox = sandbox()?;
    let mapping = sandbox.map_file(&file, FileOptions::read_only())?;
    exception(&mut sandbox, mapping.address(), true)?;
    sandbox.restore(&start()?)?;
    // Pages before and behind it are not mapped.
    exception(&mut sandbox, mapping.address() + mapping.len(), false)?;
    sandbox.restore(&start()?)?;
    exception(&mut sandbox, mapping.address() - 1, false)?;
    sandbox.restore(&start()?)?;
    expect("contents", &(bytes(&mut sandbox, mapping)? == contents), &true)?;
    let mut in_file = vec![0; contents.len()];
    file.read_exact_at(&mut in_file, 0)?;
    expect("the file", &(in_file == contents), &true)?;
    works(&mut sandbox)
}

fn no_execution() -> CheckResult {
    let region = SharedRegion::new(PAGE)?;
    let mut sandbox = sandbox()?;
    for access in [RegionAccess::ReadOnly, RegionAccess::ReadWrite] {
        let mapping = sandbox.map_region(&region, access)?;
        let crash = crash_of::<_, ()>(&mut sandbox, "execute", (mapping.address(),))?;
        check(matches!(crash.kind, CrashKind::Exception { .. }), || {
            format!("found {crash:?}")
        })?;
        expect("address", &crash.registers.pc, &mapping.address())?;
        sandbox.restore(&start()?)?;
    }
    works(&mut sandbox)
}

fn unmapped() -> CheckResult {
    let file = file(&pattern(PAGE))?;
    let mut sandbox = sandbox()?;
    let snapshot = start()?;
    for round in 0..3 {
        let options = [FileOptions::read_only(), FileOptions::copy_on_write()][round % 2];
        let first = sandbox.map_file(&file, options)?;
        let second = sandbox.map_file(&file, options)?;
        // The CPU has the translation.
        let expected = peek(&mut sandbox, first.address(), 8)?;
        expect("contents", &peek(&mut sandbox, second.address(), 8)?, &expected)?;
        sandbox.unmap(first)?;
        expect("status", &sandbox.status(), &Status::Ready)?;
        expect(
            "the other one",
            &peek(&mut sandbox, second.address(), 8)?,
            &expected,
        )?;
        works(&mut sandbox)?;
        exception(&mut sandbox, first.address(), false)?;
        // While it is poisoned.
        sandbox.unmap(second)?;
        sandbox.restore(&snapshot)?;
        exception(&mut sandbox, second.address(), false)?;
        sandbox.restore(&snapshot)?;
        // Other permissions at the same address.
        let third = sandbox.map_file(&file, FileOptions::copy_on_write())?;
        expect("address", &third.address(), &first.address())?;
        poke(&mut sandbox, third.address(), &[1])?;
        sandbox.unmap(third)?;
        let fourth = sandbox.map_file(&file, FileOptions::read_only())?;
        expect("the file", &peek(&mut sandbox, fourth.address(), 8)?, &expected)?;
        exception(&mut sandbox, fourth.address(), true)?;
        sandbox.unmap_all()?;
        sandbox.restore(&snapshot)?;
        works(&mut sandbox)?;
    }
    Ok(())
}

/// Resident memory of this process in KiB.
fn resident() -> Result<u64> {
    let status = fs::read_to_string("/proc/self/status")?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let value = line
        .and_then(|line| line.split_whitespace().next())
        .ok_or("no VmRSS")?;
    Ok(value.parse()?)
}

fn sparse() -> CheckResult {
    const LEN: u64 = 1 << 30;
    let file = file(&[])?;
    file.set_len(LEN)?;
    file.write_all_at(b"start", 0)?;
    file.write_all_at(b"end", LEN - 3)?;
    let mut sandbox = sandbox()?;
    let before = resident()?;
    for options in [FileOptions::read_only(), FileOptions::copy_on_write()] {
        let mapping = sandbox.map_file(&file, options)?;
        expect(
            "start",
            &peek(&mut sandbox, mapping.address(), 5)?,
            &b"start".to_vec(),
        )?;
        let end = mapping.address() + LEN;
        expect("end", &peek(&mut sandbox, end - 3, 3)?, &b"end".to_vec())?;
        sandbox.restore(&start()?)?;
        exception(&mut sandbox, end, false)?;
        sandbox.restore(&start()?)?;
    }
    let grown = resident()?.saturating_sub(before);
    check(grown < 8 << 10, || format!("{grown} KiB more"))?;
    // In units of 512 bytes.
    let blocks = file.metadata()?.blocks();
    check(blocks < 8 << 11, || format!("the file has {blocks} blocks"))
}

fn many() -> CheckResult {
    let max = Sandbox::<sandbox::Kvm>::MAX_MAPPINGS;
    let file = file(&pattern(max * PAGE))?;
    let mut sandbox = sandbox()?;
    let mut mapped = Vec::new();
    for number in 0..max {
        let options = FileOptions::read_only()
            .with_offset(u64::try_from(number * PAGE)?)
            .with_len(1);
        mapped.push(sandbox.map_file(&file, options)?);
    }
    check(sandbox.map_file(&file, FileOptions::read_only()).is_err(), || {
        "one mapping more".to_owned()
    })?;
    let contents = pattern(max * PAGE);
    for (number, mapping) in mapped.into_iter().enumerate() {
        let expected = contents[number * PAGE..][..8].to_vec();
        expect("contents", &peek(&mut sandbox, mapping.address(), 8)?, &expected)?;
    }
    works(&mut sandbox)
}

/// A guest with page tables of its own reaches no more than the slots, and a restore brings the page tables back.
fn tables() -> CheckResult {
    let contents = pattern(PAGE);
    let file = file(&contents)?;
    let mut sandbox = sandbox()?;
    let snapshot = start()?;
    let mapping = sandbox.map_file(&file, FileOptions::read_only())?;
    for _ in 0..3 {
        // All memory below 2 GiB is writable then, and the guest's tables are in it, but not the mapping.
        let tables: u64 = sandbox.call("map_all", ())?;
        poke(&mut sandbox, tables, &[0x5a; 2 * PAGE])?;
        sandbox.restore(&snapshot)?;
        expect("contents", &(bytes(&mut sandbox, mapping)? == contents), &true)?;
        works(&mut sandbox)?;
    }
    exception(&mut sandbox, mapping.address(), true)
}

/// The error of an access past the end of the file.
fn truncated_access(sandbox: &mut Sandbox, address: u64, write: bool) -> CheckResult {
    let error = if write {
        error_of::<_, ()>(sandbox, "poke", (address, [1u8].as_slice()))?
    } else {
        error_of::<_, Vec<u8>>(sandbox, "peek", (address, 1u64))?
    };
    check(matches!(error, CallError::FileTruncated(_)), || {
        format!("found {}", hv_kvm_test::explain(&error))
    })?;
    expect("status", &sandbox.status(), &Status::Poisoned(Cause::File))?;
    sandbox.restore(&start()?)?;
    works(sandbox)
}

fn truncated() -> CheckResult {
    let contents = pattern(8 * PAGE);
    let file = file(&contents)?;
    let mut sandbox = sandbox()?;
    let mapping = sandbox.map_file(&file, FileOptions::read_only())?;
    expect("contents", &(bytes(&mut sandbox, mapping)? == contents), &true)?;
    file.set_len(u64::try_from(3 * PAGE + 5)?)?;
    // A page that the guest has read before, and the last one.
    truncated_access(&mut sandbox, offset(mapping, 4)?, false)?;
    truncated_access(&mut sandbox, offset(mapping, 7)? + 4095, false)?;
    let expected = contents[..3 * PAGE + 5].to_vec();
    let found = peek(&mut sandbox, mapping.address(), expected.len())?;
    expect("what is left", &(found == expected), &true)?;
    let rest = peek(&mut sandbox, offset(mapping, 3)? + 5, PAGE - 5)?;
    expect("rest of the page", &rest.iter().all(|byte| *byte == 0), &true)?;
    // A file that becomes longer again is there again.
    file.set_len(u64::try_from(8 * PAGE)?)?;
    expect("zeros", &peek(&mut sandbox, offset(mapping, 4)?, 2)?, &vec![0; 2])?;
    file.set_len(0)?;
    truncated_access(&mut sandbox, mapping.address(), false)?;
    sandbox.unmap(mapping)?;
    works(&mut sandbox)
}

fn truncated_copy() -> CheckResult {
    let contents = pattern(8 * PAGE);
    let file = file(&contents)?;
    let mut sandbox = sandbox()?;
    let mapping = sandbox.map_file(&file, FileOptions::copy_on_write())?;
    poke(&mut sandbox, offset(mapping, 5)?, b"copy")?;
    file.set_len(u64::try_from(2 * PAGE)?)?;
    // The copy goes with the page of the file.
    truncated_access(&mut sandbox, offset(mapping, 5)?, false)?;
    truncated_access(&mut sandbox, offset(mapping, 6)?, true)?;
    expect(
        "what is left",
        &peek(&mut sandbox, offset(mapping, 1)?, 8)?,
        &contents[PAGE..PAGE + 8].to_vec(),
    )?;
    poke(&mut sandbox, mapping.address(), b"copy")?;
    file.set_len(0)?;
    // A restore drops the copy: no signal.
    sandbox.restore(&start()?)?;
    truncated_access(&mut sandbox, mapping.address(), true)
}

/// Number of file descriptors, and of mappings of this test's files.
fn resources() -> Result<[usize; 2]> {
    let descriptors = fs::read_dir("/proc/self/fd")?.count();
    let maps = fs::read_to_string("/proc/self/maps")?;
    let is_mapped = |line: &&str| line.contains("sandbox-mapped") || line.contains("sandbox-region");
    Ok([descriptors, maps.lines().filter(is_mapped).count()])
}

fn churn() -> CheckResult {
    let file = file(&pattern(3 * PAGE))?;
    let round = |number: u8| -> CheckResult {
        let mut sandbox = sandbox()?;
        let copy = sandbox.map_file(&file, FileOptions::copy_on_write())?;
        let shared = sandbox.map_file(&file, FileOptions::read_only())?;
        let region = SharedRegion::new(PAGE)?;
        let written = sandbox.map_region(&region, RegionAccess::ReadWrite)?;
        poke(&mut sandbox, copy.address(), &[number])?;
        poke(&mut sandbox, written.address(), &[number])?;
        let found = peek(&mut sandbox, copy.address(), 1)?;
        expect("the copy", &found, &vec![number])?;
        if number.is_multiple_of(2) {
            sandbox.unmap(shared)?;
        }
        if number.is_multiple_of(3) {
            sandbox.unmap_all()?;
        }
        works(&mut sandbox)
    };
    (0..5).try_for_each(round)?;
    let before = resources()?;
    (0..100).try_for_each(round)?;
    expect("file descriptors and mappings", &resources()?, &before)?;
    // They are counted.
    let mut sandbox = sandbox()?;
    sandbox.map_file(&file, FileOptions::read_only())?;
    expect("one mapping", &resources()?[1], &(before[1] + 1))
}

fn clones() -> CheckResult {
    let file = file(&pattern(PAGE))?;
    let mut sandbox = sandbox()?;
    count(&mut sandbox)?;
    let mapping = sandbox.map_file(&file, FileOptions::read_only())?;
    let refused = sandbox.snapshot();
    check(matches!(refused, Err(SnapshotError::Mapped { count: 1 })), || {
        format!("found {refused:?}")
    })?;
    sandbox.unmap(mapping)?;
    let snapshot = sandbox.snapshot()?;
    let mut clone = with_increment(SandboxBuilder::from_snapshot(&snapshot)).build()?;
    exception(&mut clone, mapping.address(), false)?;
    clone.restore(&snapshot)?;
    let own = clone.map_file(&file, FileOptions::copy_on_write())?;
    expect("contents", &peek(&mut clone, own.address(), 8)?, &pattern(8))?;
    expect("the count", &count(&mut clone)?, &2)
}

fn parameters() -> CheckResult {
    let mut sandbox = guest::sandbox()?;
    let contents = pattern(40_000);
    let mapping = sandbox.map_file(&file(&contents)?, FileOptions::read_only())?;
    let sum: u64 = contents.iter().map(|byte| u64::from(*byte)).sum();
    expect(
        "the sum",
        &sandbox.call::<_, u64>("sum_region", (mapping,))?,
        &sum,
    )?;
    for (offset, len) in [
        (0u16, 1u16),
        (1, 17),
        (7, 4096),
        (4093, 9),
        (39_999, 1),
        (40_000, 0),
    ] {
        let found: Vec<u8> = sandbox.call("read_region", (mapping, u64::from(offset), u32::from(len)))?;
        let (start, len) = (usize::from(offset), usize::from(len));
        expect("a part", &(found == contents[start..start + len]), &true)?;
    }
    let past = sandbox.call::<_, Vec<u8>>("read_region", (mapping, 39_999u64, 2u32));
    check(matches!(past, Err(CallError::Guest(_))), || {
        format!("found {past:?}")
    })?;
    let region = SharedRegion::new(PAGE)?;
    let shared = sandbox.map_region(&region, RegionAccess::ReadWrite)?;
    for (offset, text) in [(0u64, b"x".as_slice()), (3, b"some text"), (4090, b"the end")] {
        let written = sandbox.call::<_, ()>("write_region", (shared, offset, text));
        let fits = usize::try_from(offset)? + text.len() <= PAGE;
        check(written.is_ok() == fits, || format!("found {written:?}"))?;
        if fits {
            let mut found = vec![0; text.len()];
            region.read(usize::try_from(offset)?, &mut found)?;
            expect("what the guest wrote", &found, &text.to_vec())?;
        }
    }
    Ok(())
}

fn wrong_parameters() -> CheckResult {
    let mut sandbox = guest::sandbox()?;
    for region in [
        (0u64, 8u64),
        (layout::REGION_TABLES, 8),
        (layout::REGIONS, u64::MAX),
        (layout::REGIONS_END - 8, 9),
    ] {
        let refused = sandbox.call::<_, u64>("sum_region", (region,));
        check(matches!(refused, Err(CallError::BadParameters(_))), || {
            format!("found {refused:?}")
        })?;
    }
    // Nothing is mapped there.
    let crash = sandbox.call::<_, u64>("sum_region", ((layout::REGIONS, 8u64),));
    check(matches!(crash, Err(CallError::Crashed(_))), || {
        format!("found {crash:?}")
    })
}
