//! Boots of unified kernel images: sections, profiles and addons, and several initrds.

#[path = "hints/files.rs"]
#[expect(dead_code, reason = "shared with other tests")]
mod files;

use std::fs;
use std::path::Path;
use std::process::Command;

use files::{bzimage, pe_with, write};

/// The command line and the initrd of a plan.
fn plan(dir: &Path, args: &[&str]) -> (String, Vec<u8>) {
    let dump = tempfile::tempdir_in(dir).unwrap();
    let output = Command::new(env!("CARGO_BIN_EXE_vmboot"))
        .args(["plan", "--no-default-cmdline", "--dump"])
        .arg(dump.path())
        .args(args)
        .current_dir(dir)
        .output()
        .unwrap();
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{args:?}: {error}");
    let piece = |label: &str| {
        let mut entries = fs::read_dir(dump.path())
            .unwrap()
            .map(|entry| entry.unwrap().path());
        let path = entries.find(|path| path.to_str().unwrap().contains(label));
        path.map(|path| fs::read(path).unwrap()).unwrap_or_default()
    };
    let line = piece("command-line");
    let line = line.split(|byte| *byte == 0).next().unwrap_or_default();
    (String::from_utf8(line.to_vec()).unwrap(), piece("initrd"))
}

/// The files of the tests: an image with a base and two profiles, and addons.
fn files() -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    let uki = pe_with(&[
        (b".ucode", b"ucode"),
        (b".linux", &bzimage()),
        (b".initrd", b"base"),
        (b".cmdline", b"of base\n"),
        (b".uname", b"6.12"),
        (b".profile", b"ID=main\nTITLE=Main"),
        (b".profile", b"ID=debug"),
        (b".cmdline", b"of debug"),
        (b".initrd", b"other initrd"),
    ]);
    for (name, content) in [
        ("uki.efi", uki),
        (
            "one.addon.efi",
            pe_with(&[(b".cmdline", b"one"), (b".ucode", b"uc1")]),
        ),
        (
            "two.addon.efi",
            pe_with(&[(b".cmdline", b"two"), (b".initrd", b"more"), (b".ucode", b"uc2")]),
        ),
        (
            "other.addon.efi",
            pe_with(&[(b".cmdline", b"x"), (b".uname", b"6.1")]),
        ),
        (
            "own.addon.efi",
            pe_with(&[(b".cmdline", b"own"), (b".uname", b"6.12")]),
        ),
        ("bare", bzimage()),
        ("a", b"abcde".to_vec()),
        ("b", b"fgh".to_vec()),
    ] {
        write(dir.path(), name, &content);
    }
    dir
}

#[test]
fn sections_of_the_profile_are_booted() {
    let dir = files();
    let check = |args: &[&str], line: &str, initrd: &[u8]| {
        let args = [&["uki.efi"], args].concat();
        assert_eq!(
            plan(dir.path(), &args),
            (line.to_owned(), initrd.to_vec()),
            "{args:?}"
        );
    };
    check(&[], "of base", b"ucode\0\0\0base");
    check(&["--profile", "0"], "of base", b"ucode\0\0\0base");
    check(&["--profile", "main"], "of base", b"ucode\0\0\0base");
    check(&["--profile", "1"], "of debug", b"ucode\0\0\0other initrd");
    check(&["--profile", "debug"], "of debug", b"ucode\0\0\0other initrd");
    check(&["--cmdline", "mine"], "mine", b"ucode\0\0\0base");
    check(
        &["--initrd", "a", "--initrd", "b"],
        "of base",
        b"ucode\0\0\0baseabcde\0\0\0fgh",
    );
    // Microcode of addons is first, that of the last addon before the others.
    check(
        &["--addon", "one.addon.efi", "--addon", "two.addon.efi"],
        "of base one two",
        b"uc2\0uc1\0ucode\0\0\0basemore",
    );
    check(
        &["--addon", "own.addon.efi", "--cmdline", "mine"],
        "mine own",
        b"ucode\0\0\0base",
    );
}

