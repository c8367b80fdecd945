//! Directories and names.

use std::ops::ControlFlow;

use disk::{Attributes, DirPosition, FileSystem, FsError, Node, NodeId, NodeKind, PathError};
use fs_fat::raw::LongNameEntry;
use fs_fat::{FatFs, FatKind};
use zerocopy::IntoBytes;

use crate::image_writer::{DIRECTORY, Image, Options, long_name, long_name_units, sample};
use crate::invariants;

/// Names of the root directory, and the short name by which each is found, too.
fn names(image: &Image) -> Vec<String> {
    invariants::check(&image.bytes, 0).unwrap();
    let fs = FatFs::new(&image.bytes).unwrap();
    fs.list("/", 1000)
        .unwrap()
        .unwrap()
        .into_iter()
        .map(|(name, _)| name)
        .collect()
}

/// The root directory has these parts of a long name before the file `SHORT~1.TXT`.
fn check_parts(parts: &[LongNameEntry], expected: &str) {
    for kind in [FatKind::Fat12, FatKind::Fat32] {
        let mut image = Image::with(&Options {
            sectors_per_cluster: 4,
            ..Options::new(kind)
        });
        let root = image.root();
        for part in parts {
            image.put(root, part.as_bytes());
        }
        image.add(root, (SHORT, ""), 0x20, 0, 0);
        assert_eq!(names(&image), [expected]);
        let fs = FatFs::new(&image.bytes).unwrap();
        assert!(fs.lookup("short~1.txt").unwrap().is_some(), "the short name");
        assert!(fs.lookup("short~1").unwrap().is_none());
    }
}

const SHORT: &[u8; 11] = b"SHORT~1 TXT";

#[test]
fn long_names_are_read() {
    let long = "x".repeat(255);
    let full = "exactly 26 characters long";
    for name in [
        "a",
        "ein langer Name.txt",
        "Größe 🥾 ☃",
        "trailing dots..",
        ".hidden",
        "thirteen char",
        full,
        &long,
    ] {
        check_parts(&long_name(name, SHORT), name);
    }
    // An unpaired surrogate.
    check_parts(
        &long_name_units(&mut vec![0x61, 0xd800, 0x62], SHORT),
        "a\u{fffd}b",
    );
}

#[test]
fn orphans_of_long_names_are_ignored() {
    let name = "a name of forty characters, in 4 entries";
    let parts = long_name(name, SHORT);
    assert_eq!(parts.len(), 4);
    check_parts(&parts, name);
    let check = |change: &dyn Fn(&mut Vec<LongNameEntry>)| {
        let mut parts = parts.clone();
        change(&mut parts);
        check_parts(&parts, "SHORT~1.TXT");
    };
    for missing in 0..4 {
        check(&|parts| {
            parts.remove(missing);
        });
        check(&|parts| parts[missing].chksum ^= 1);
        check(&|parts| parts[missing].ord ^= 0x08);
        check(&|parts| parts[missing].ord = 0);
    }
    check(&|parts| parts[0].ord ^= 0x40);
    check(&|parts| parts.swap(1, 2));
    check(&|parts| parts.insert(2, parts[2]));
    check(&|parts| parts[0].ord = 0x40 + 21);
    check(&|parts| parts.iter_mut().for_each(|part| part.chksum = 7));
    check(&|parts| parts.reverse());
    check(&|parts| parts.push(parts[0]));
    // A shorter name begins with any part that is marked as the last one.
    let mut shorter = parts.clone();
    shorter[1].ord |= 0x40;
    check_parts(&shorter, &name[..39]);
    // A complete name after an incomplete one is no orphan.
    let mut two = parts[..3].to_vec();
    two.extend(&parts);
    check_parts(&two, name);
    // A name of 256 units or more; 20 parts have room for 260.
    check_parts(&long_name(&"x".repeat(256), SHORT), "SHORT~1.TXT");
    check_parts(&long_name(&"x".repeat(261), SHORT), "SHORT~1.TXT");
}

#[test]
fn unused_entries_and_labels_separate_names() {
    let name = "a long name.txt";
    for between in [
        [0xe5; 32],
        *b"LABEL      \x08\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0",
    ] {
        let mut image = Image::new(FatKind::Fat12);
        for part in long_name(name, SHORT) {
            image.put(&[], part.as_bytes());
        }
        image.put(&[], &between);
        image.add(&[], (SHORT, ""), 0x20, 0, 0);
        assert_eq!(names(&image), ["SHORT~1.TXT"]);
    }
}

