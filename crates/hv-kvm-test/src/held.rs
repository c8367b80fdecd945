//! Descriptors and mappings of the process.

use std::{fs, io};

#[cfg(target_os = "linux")]
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// Shortest mapping without a file that is counted: smaller ones than guest memory come and go with the allocator.
const MIN_LEN: u64 = 8 << 20;

/// What a process holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Held {
    /// Number of open descriptors.
    pub descriptors: usize,
    /// Bytes that are mapped and accessible: of files that are not programs or libraries, of vCPUs, and of memory without a file. Neighbours are one
    /// mapping to the host, so their number says nothing.
    pub mapped: u64,
}

impl Held {
    /// What the process holds now.
    ///
    /// # Errors
    ///
    /// `/proc` cannot be read.
    pub fn now() -> io::Result<Self> {
        let maps = fs::read_to_string("/proc/self/maps")?;
        Ok(Self {
            descriptors: fs::read_dir("/proc/self/fd")?.count(),
            mapped: maps.lines().filter_map(mapped_len).sum(),
        })
    }
}

/// Calls `work` while the process can open no descriptor, as after a program gave up its rights to open files.
///
/// # Errors
///
/// The limit of descriptors cannot be changed.
#[cfg(target_os = "linux")]
pub fn without_new_descriptors<T>(work: impl FnOnce() -> T) -> io::Result<T> {
    let limit = getrlimit(Resource::Nofile);
    // Open descriptors stay open.
    let none = Rlimit {
        current: Some(0),
        ..limit
    };
    setrlimit(Resource::Nofile, none)?;
    let result = work();
    setrlimit(Resource::Nofile, limit)?;
    Ok(result)
}

/// The length of a mapping that counts (proc(5), `/proc/pid/maps`).
fn mapped_len(line: &str) -> Option<u64> {
    let mut words = line.split_whitespace();
    let (start, end) = words.next()?.split_once('-')?;
    let address = |word| u64::from_str_radix(word, 16).ok();
    let len = address(end)? - address(start)?;
    let is_accessible = words.next()?.starts_with('r');
    // Offset, device and inode.
    let path = words.nth(3);
    let is_counted = path.map_or(len >= MIN_LEN && is_accessible, |path| {
        path.starts_with("/memfd:") || path.starts_with("anon_inode:") || line.ends_with("(deleted)")
    });
    is_counted.then_some(len)
}
