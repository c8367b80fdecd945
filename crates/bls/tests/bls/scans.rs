//! Scans of volumes.

use std::fmt::Write;

use bls::scan::{Scan, ScanConfig, Volume, VolumeKind, scan};
use bls::{Arch, Entry, Resource};
use boot_core::{ByteSource, SizedSource};
use disk::FileSystem;
use fmt_test::pe::{AMD64, ARM64, Pe, device_tree, uki};

use crate::invariants;
use crate::memory_fs::MemoryFs;

fn config() -> ScanConfig {
    ScanConfig::new(Arch::Aarch64)
}

fn scan_one(fs: &MemoryFs, config: &ScanConfig) -> Scan {
    scan_all(&[(VolumeKind::Esp, fs)], config)
}

fn scan_all(volumes: &[(VolumeKind, &MemoryFs)], config: &ScanConfig) -> Scan {
    let volumes = volumes.iter().map(|(kind, fs)| Volume {
        kind: *kind,
        file_system: *fs,
    });
    let volumes: Vec<Volume<'_>> = volumes.collect();
    let scan = scan(&volumes, config);
    invariants::check_scan(&scan, config);
    scan
}

/// Text of a resource.
fn text(fs: &MemoryFs, resource: &Resource) -> String {
    let window = resource.open(fs).unwrap();
    let mut bytes = vec![0; window.len().unwrap() as usize];
    window.read_exact_at(0, &mut bytes).unwrap();
    String::from_utf8_lossy(&bytes).into_owned()
}

/// Describes entries and warnings.
fn describe(scan: &Scan) -> String {
    let mut out = String::new();
    for entry in &scan.entries {
        describe_entry(&mut out, entry).unwrap();
    }
    for warning in &scan.warnings {
        writeln!(out, "! {warning}").unwrap();
    }
    out
}

fn describe_entry(out: &mut String, entry: &Entry) -> std::fmt::Result {
    writeln!(out, "{} on {}: {}", entry.id, entry.volume, entry.title)?;
    let keys = [
        ("version", &entry.version),
        ("sort-key", &entry.sort_key),
        ("machine", &entry.machine_id),
    ];
    for (name, value) in keys {
        if let Some(value) = value {
            writeln!(out, "  {name} {value}")?;
        }
    }
    let lists = [
        ("kernel", entry.kernel.as_slice()),
        ("initrd", &entry.initrds),
        ("tree", entry.device_tree.as_slice()),
        ("candidate", &entry.device_tree_candidates),
        ("overlay", &entry.overlays),
    ];
    for (name, resources) in lists {
        for resource in resources {
            writeln!(out, "  {name} {resource}")?;
        }
    }
    if let Some(efi) = &entry.efi {
        writeln!(out, "  efi {efi}")?;
    }
    if !entry.options.is_empty() {
        writeln!(out, "  options {}", entry.options)?;
    }
    Ok(())
}

#[track_caller]
fn compare(found: &str, expected: &str) {
    let lines = |text: &str| -> Vec<String> { text.lines().map(|line| line.trim().to_owned()).collect() };
    assert_eq!(lines(found), lines(expected), "{found}");
}

#[track_caller]
fn check(fs: &MemoryFs, config: &ScanConfig, expected: &str) {
    compare(&describe(&scan_one(fs, config)), expected);
}

fn entries(files: &[(&str, &str)]) -> MemoryFs {
    let fs = MemoryFs::new();
    files.iter().fold(fs, |fs, (name, text)| {
        fs.file(&format!("loader/entries/{name}"), text)
    })
}

#[test]
fn entries_of_type_1() {
    let fs = entries(&[
        (
            "a.conf",
            "title A\nversion 1\nsort-key k\nmachine-id 00112233445566778899aabbccddeeff\nlinux /k\ninitrd /i\ninitrd /j\noptions ro\ndevicetree /d\ndevicetree-overlay /o /p\nefi \\e.efi",
        ),
        ("b+0-3.CONF", "linux k\ndevicetree-overlay /o"),
        ("c.conf", "linux k\narchitecture x64"),
        ("d.conf", "efi e\narchitecture AA64"),
        ("e.conf.bak", "linux k"),
        ("f.conf/file", "linux k"),
        ("README", "linux k"),
    ]);
    let a = "a.conf on 0: A
         version 1
         sort-key k
         machine 00112233445566778899aabbccddeeff
         kernel /k
         initrd /i
         initrd /j
         tree /d
         overlay /o
         overlay /p
         efi /e.efi
         options ro";
    let b = "b.CONF on 0: b.CONF
         kernel /k
         ! volume 0: \"/loader/entries/b+0-3.CONF\": \"devicetree-overlay\" is ignored, as there is no \"devicetree\"";
    check(&fs, &config(), &format!("{a}\n{b}"));
    let mut efi = config();
    efi.has_efi = true;
    check(&fs, &efi, &format!("{a}\nd.conf on 0: d.conf\nefi /e\n{b}"));
}