#[test]
fn illegal_long_names_are_ignored() {
    let names = [
        "",
        ".",
        "..",
        "...",
        " ",
        ". .",
        "a/b",
        "a\\b",
        "../../etc/passwd",
        "a\nb",
        "a:b",
        "a*",
        "a?",
        "a|b",
        "a<b",
        "a>b",
        "a\"b",
    ];
    for name in names {
        check_parts(&long_name(name, SHORT), "SHORT~1.TXT");
    }
    check_parts(&long_name_units(&mut vec![0, 0x61], SHORT), "SHORT~1.TXT");
}

#[test]
fn short_names_without_characters_are_skipped() {
    let mut image = Image::new(FatKind::Fat12);
    for name in [b"           ", b".HIDDEN    ", b"..HIDDEN   ", b"A/B     \\C "] {
        image.add(&[], (name, ""), 0x20, 0, 0);
    }
    assert_eq!(names(&image), ["A\u{fffd}B.\u{fffd}C"]);
}

/// Found by the fuzzer: an empty base and the extension `.` were the name `..`.
#[test]
fn extensions_of_dots_are_no_parent_directory() {
    for (short, long) in [
        (b"        .  ", ""),
        (b"        .  ", "a long name"),
        (b"  .     ...", ""),
    ] {
        let mut image = Image::new(FatKind::Fat32);
        image.add(&[2], (short, long), 0x20, 0, 0);
        let expected: &[&str] = if long.is_empty() { &[] } else { &[long] };
        assert_eq!(names(&image), expected);
    }
}

#[test]
fn names_are_found_without_regard_to_case() {
    let (image, _) = sample(FatKind::Fat16);
    let fs = FatFs::new(&image.bytes).unwrap();
    let check = |path: &str, expected: Option<NodeKind>| {
        assert_eq!(fs.lookup(path).unwrap().map(|node| node.kind), expected, "{path}");
    };
    check("/", Some(NodeKind::Directory));
    check("", Some(NodeKind::Directory));
    check("/efi/Boot/bootX64.efi", Some(NodeKind::File));
    check("EFI//BOOT/./BOOTX64.EFI/", Some(NodeKind::File));
    check("/loader/ENTRIES/GRÖSSE VON 🥾 & MEHR.CONF", None);
    check("/loader/ENTRIES/GRÖßE VON 🥾 & MEHR.CONF", Some(NodeKind::File));
    check("/loader/entries/gre~1.con", Some(NodeKind::File));
    check("/efi/boot/bootaa64.efi", None);
    check("/none/boot", None);
    check("/MY ESP", None);
    let refused = |path: &str, expected: &str| {
        assert_eq!(fs.lookup(path).unwrap_err().to_string(), expected);
        assert_eq!(fs.read_file(path, 0).unwrap_err().to_string(), expected);
        assert_eq!(fs.list(path, 1).unwrap_err().to_string(), expected);
    };
    refused("/empty/x", "\"empty\" in the path is not a directory");
    refused(
        "/efi/../efi",
        "the path has a component \"..\"; paths begin at the root",
    );
    refused(
        "\\efi",
        "the path has '\\\\' at byte 0; components are separated by '/'",
    );
    assert!(matches!(
        fs.lookup(&"a".repeat(5000)),
        Err(FsError::Path(PathError::TooLong { len: 5000 }))
    ));
    assert_eq!(
        fs.list("/efi/boot/bootx64.efi", 1).unwrap_err().to_string(),
        "the file is not a directory"
    );
    assert_eq!(
        fs.read_file("/efi", 100).unwrap_err().to_string(),
        "the path does not lead to a regular file"
    );
    assert!(fs.list("/none", 1).unwrap().is_none() && fs.read_file("none", 1).unwrap().is_none());
    assert_eq!(fs.list("/", 2).unwrap().unwrap().len(), 2);
    assert_eq!(fs.list("/", 0).unwrap().unwrap().len(), 0);
}

