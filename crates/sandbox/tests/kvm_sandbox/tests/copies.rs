//! Guests that copy the pages that they write.

use std::iter;

use hv_kvm_test::CheckResult;
use sandbox::{
    CopyOnWrite, CrashKind, Kvm, LoadOptions, PageTableError, Sandbox, SandboxBuilder, Snapshot,
    SnapshotError,
};
use sandbox_abi::{BootInfo, layout};
use zerocopy::FromBytes;

use super::guest::{
    PAGE, Result, check, count, crash_of, expect, load, pattern, peek, poke, with_increment, works,
};
use super::test::Test;

pub(crate) const TESTS: &[Test] = &[
    ("copies::stores_keep_registers", registers),
    ("copies::stores_of_all_kinds", stores),
    ("copies::nothing_is_left_after_a_restore", nothing_is_left),
    ("copies::shared_memory_cannot_be_written", shared),
    ("copies::out_of_scratch_pages", out_of_scratch),
    ("copies::hostile_page_tables_have_no_snapshot", hostile),
    ("copies::snapshots_of_files_load_with_each", files),
    ("copies::large_heap", large_heap),
];

fn build(builder: SandboxBuilder) -> Result<Sandbox> {
    Ok(with_increment(builder.copy_on_write(CopyOnWrite::Guest)).build()?)
}

fn sandbox() -> Result<Sandbox> {
    build(load()?)
}

fn boot_info(sandbox: &mut Sandbox) -> Result<BootInfo> {
    let bytes = peek(sandbox, layout::BOOT_INFO, size_of::<BootInfo>())?;
    let info = BootInfo::read_from_bytes(&bytes).map_err(|error| error.to_string())?;
    check(info.scratch.get() != 0, || "no scratch area".to_owned())?;
    Ok(info)
}

/// Pages near the end of the heap, which nothing else uses.
fn free_pages(info: &BootInfo) -> u64 {
    info.heap.get() + info.heap_len.get() - 0x10_0000
}

const WORD: u64 = 0x1122_3344_5566_7700;

fn registers() -> CheckResult {
    let mut sandbox = sandbox()?;
    let info = boot_info(&mut sandbox)?;
    let snapshot = sandbox.snapshot()?;
    for round in 0..3 {
        // In a page of 4 KiB, and in one of 2 MiB that becomes a table.
        for page in [
            free_pages(&info),
            info.stack.get() + 0x1000,
            free_pages(&info) + 0x2000,
        ] {
            let changed: u64 = sandbox.call("store_keeps_registers", (page + 8 * round,))?;
            expect("registers that changed", &changed, &0)?;
            expect(
                "the word",
                &peek(&mut sandbox, page + 8 * round, 8)?,
                &WORD.to_le_bytes().to_vec(),
            )?;
        }
        sandbox.restore(&snapshot)?;
        expect(
            "the word after a restore",
            &peek(&mut sandbox, free_pages(&info), 64)?,
            &vec![0; 64],
        )?;
    }
    works(&mut sandbox)
}

fn stores() -> CheckResult {
    let mut sandbox = sandbox()?;
    let start = free_pages(&boot_info(&mut sandbox)?);
    let snapshot = sandbox.snapshot()?;
    for _ in 0..3 {
        sandbox.call::<_, ()>("store_across_pages", (start,))?;
        expect(
            "a word in two pages",
            &peek(&mut sandbox, start + 4092, 8)?,
            &WORD.to_le_bytes().to_vec(),
        )?;
        let sum: u64 = sandbox.call("add_atomically", (start + 0x8008,))?;
        expect("an atomic sum", &sum, &WORD)?;
        expect(
            "an atomic word",
            &peek(&mut sandbox, start + 0x8008, 8)?,
            &1u64.to_le_bytes().to_vec(),
        )?;
        let bytes = pattern(5 * PAGE);
        let mut parameter = (start + 0x1_0123).to_le_bytes().to_vec();
        parameter.extend(&bytes);
        sandbox.call_bytes("copy_to", &parameter, &mut Vec::new())?;
        let found = peek(&mut sandbox, start + 0x1_0123, bytes.len())?;
        check(found == bytes, || "other bytes after a copy".to_owned())?;
        sandbox.restore(&snapshot)?;
        let found = peek(&mut sandbox, start, 0x1_8000)?;
        check(found.iter().all(|byte| *byte == 0), || {
            "bytes after a restore".to_owned()
        })?;
        sandbox.restore(&snapshot)?;
    }
    works(&mut sandbox)
}