#[test]
fn broken_files_are_warnings() {
    let fs = entries(&[
        ("a.conf", "linux /k\nlinus /l"),
        ("auto-b.conf", "linux /k"),
        ("c.conf", "title C"),
        ("d.conf", "linux \u{1}"),
        ("e.conf", "uki /none.efi"),
        ("f.conf", "uki /loader"),
        ("g.conf", "uki /loader/entries/a.conf"),
        ("h\n.conf", "linux /k"),
    ])
    .file("loader/loader.conf", "timeout soon")
    .file("EFI/Linux/a.efi", "#!/bin/sh")
    .file("EFI/Linux/b.efi", Pe::new(ARM64).section(".linux", "").build())
    .file("EFI/Linux/c.efi", &uki(ARM64).build()[..0x300])
    .file("EFI/Linux/d.efi", uki(AMD64).build());
    check(
        &fs,
        &config(),
        "a.conf on 0: a.conf
         kernel /k
         ! volume 0: \"/loader/entries/a.conf\": line 2: the key \"linus\" is unknown; the line is ignored
         ! volume 0: \"/loader/entries/auto-b.conf\": names that begin with \"auto-\" are reserved
         ! volume 0: \"/loader/entries/c.conf\": the entry has no program to boot: none of the keys \"linux\", \"uki\" and \"efi\"
         ! volume 0: \"/loader/entries/d.conf\": line 1: \"linux\": the path contains the control character '\\u{1}' at byte 0
         ! volume 0: \"/loader/entries/e.conf\": the file /none.efi of \"uki\" does not exist or is not a file
         ! volume 0: \"/loader/entries/f.conf\": the file /loader of \"uki\" does not exist or is not a file
         ! volume 0: \"/loader/entries/g.conf\": the file is not a unified kernel image: it is no PE file with a section \".linux\"
         ! volume 0: \"/loader/entries/h\\n.conf\": the file name contains '\\n' at byte 1
         ! volume 0: \"/EFI/Linux/a.efi\": the file is not a unified kernel image: it is no PE file with a section \".linux\"
         ! volume 0: \"/EFI/Linux/b.efi\": the section \".linux\" is absent or empty in the base of the image
         ! volume 0: \"/EFI/Linux/c.efi\": the PE headers end at 0x400, but the file has 0x300 bytes; is the file truncated?
         ! volume 0: \"/loader/loader.conf\": line 1: \"soon\" is no value for \"timeout\", expected seconds, \"menu-force\", \"menu-hidden\" or \"menu-disabled\"; the line is ignored",
    );
    check(&MemoryFs::new(), &config(), "");
    let broken = MemoryFs::new()
        .file("loader/entries", "a file")
        .file("EFI/Linux", "");
    check(&broken, &config(), "");
    let binary = MemoryFs::new().file("loader/loader.conf", b"default \xff");
    check(
        &binary,
        &config(),
        "! volume 0: \"/loader/loader.conf\": line 1 is not UTF-8 text from byte 9 on",
    );
}

#[test]
fn the_marker_file_excludes_other_entries() {
    let fs = || entries(&[("a.conf", "linux /k")]);
    let a = "a.conf on 0: a.conf\nkernel /k";
    check(&fs().file("loader/entries.srel", "type1\n"), &config(), a);
    check(
        &fs().file("loader/entries.srel", "grub\n"),
        &config(),
        "! volume 0: \"/loader/entries.srel\": the file contains \"grub\", not \"type1\": the files in /loader/entries are of another kind",
    );
}

