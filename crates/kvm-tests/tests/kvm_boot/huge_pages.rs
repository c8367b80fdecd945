//! Memory files on huge pages.

use std::error::Error;
use std::fs;

use super::case::TestResult;

/// The host's setting for memory files; the one in force is in brackets.
const SETTING: &str = "/sys/kernel/mm/transparent_hugepage/shmem_enabled";

/// Checks that a memory file is mapped with huge pages, if the host gives them to files that ask for them.
pub(crate) fn check_memory_files() -> TestResult {
    let mapped = mapped_kib()?;
    println!("{mapped} KiB of memory files are mapped with huge pages");
    if host_gives_them() && mapped == 0 {
        return Err("no memory file is mapped with huge pages".into());
    }
    Ok(())
}

/// False for kernels without huge pages, too.
fn host_gives_them() -> bool {
    let setting = fs::read_to_string(SETTING).unwrap_or_default();
    ["[always]", "[within_size]", "[advise]", "[force]"]
        .iter()
        .any(|given| setting.contains(given))
}

/// KiB of memory files and shared memory that this process has mapped with huge pages.
fn mapped_kib() -> Result<u64, Box<dyn Error>> {
    let maps = fs::read_to_string("/proc/self/smaps")?;
    let sizes = maps.lines().filter_map(|line| {
        let size = line.strip_prefix("ShmemPmdMapped:")?;
        size.trim().strip_suffix(" kB")
    });
    let sizes: Result<Vec<u64>, _> = sizes.map(str::parse).collect();
    Ok(sizes?.iter().sum())
}
