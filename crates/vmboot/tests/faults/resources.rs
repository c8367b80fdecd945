//! Descriptors and mappings of the process.

use std::fs;

use libtest_mimic::Failed;

/// Number of descriptors, and of mappings of files that are not programs or libraries, and of large memory without a file.
fn count() -> (usize, usize) {
    let maps = fs::read_to_string("/proc/self/maps").unwrap();
    let lines = maps
        .lines()
        .filter(|line| line.contains("memfd:") || line.contains("/tmp") || is_large(line));
    (fs::read_dir("/proc/self/fd").unwrap().count(), lines.count())
}

/// Whether a mapping without a file is as large as guest memory. Smaller ones come and go with the allocator.
fn is_large(line: &str) -> bool {
    let mut words = line.split_whitespace();
    let range = words.next().and_then(|range| range.split_once('-'));
    let address = |word: &str| u64::from_str_radix(word, 16).unwrap_or_default();
    let len = range.map_or(0, |(start, end)| address(end).saturating_sub(address(start)));
    // Without a file there are four more words.
    words.count() == 4 && len >= 8 << 20
}

/// Runs `run` twice and compares what the process has after each. The first run also makes what stays, such as arenas of the allocator.
pub(crate) fn without_leak(run: fn() -> Result<(), Failed>) -> Result<(), Failed> {
    run()?;
    let before = count();
    run()?;
    let after = count();
    if before != after {
        return Err(format!("descriptors and mappings: {before:?} before, {after:?} after").into());
    }
    Ok(())
}