#[test]
fn entries_have_metadata() {
    let (image, places) = sample(FatKind::Fat32);
    let fs = FatFs::new(&image.bytes).unwrap();
    let file = fs.lookup("/efi/boot/bootx64.efi").unwrap().unwrap();
    assert_eq!(
        (file.metadata.len, file.metadata.attributes),
        (2637, Attributes::ARCHIVE)
    );
    assert_eq!(file.metadata.modified.unwrap().to_string(), "2024-02-29 12:34:56");
    assert_eq!((file.metadata.created, file.metadata.accessed), (None, None));
    assert_eq!(file.id, NodeId(places.entries[2] as u64, 20));
    assert!(file.is_file() && !file.is_directory());
    let efi = fs.lookup("/efi").unwrap().unwrap();
    assert_eq!(
        (efi.metadata.len, efi.metadata.attributes),
        (0, Attributes::DIRECTORY)
    );
    assert_eq!(fs.root().metadata.attributes, Attributes::DIRECTORY);
    // All attributes, and a length in the entry of a directory.
    let mut image = Image::new(FatKind::Fat12);
    image.add(&[], (b"A          ", ""), 0x27, 0, 0);
    image.add(&[], (b"D          ", ""), DIRECTORY, 5, 77);
    let fs = FatFs::new(&image.bytes).unwrap();
    let all = Attributes::READ_ONLY | Attributes::HIDDEN | Attributes::SYSTEM | Attributes::ARCHIVE;
    assert_eq!(fs.lookup("a").unwrap().unwrap().metadata.attributes, all);
    assert_eq!(fs.lookup("d").unwrap().unwrap().metadata.len, 0);
    // The high half of the first cluster belongs to FAT32 alone.
    let at = image.add_file(&[], (b"B          ", ""), &[20], b"x");
    image.bytes[at + 20..at + 22].fill(0xff);
    assert_eq!(
        FatFs::new(&image.bytes)
            .unwrap()
            .read_file("b", 9)
            .unwrap()
            .unwrap(),
        b"x"
    );
}

#[test]
fn directories_are_read_from_any_entry() {
    for kind in [FatKind::Fat12, FatKind::Fat32] {
        let mut image = Image::new(kind);
        let root = image.root();
        image.add_dir(root, (b"DIR        ", ""), &[9, 5, 20, 7]);
        let mut expected = Vec::new();
        for index in 0..25_u8 {
            let name = format!("a long name, {index:02}");
            let short = [
                b'A' + index,
                b'~',
                b'1',
                b' ',
                b' ',
                b' ',
                b' ',
                b' ',
                b' ',
                b' ',
                b' ',
            ];
            image.add(
                &[9, 5, 20, 7],
                (&short, if index % 3 == 0 { "" } else { &name }),
                0x20,
                0,
                0,
            );
            expected.push(if index % 3 == 0 {
                format!("{}~1", char::from(b'A' + index))
            } else {
                name
            });
        }
        let fs = FatFs::new(&image.bytes).unwrap();
        let dir = fs.lookup("dir").unwrap().unwrap();
        let mut position = DirPosition::START;
        for name in &expected {
            let mut found = None;
            fs.read_dir(&dir, position, &mut |entry| {
                found = Some(entry.name.to_owned());
                position = entry.next;
                ControlFlow::Break(())
            })
            .unwrap();
            assert_eq!(found.as_ref(), Some(name));
        }
        // After the last entry, and positions that are none.
        for position in [position, DirPosition(1 << 40), DirPosition(u64::MAX)] {
            fs.read_dir(&dir, position, &mut |_| panic!("no entry")).unwrap();
        }
        let mut count = 0;
        fs.read_dir(&dir, DirPosition(33), &mut |_| {
            count += 1;
            ControlFlow::Continue(())
        })
        .unwrap();
        assert_eq!(count, 25);
    }
}

/// Nodes of other file systems are errors, not faults.
#[test]
fn forged_nodes_are_no_fault() {
    let (image, _) = sample(FatKind::Fat32);
    let fs = FatFs::new(&image.bytes).unwrap();
    for kind in [NodeKind::File, NodeKind::Directory, NodeKind::Other] {
        for id in [
            NodeId(0, 0),
            NodeId(1, u64::MAX),
            NodeId(u64::MAX, 1),
            NodeId(7, 0xffff_ffff),
        ] {
            let mut node = Node {
                kind,
                metadata: fs.root().metadata,
                id,
            };
            node.metadata.len = 1;
            assert!(fs.open(&node).is_err());
            assert!(
                fs.read_dir(&node, DirPosition::START, &mut |_| ControlFlow::Continue(()))
                    .is_err()
            );
        }
    }
}