/// Bytes of the scratch area from the state on, as the guest reads them, as far as pages are in use.
fn scratch(sandbox: &mut Sandbox, info: &BootInfo) -> Result<Vec<u8>> {
    let mut bytes = Vec::new();
    let len = info.copies.get() - info.scratch.get() + 0x10_0000;
    for at in (0..len).step_by(0x8000) {
        bytes.extend(peek(sandbox, info.scratch.get() + at, 0x8000)?);
    }
    Ok(bytes)
}

fn nothing_is_left() -> CheckResult {
    let mut sandbox = sandbox()?;
    let info = boot_info(&mut sandbox)?;
    let snapshot = sandbox.snapshot()?;
    // Not part of the program or of a message of this test, so that it is only where the guest writes it.
    let secret: Vec<u8> = iter::successors(Some(0x9du8), |byte| Some(byte.wrapping_mul(5).wrapping_add(1)))
        .take(32)
        .collect();
    let has_secret = |bytes: &[u8]| bytes.windows(secret.len()).any(|window| window == secret);
    for pages in [1u64, 20, 150] {
        sandbox.restore(&snapshot)?;
        for page in 0..pages {
            poke(&mut sandbox, free_pages(&info) + page * 0x1000 + 99, &secret)?;
        }
        // A page for copies that is not counted as used.
        let unused = info.copies.get() + info.copy_count.get() * 0x1000 - 0x1000;
        poke(&mut sandbox, unused, &secret)?;
        let found = scratch(&mut sandbox, &info)?;
        check(has_secret(&found), || {
            "the scratch area has not what the guest wrote".to_owned()
        })?;
        sandbox.restore(&snapshot)?;
        let found = scratch(&mut sandbox, &info)?;
        check(!has_secret(&found), || {
            format!("the secret of {pages} pages is left")
        })?;
        expect("an unused page", &peek(&mut sandbox, unused, 64)?, &vec![0; 64])?;
    }
    works(&mut sandbox)
}

/// Address of the entry of level 0 for `page`, and the entry.
fn entry(sandbox: &mut Sandbox, info: &BootInfo, page: u64) -> Result<(u64, u64)> {
    let mut table = info.outbox.get() + u64::from(info.window_len.get());
    let shifts: &[u32] = if cfg!(target_arch = "riscv64") {
        &[30, 21, 12]
    } else {
        &[39, 30, 21, 12]
    };
    let mut found = (0, 0);
    for shift in shifts {
        let at = table + (page >> shift & 0x1ff) * 8;
        let bytes = peek(sandbox, at, 8)?;
        let entry = u64::from_le_bytes(bytes.as_slice().try_into()?);
        found = (at, entry);
        table = if cfg!(target_arch = "riscv64") {
            entry >> 10 << 12
        } else {
            entry & 0xffff_ffff_f000
        };
    }
    Ok(found)
}

/// An entry that refers to another page.
fn with_address(entry: u64, page: u64) -> u64 {
    if cfg!(target_arch = "riscv64") {
        entry & 0x3ff | page >> 2
    } else {
        entry & !0xffff_ffff_f000 | page
    }
}

/// The entry that refers to a table.
fn table_entry(table: u64) -> u64 {
    if cfg!(target_arch = "riscv64") {
        table >> 2 | 1
    } else if cfg!(target_arch = "aarch64") {
        table | 3
    } else {
        table | 0x27
    }
}

/// The entry of a page that is writable.
fn writable(entry: u64) -> u64 {
    if cfg!(target_arch = "riscv64") {
        entry | 4
    } else if cfg!(target_arch = "aarch64") {
        entry & !0x80
    } else {
        entry | 2
    }
}

fn shared() -> CheckResult {
    let mut sandbox = sandbox()?;
    let info = boot_info(&mut sandbox)?;
    let page = free_pages(&info);
    poke(&mut sandbox, page, b"shared")?;
    let snapshot = sandbox.snapshot()?;
    let mut clone = with_increment(SandboxBuilder::from_snapshot(&snapshot)).build()?;
    // A neighbour, so that there is a table with entries of 4 KiB.
    poke(&mut clone, page + 0x1000, b"x")?;
    let (at, old) = entry(&mut clone, &info, page)?;
    poke(&mut clone, at, &writable(old).to_le_bytes())?;
    let crash = crash_of::<_, ()>(&mut clone, "poke", (page, b"hostile".as_slice()))?;
    check(crash.is_exit(), || format!("found {crash:?}"))?;
    for sandbox in [&mut sandbox, &mut clone] {
        sandbox.restore(&snapshot)?;
        expect("the page", &peek(sandbox, page, 8)?, &b"shared\0\0".to_vec())?;
        works(sandbox)?;
    }
    Ok(())
}