/// `extract` writes all sections, and `inspect` lists them.
#[test]
fn sections_are_extracted() {
    let dir = tempfile::tempdir().unwrap();
    let image = pe_with(&[
        (b".linux", &bzimage()),
        (b".dtbauto", b"tree 0"),
        (b".dtbauto", b"tree 1"),
        (b".profile", b"ID=a"),
        (b".linux", b"another kernel"),
    ]);
    write(dir.path(), "uki.efi", &image);
    let run = |args: &[&str]| {
        let output = Command::new(env!("CARGO_BIN_EXE_vmboot"))
            .args(args)
            .current_dir(dir.path())
            .output()
            .unwrap();
        let error = String::from_utf8_lossy(&output.stderr).into_owned();
        (
            output.status.success(),
            String::from_utf8(output.stdout).unwrap(),
            error,
        )
    };
    let inspect = |args: &[&str]| run(&[&["inspect"], args].concat());
    // The kernel of profile 0 is none.
    let (is_opened, _, error) = inspect(&["uki.efi"]);
    assert!(!is_opened && error.contains("uki.efi"), "{error}");

    let image = pe_with(&[
        (b".linux", &bzimage()),
        (b".dtbauto", b"tree 0"),
        (b".dtbauto", b"tree 1"),
        (b".profile", b"ID=a"),
        (b".profile", b"ID=b"),
        (b".linux", b"another kernel"),
    ]);
    write(dir.path(), "uki.efi", &image);
    let (is_opened, text, error) = run(&["extract", "uki.efi", "out"]);
    assert!(is_opened, "{error}");
    assert!(text.contains("\nbase-dtbauto-1: .dtbauto: 6 B at 0x"), "{text}");
    let read = |name: &str| fs::read(dir.path().join("out").join(name)).unwrap();
    assert!(read("1-bzimage") == bzimage());
    assert_eq!(read("base-dtbauto-0"), b"tree 0");
    assert_eq!(read("base-dtbauto-1"), b"tree 1");
    assert_eq!(read("profile-0-profile"), b"ID=a");
    assert_eq!(read("profile-1-profile"), b"ID=b");
    assert_eq!(read("profile-1-linux"), b"another kernel");
    let (_, text, _) = inspect(&["uki.efi"]);
    assert!(
        text.contains("\nsection      .linux of profile 1: 14 B at 0x"),
        "{text}"
    );
    let (_, json, _) = inspect(&["--json", "uki.efi"]);
    let report: vmboot::report::InspectReport = serde_json::from_str(&json).unwrap();
    let files: Vec<_> = report
        .sections
        .iter()
        .map(|section| section.file.as_str())
        .collect();
    let expected = [
        "base-linux",
        "base-dtbauto-0",
        "base-dtbauto-1",
        "profile-0-profile",
        "profile-1-profile",
        "profile-1-linux",
    ];
    assert_eq!(files, expected);
}

#[test]
fn addons_for_other_kernels_are_refused() {
    let dir = files();
    let output = Command::new(env!("CARGO_BIN_EXE_vmboot"))
        .args(["plan", "uki.efi", "--addon", "other.addon.efi"])
        .current_dir(dir.path())
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert_eq!(
        String::from_utf8_lossy(&output.stderr),
        "error: other.addon.efi: the addon is for the kernel release \"6.1\", and the image has \"6.12\"\nhelp: omit it\n"
    );
}

#[test]
fn other_kernels_have_several_initrds() {
    let dir = files();
    let check = |initrds: &[&str], expected: &[u8]| {
        let args: Vec<&str> = initrds.iter().flat_map(|path| ["--initrd", *path]).collect();
        let (line, initrd) = plan(dir.path(), &[&["bare"], &args[..]].concat());
        assert_eq!((line.as_str(), &*initrd), ("", expected));
    };
    check(&[], b"");
    check(&["a"], b"abcde");
    check(&["b", "a"], b"fgh\0abcde");
    check(&["a", "a", "b"], b"abcde\0\0\0abcde\0\0\0fgh");
}

#[test]
fn directories_and_boot_configurations_follow_the_initrds() {
    let dir = files();
    write(dir.path(), "config", b"kernel.loglevel = 3");
    let (line, initrd) = plan(
        dir.path(),
        &[
            "bare",
            "--initrd",
            "a",
            "--bootconfig",
            "config",
            "--cmdline",
            "quiet -- x",
        ],
    );
    assert_eq!(line, "bootconfig quiet -- x");
    let expected = b"abcde\0\0\0kernel.loglevel = 3\0\x14\0\0\0\xb9\x06\0\0#BOOTCONFIG\n";
    assert_eq!(initrd, expected);
    let (line, _) = plan(
        dir.path(),
        &["bare", "--bootconfig", "config", "--cmdline", "a bootconfig"],
    );
    assert_eq!(line, "a bootconfig");

    let root = dir.path().join("root");
    fs::create_dir(&root).unwrap();
    write(&root, "init", b"#!/bin/sh\n");
    let (_, initrd) = plan(dir.path(), &["bare", "--initrd-dir", "root", "--initrd", "b"]);
    assert!(initrd.starts_with(b"fgh\x00070701"), "{initrd:x?}");
    assert!(initrd.windows(10).any(|bytes| bytes == b"#!/bin/sh\n"));
}