#[test]
fn entries_of_type_2() {
    let image = uki(ARM64).section(".ucode", "microcode").section(".dtb", "tree");
    let profiles = Pe::new(ARM64)
        .section(".linux", "kernel")
        .section(".profile", "TITLE=Regular")
        .section(".profile", "ID=reset")
        .section(".cmdline", "reset");
    let fs = MemoryFs::new()
        .file("EFI/Linux/debian+3.efi", image.build())
        .file("EFI/Linux/many.EFI", profiles.build());
    let scan = scan_one(&fs, &config());
    compare(
        &describe(&scan),
        "debian.efi on 0: Debian 13
         version 13
         sort-key debian
         kernel .linux of /EFI/Linux/debian+3.efi
         initrd .ucode of /EFI/Linux/debian+3.efi
         initrd .initrd of /EFI/Linux/debian+3.efi
         tree .dtb of /EFI/Linux/debian+3.efi
         efi /EFI/Linux/debian+3.efi
         options root=/dev/vda1 quiet
         many.EFI on 0: many.EFI (Regular)
         kernel .linux of /EFI/Linux/many.EFI
         efi /EFI/Linux/many.EFI
         many.EFI@reset on 0: many.EFI (reset)
         kernel .linux of /EFI/Linux/many.EFI
         efi /EFI/Linux/many.EFI
         options reset",
    );
    let debian = &scan.entries[0];
    assert_eq!(text(&fs, debian.kernel.as_ref().unwrap()), "a kernel");
    let initrds: Vec<String> = debian.initrds.iter().map(|initrd| text(&fs, initrd)).collect();
    assert_eq!(initrds, ["microcode", "initrd one"]);
    assert_eq!(
        debian.efi_program().unwrap().to_efi(),
        "\\EFI\\Linux\\debian+3.efi"
    );
    assert_eq!(scan.entries[2].profile, Some(1));
}

#[test]
fn images_of_entries_of_type_1() {
    let profiles = uki(ARM64).section(".profile", "ID=a").section(".cmdline", "own");
    let fs = entries(&[
        ("a.conf", "title A\nuki /u.efi\nprofile a\ninitrd /i"),
        ("b.conf", "title B\nuki /u.efi\noptions ro\ndevicetree /d"),
        ("c.conf", "uki /u.efi\nprofile 7"),
        ("d.conf", "uki /x64.efi"),
        ("e.conf", "uki /u.efi\nlinux /k\nprofile 7"),
    ])
    .file("u.efi", profiles.section(".dtb", "tree").build())
    .file("x64.efi", uki(AMD64).build());
    let entry = |title: &str, more: &str, options: &str| {
        format!(
            "{}.conf on 0: {title}
             kernel .linux of /u.efi
             initrd .initrd of /u.efi
             {more}
             efi /u.efi
             options {options}",
            title.to_lowercase()
        )
    };
    let others = "e.conf on 0: e.conf\nkernel /k";
    let b = |options| entry("B", "tree /d", options);
    let a = entry("A", "initrd /i\ntree .dtb of /u.efi", "own");
    let warning =
        "! volume 0: \"/loader/entries/c.conf\": the image has no profile 7; it has 1, counted from 0";
    check(&fs, &config(), &format!("{others}\n{}\n{a}\n{warning}", b("ro")));
    // With Secure Boot, the command line of the image applies.
    let mut secure = config();
    secure.is_secure_boot = true;
    let ignored = "! volume 0: \"/loader/entries/b.conf\": \"options\" is ignored: with Secure Boot, the signed command line of the image applies";
    check(
        &fs,
        &secure,
        &format!("{others}\n{}\n{a}\n{ignored}\n{warning}", b("own")),
    );
}

