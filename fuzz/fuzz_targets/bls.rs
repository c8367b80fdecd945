//! Texts, names, versions and patterns of boot loader entries.
//!
//! The input is split at lines of `%`: the first part is a pattern and a name, the second a list of versions, and the others are
//! files of a volume: a name, then the text.

#![no_main]

use bls::Arch;
use bls::scan::{ScanConfig, Volume, VolumeKind, scan};
use libfuzzer_sys::fuzz_target;

#[expect(dead_code, reason = "some functions are only for other targets and the tests")]
#[path = "../../crates/bls/tests/bls/invariants.rs"]
mod invariants;
#[expect(dead_code, reason = "some functions are only for the tests")]
#[path = "../../crates/bls/tests/bls/memory_fs.rs"]
mod memory_fs;

/// The longest list of versions: its check takes the cube of its length.
const MAX_VERSIONS: usize = 6;

fuzz_target!(|data: &[u8]| {
    invariants::check_text(data);
    let text = String::from_utf8_lossy(data);
    let mut parts = text.split("\n%\n");
    let (pattern, name) = parts
        .next()
        .and_then(|part| part.split_once('\n'))
        .unwrap_or_default();
    if name.len() <= 1024 {
        invariants::check_pattern(pattern, name);
        invariants::check_name(name);
    }
    let versions: Vec<&str> = parts
        .next()
        .unwrap_or_default()
        .lines()
        .take(MAX_VERSIONS)
        .collect();
    invariants::check_versions(&versions);

    let mut fs = memory_fs::MemoryFs::new();
    for part in parts {
        let (name, text) = part.split_once('\n').unwrap_or((part, ""));
        // A name with `/` is a path from the root.
        let path = if name.contains('/') {
            name.to_owned()
        } else {
            format!("loader/entries/{name}")
        };
        fs = fs.file(&path, text);
    }
    let mut config = ScanConfig::new(Arch::Aarch64);
    config.has_efi = true;
    config.max_entries = 16;
    let volume = Volume {
        kind: VolumeKind::Esp,
        file_system: &fs,
    };
    invariants::check_scan(&scan(&[volume], &config), &config);
});