fn out_of_scratch() -> CheckResult {
    let mut sandbox = build(load()?.scratch(0x8_0000))?;
    let info = boot_info(&mut sandbox)?;
    let snapshot = sandbox.snapshot()?;
    for _ in 0..3 {
        let exits = sandbox.exits();
        let crash = crash_of::<_, u32>(&mut sandbox, "keep", (500u32,))?;
        let pages = info.copy_count.get();
        expect("kind", &crash.kind, &CrashKind::OutOfCopies { pages })?;
        expect("exits", &(sandbox.exits() - exits), &1)?;
        let text = crash.to_string();
        check(text.contains("SandboxBuilder::scratch"), || {
            format!("found {text:?}")
        })?;
        sandbox.restore(&snapshot)?;
        works(&mut sandbox)?;
        sandbox.restore(&snapshot)?;
    }
    Ok(())
}

fn hostile() -> CheckResult {
    let mut sandbox = sandbox()?;
    let info = boot_info(&mut sandbox)?;
    let page = free_pages(&info);
    let snapshot = sandbox.snapshot()?;
    let tables = info.outbox.get() + u64::from(info.window_len.get());
    for case in 0..4 {
        for at in 0..3 {
            poke(&mut sandbox, page + 0x1000 * at, b"x")?;
        }
        let (first, first_entry) = entry(&mut sandbox, &info, page)?;
        let (second, second_entry) = entry(&mut sandbox, &info, page + 0x1000)?;
        // Memory of the host, code, the copy of another page, and more circles than the tables are: entries of the root refer to it.
        let (address, values) = match case {
            0 => (second, vec![with_address(second_entry, layout::BOOT_INFO)]),
            1 => (second, vec![with_address(second_entry, layout::IMAGE)]),
            2 => (second, vec![first_entry]),
            _ => (tables + 8 * 300, vec![table_entry(tables); 100]),
        };
        check(first != second, || "one entry for two pages".to_owned())?;
        let bytes: Vec<u8> = values.into_iter().flat_map(u64::to_le_bytes).collect();
        poke(&mut sandbox, address, &bytes)?;
        let error = sandbox.snapshot().err();
        let is_expected = match (&error, case) {
            (Some(SnapshotError::PageTables(error)), 0 | 1) => {
                matches!(error, PageTableError::Elsewhere { .. })
            }
            (Some(SnapshotError::PageTables(error)), 2) => matches!(error, PageTableError::Twice { .. }),
            (Some(SnapshotError::PageTables(error)), _) => matches!(error, PageTableError::Walk(_)),
            _ => false,
        };
        check(is_expected, || format!("case {case}: found {error:?}"))?;
        sandbox.restore(&snapshot)?;
        works(&mut sandbox)?;
        sandbox.restore(&snapshot)?;
    }
    Ok(())
}

fn files() -> CheckResult {
    for (from, to) in [
        (CopyOnWrite::Guest, CopyOnWrite::Guest),
        (CopyOnWrite::Guest, CopyOnWrite::Host),
        (CopyOnWrite::Host, CopyOnWrite::Guest),
    ] {
        let mut sandbox = with_increment(load()?.copy_on_write(from)).build()?;
        count(&mut sandbox)?;
        let mut file = Vec::new();
        sandbox.snapshot()?.write_to(&mut file)?;
        let options = LoadOptions::default().with_copy_on_write(to);
        let loaded = Snapshot::read_from(Kvm, &file.as_slice(), options)?;
        let mut other = with_increment(SandboxBuilder::from_snapshot(&loaded)).build()?;
        for round in 0..3 {
            expect(&format!("round {round}"), &count(&mut other)?, &2)?;
            works(&mut other)?;
            other.restore(&loaded)?;
        }
    }
    Ok(())
}

fn large_heap() -> CheckResult {
    let mut sandbox = build(load()?.heap(64 << 20))?;
    let info = boot_info(&mut sandbox)?;
    let snapshot = sandbox.snapshot()?;
    for _ in 0..2 {
        // One page in each of 2 MiB.
        for at in (0..info.heap_len.get()).step_by(0x20_0000) {
            let address = info.heap.get() + at + 0x1_f000;
            poke(&mut sandbox, address, b"here")?;
            expect("bytes", &peek(&mut sandbox, address, 4)?, &b"here".to_vec())?;
        }
        let taken = sandbox.snapshot()?;
        sandbox.restore(&snapshot)?;
        sandbox.restore(&taken)?;
        let address = info.heap.get() + 0x1_f000 + 0x60_0000;
        expect(
            "bytes of the snapshot",
            &peek(&mut sandbox, address, 4)?,
            &b"here".to_vec(),
        )?;
        sandbox.restore(&snapshot)?;
        expect(
            "bytes of the first one",
            &peek(&mut sandbox, address, 4)?,
            &vec![0; 4],
        )?;
    }
    works(&mut sandbox)
}