#[test]
fn addons() {
    let addon = |cmdline: &str, name: &str| {
        let pe = Pe::new(ARM64).section(".cmdline", cmdline);
        let pe = pe
            .section(".ucode", format!("u-{name}"))
            .section(".initrd", format!("i-{name}"));
        pe.section(".dtb", name).build()
    };
    let fs = MemoryFs::new()
        .file("EFI/Linux/a+1.efi", uki(ARM64).section(".ucode", "u").build())
        .file("loader/addons/2.addon.efi", addon("two", "2"))
        .file("loader/addons/1.addon.EFI", addon("one", "1"))
        .file("loader/addons/3.addon.efi", uki(ARM64).build())
        .file(
            "loader/addons/4.addon.efi",
            Pe::new(AMD64).section(".cmdline", "x64").build(),
        )
        .file("loader/addons/5.efi", addon("no", "5"))
        .file("EFI/Linux/a+1.efi.extra.d/x.addon.efi", addon("own", "x"))
        .file("EFI/Linux/a.efi.extra.d/y.addon.efi", addon("", "y"))
        .file(
            "EFI/Linux/a.efi.extra.d/z.addon.efi",
            Pe::new(ARM64)
                .section(".cmdline", "old")
                .section(".uname", "6.1")
                .build(),
        );
    let scan = scan_one(&fs, &config());
    let entry = &scan.entries[0];
    assert_eq!(entry.options, "root=/dev/vda1 quiet one two own");
    let texts = |resources: &[Resource]| -> Vec<String> { resources.iter().map(|r| text(&fs, r)).collect() };
    assert_eq!(
        texts(&entry.initrds),
        [
            "u-y",
            "u-x",
            "u-2",
            "u-1",
            "u",
            "initrd one",
            "i-1",
            "i-2",
            "i-x",
            "i-y"
        ]
    );
    assert_eq!(texts(&entry.overlays), ["1", "2", "x", "y"]);
    let warnings: Vec<String> = scan.warnings.iter().map(ToString::to_string).collect();
    assert_eq!(
        warnings,
        [
            "volume 0: \"/loader/addons/3.addon.efi\": the addon has a section \".linux\", so it is a unified kernel image",
            "volume 0: \"/EFI/Linux/a.efi.extra.d/z.addon.efi\": the addon is for the kernel release \"6.1\", and the image has \"6.12.9-amd64\"",
        ]
    );
    let mut secure = config();
    secure.is_secure_boot = true;
    let scan = scan_one(&fs, &secure);
    assert_eq!(scan.entries[0].options, "root=/dev/vda1 quiet");
    assert_eq!(scan.entries[0].initrds.len(), 2);
    assert_eq!(scan.warnings.len(), 7);
    assert!(
        scan.warnings[0]
            .to_string()
            .ends_with("with Secure Boot, it would have to be verified")
    );
}

#[test]
fn several_volumes() {
    let conf = |default: &str| format!("default {default}");
    let esp =
        entries(&[("a.conf", "linux /esp"), ("c.conf", "linux /esp")]).file("loader/loader.conf", conf("a"));
    let boot = entries(&[("a.conf", "linux /boot"), ("b.conf", "linux /boot")])
        .file("loader/loader.conf", conf("b"));
    let scan = scan_all(
        &[(VolumeKind::Esp, &esp), (VolumeKind::Xbootldr, &boot)],
        &config(),
    );
    compare(
        &describe(&scan),
        "c.conf on 0: c.conf
         kernel /esp
         b.conf on 1: b.conf
         kernel /boot
         a.conf on 1: a.conf
         kernel /boot
         a.conf on 0: a.conf
         kernel /esp",
    );
    let attempts = |scan: &Scan| -> Vec<String> {
        scan.attempts()
            .map(|entry| format!("{}{}", entry.name.stem(), entry.volume))
            .collect()
    };
    assert_eq!(attempts(&scan), ["a1", "c0", "b1", "a0"]);
    let scan = scan_all(&[(VolumeKind::Xbootldr, &boot)], &config());
    assert_eq!(attempts(&scan), ["b0", "a0"]);
}

#[test]
fn limits() {
    let names: Vec<String> = (0..40).map(|n| format!("{n:02}.conf")).collect();
    let files: Vec<(&str, &str)> = names.iter().map(|name| (name.as_str(), "linux /k")).collect();
    let fs = entries(&files);
    let check = |change: fn(&mut ScanConfig), entries: usize, warning: &str| {
        let mut config = config();
        change(&mut config);
        let scan = scan_one(&fs, &config);
        assert_eq!(scan.entries.len(), entries);
        let warnings: Vec<String> = scan.warnings.iter().map(ToString::to_string).collect();
        assert!(warnings.iter().any(|found| found == warning), "{warnings:?}");
    };
    check(
        |config| config.max_entries = 3,
        3,
        "volume 0: \"/loader/entries/03.conf\": this entry and later ones are left out: there are more than 3",
    );
    check(
        |config| config.max_names = 7,
        7,
        "volume 0: \"/loader/entries\": the rest of the directory is left out: there are more than 7 names in all directories",
    );
    check(
        |config| config.max_text = 8 * 5 + 7,
        5,
        "volume 0: \"/loader/entries/05.conf\": the file is left out: there are more than 47 bytes of text in all files",
    );
    // Nine reads of 8 bytes count as 512 bytes each.
    let mut few_bytes = config();
    few_bytes.max_bytes = 9 * 512 + 8;
    let scan = scan_one(&fs, &few_bytes);
    assert_eq!((scan.entries.len(), scan.warnings.len()), (9, 31));
    let cause = scan.warnings[0].kind.to_string();
    assert_eq!(cause, "cannot read bytes 0x0..0x8");
    let mut config = config();
    (config.max_text, config.max_warnings) = (0, 2);
    assert_eq!(scan_one(&fs, &config).warnings.len(), 2);
}

