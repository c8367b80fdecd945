//! Descriptors and mappings of the process.

use std::fs;

use libtest_mimic::Failed;

/// Shortest mapping without a file that is counted: smaller ones than guest memory come and go with the allocator.
const MIN_LEN: u64 = 8 << 20;

/// Number of descriptors, and of bytes that are mapped: of files that are not programs or libraries, and of memory without a file. Neighbours are one mapping to
/// the host, so their number says nothing.
fn count() -> (usize, u64) {
    let maps = fs::read_to_string("/proc/self/maps").unwrap();
    let len = maps.lines().filter_map(mapped_len).sum();
    (fs::read_dir("/proc/self/fd").unwrap().count(), len)
}

/// The length of a mapping that counts (proc(5), `/proc/pid/maps`).
fn mapped_len(line: &str) -> Option<u64> {
    let mut words = line.split_whitespace();
    let (start, end) = words.next()?.split_once('-')?;
    let address = |word| u64::from_str_radix(word, 16).ok();
    let len = address(end)? - address(start)?;
    // Permissions, offset, device and inode.
    let path = words.nth(4);
    let is_counted = path.map_or(len >= MIN_LEN, |path| {
        path.starts_with("/memfd:") || line.ends_with("(deleted)")
    });
    is_counted.then_some(len)
}

/// Runs `run` twice and compares what the process has after each. The first run also makes what stays, such as arenas of the allocator.
pub(crate) fn without_leak(run: fn() -> Result<(), Failed>) -> Result<(), Failed> {
    run()?;
    let before = count();
    run()?;
    let after = count();
    if before != after {
        return Err(format!("descriptors and mapped bytes: {before:?} before, {after:?} after").into());
    }
    Ok(())
}
