//! Order of entries, and the order in which they are tried.

use bls::Arch;
use bls::scan::{Scan, ScanConfig, Volume, VolumeKind, scan};

use crate::invariants;
use crate::memory_fs::MemoryFs;

/// Scans files `/loader/entries/NAME.conf` with these additional lines.
fn scan_files(files: &[(&str, &str)], loader_conf: &str) -> Scan {
    let fs = MemoryFs::new().file("loader/loader.conf", loader_conf);
    let fs = files.iter().fold(fs, |fs, (name, lines)| {
        fs.file(
            &format!("loader/entries/{name}.conf"),
            format!("linux /k\n{lines}"),
        )
    });
    let config = ScanConfig::new(Arch::X86_64);
    let volume = Volume {
        kind: VolumeKind::Esp,
        file_system: &fs,
    };
    let scan = scan(&[volume], &config);
    invariants::check_scan(&scan, &config);
    scan
}

/// Checks that entries are sorted in the given order, from all places in the directory.
#[track_caller]
fn check(sorted: &[(&str, &str)]) {
    let expected: Vec<String> = sorted.iter().map(|(name, _)| format!("{name}.conf")).collect();
    let scan = scan_files(sorted, "");
    let found: Vec<&str> = scan.entries.iter().map(|entry| entry.name.file_name()).collect();
    assert_eq!(found, expected);
}

#[test]
fn bad_entries_are_last() {
    check(&[("a+3-0", ""), ("a+0-1", "sort-key a")]);
    check(&[
        ("z+1", "sort-key z"),
        ("b", ""),
        ("a+2-9", ""),
        ("a+0-9", "sort-key a"),
        ("c+0", ""),
    ]);
    // Bad entries that differ only by counters are sorted by them, the higher number first.
    check(&[("a+0-10", ""), ("a+0-9", "")]);
}

#[test]
fn sort_keys_come_first() {
    check(&[("a", "sort-key b"), ("z", "sort-key c"), ("y", ""), ("x", "")]);
    check(&[("a", "sort-key B"), ("b", "sort-key a"), ("c", "sort-key ä")]);
    // A version or a machine ID alone is not used.
    check(&[("b", "version 1\nmachine-id 2"), ("a", "version 2\nmachine-id 1")]);
}

#[test]
fn machine_ids_and_versions_follow() {
    let key = |lines: &str| format!("sort-key a\n{lines}");
    let lines = [
        key("version 1"),
        key("machine-id 1\nversion 10"),
        key("machine-id 1\nversion 9"),
        key("machine-id 1\nversion 9~rc1"),
        key("machine-id 1"),
        key("machine-id 2\nversion 99"),
    ];
    let names = ["f", "a", "e", "b", "d", "c"];
    let sorted: Vec<(&str, &str)> = names.into_iter().zip(lines.iter().map(String::as_str)).collect();
    check(&sorted);
}

#[test]
fn names_are_last() {
    check(&[
        ("debian-6.12.10", ""),
        ("debian-6.12.9", ""),
        ("debian-6.12.9~rc1", ""),
        ("arch", ""),
    ]);
    check(&[("b", "sort-key a\nversion 1"), ("a", "sort-key a\nversion 1")]);
    // The suffix is removed: "a" ends before "a.1".
    check(&[("a.1", ""), ("a", "")]);
}

#[track_caller]
fn check_attempts(loader_conf: &str, files: &[&str], expected: &str) {
    let files: Vec<(&str, &str)> = files.iter().map(|name| (*name, "")).collect();
    let scan = scan_files(&files, loader_conf);
    let found: Vec<&str> = scan.attempts().map(|entry| entry.name.stem()).collect();
    assert_eq!(found.join(" "), expected);
}

#[test]
fn the_default_is_tried_first() {
    let files = ["debian-1", "debian-2", "debian-3+0-3", "fedora-9+2-1"];
    let check = |conf, expected| check_attempts(conf, &files, expected);
    check("", "fedora-9+2-1 debian-2 debian-1 debian-3+0-3");
    check("default debian-*", "debian-2 fedora-9+2-1 debian-1 debian-3+0-3");
    check(
        "default debian-*.conf",
        "debian-2 fedora-9+2-1 debian-1 debian-3+0-3",
    );
    check("default DEBIAN-1", "debian-1 fedora-9+2-1 debian-2 debian-3+0-3");
    // The identification has no counters.
    check(
        "default fedora-9.conf",
        "fedora-9+2-1 debian-2 debian-1 debian-3+0-3",
    );
    check(
        "default fedora-9+2-1.conf",
        "fedora-9+2-1 debian-2 debian-1 debian-3+0-3",
    );
    check(
        "default debian-[!2].conf",
        "debian-1 fedora-9+2-1 debian-2 debian-3+0-3",
    );
    // A default may be bad, a preferred entry may not.
    check("default debian-3", "debian-3+0-3 fedora-9+2-1 debian-2 debian-1");
    check(
        "preferred debian-3\ndefault debian-1",
        "debian-1 fedora-9+2-1 debian-2 debian-3+0-3",
    );
    check(
        "preferred debian-1\ndefault debian-2",
        "debian-1 fedora-9+2-1 debian-2 debian-3+0-3",
    );
    for conf in [
        "default nothing",
        "default [a]",
        "default @saved",
        "default [",
        "default",
    ] {
        check(conf, "fedora-9+2-1 debian-2 debian-1 debian-3+0-3");
    }
}