/// Profiles and addons multiply: what they need counts for each entry.
#[test]
fn sections_count_in_the_limit_of_text() {
    let profiles = (0..100).fold(uki(ARM64), |pe, _| {
        pe.section(".dtbauto", "u").section(".profile", "ID=x")
    });
    let addon = (0..100).fold(Pe::new(ARM64), |pe, _| pe.section(".dtbauto", "i"));
    let fs = MemoryFs::new()
        .file("EFI/Linux/a.efi", profiles.build())
        .file("loader/addons/b.addon.efi", addon.build());
    let scan = scan_one(&fs, &config());
    assert_eq!((scan.entries.len(), scan.warnings.len()), (100, 0));
    assert_eq!(scan.entries[1].device_tree_candidates.len(), 101);
    let mut small = config();
    small.max_text = 100_000;
    let scan = scan_one(&fs, &small);
    assert!(
        scan.entries
            .iter()
            .map(|entry| entry.device_tree_candidates.len())
            .sum::<usize>()
            < 1300
    );
    assert!(scan.entries.len() > 5 && !scan.warnings.is_empty());
}

#[test]
fn broken_disks_are_warnings() {
    let fs = entries(&[("a.conf", "linux /k"), ("b.conf", "uki /u.efi")])
        .file("u.efi", uki(ARM64).build())
        .file("EFI/Linux/c.efi", uki(ARM64).build())
        .file("loader/loader.conf", "timeout 1");
    let mut whole = 0;
    for operations in 0..200 {
        let scan = scan_one(&fs.clone().failing_after(operations), &config());
        if scan.warnings.is_empty() {
            whole += 1;
            assert_eq!(scan.entries.len(), 3);
        }
    }
    assert!(whole > 0 && whole < 190, "{whole}");
}

#[test]
fn resources_are_opened() {
    let fs =
        entries(&[("a.conf", "linux /loader\ninitrd /none\ninitrd /loader/x/y")]).file("loader/x", "file");
    let scan = scan_one(&fs, &config());
    let entry = &scan.entries[0];
    let error = |resource: &Resource| resource.open(&fs).err().unwrap().to_string();
    assert_eq!(error(entry.kernel.as_ref().unwrap()), "/loader is not a file");
    assert_eq!(
        error(&entry.initrds[0]),
        "the file /none does not exist on the volume of its entry"
    );
    let image = MemoryFs::new().file("EFI/Linux/a.efi", uki(ARM64).build());
    let scan = scan_one(&image, &config());
    let kernel = scan.entries[0].kernel.clone().unwrap();
    let shorter = MemoryFs::new().file("EFI/Linux/a.efi", "short");
    let error = kernel.open(&shorter).err().unwrap();
    assert_eq!(error.to_string(), "the file /EFI/Linux/a.efi cannot be read");
    assert!(kernel.open(&image.failing_after(0)).is_err());
}

#[test]
fn device_trees_for_models() {
    let tree = |model: &[u8]| device_tree(&[("compatible", model)]);
    let image = uki(ARM64)
        .section(".dtb", tree(b"any\0"))
        .section(".dtbauto", tree(b"acme,one\0"))
        .section(".dtbauto", tree(b"acme,two\0"));
    let fs = MemoryFs::new()
        .file("EFI/Linux/a.efi", image.build())
        .file("EFI/Linux/b.efi", uki(ARM64).section(".dtbauto", "text").build());
    let scan = scan_one(&fs, &config());
    let of = |index: usize, model: &str| scan.entries[index].device_tree_for(&fs, model);
    let found = |model| {
        let resource = of(1, model).unwrap().unwrap();
        let window = resource.open(&fs).unwrap();
        bls::root_compatible(&SizedSource::new(&window).unwrap())
            .unwrap()
            .unwrap()
    };
    assert_eq!(
        ["acme,one", "acme,two", "acme,three"].map(found),
        ["acme,one", "acme,two", "any"]
    );
    let error = of(0, "x").unwrap_err();
    assert_eq!(
        error.to_string(),
        "the device tree in /EFI/Linux/b.efi is malformed"
    );
    assert!(fs.read_file("EFI/Linux/a.efi", 1 << 20).unwrap().is_some());
}
