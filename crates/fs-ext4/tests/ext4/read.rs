//! Files, directories and symbolic links of a volume.

use disk::{DirPosition, FileSystem, FsError, NodeKind};
use fmt_test::CountingSource;
use fs_ext4::{Ext4Error, Ext4Fs, MAX_SYMLINKS};

use crate::image_writer::{Image, SUPERBLOCK, content, sample};
use crate::invariants::check;

#[test]
fn files_have_their_bytes() {
    let sample = sample();
    let fs = Ext4Fs::new(&sample.image.bytes).unwrap();
    for (path, expected) in &sample.files {
        let found = fs
            .read_file(path, 1 << 20)
            .unwrap()
            .unwrap_or_else(|| panic!("{path}"));
        assert!(found == *expected, "{path}: other bytes");
    }
    let found = check(&sample.image.bytes, 0).unwrap();
    assert!(found.errors.is_empty(), "{:?}", found.errors);
}

#[test]
fn a_file_is_one_read_for_each_piece() {
    let mut image = Image::new(0);
    let kernel = content(700 << 10, 5);
    image.dir(2, &[&[(2, 2, "."), (2, 2, ".."), (12, 1, "vmlinuz")]]);
    image.file(12, &kernel);
    let source = CountingSource::new(&image.bytes);
    let fs = Ext4Fs::new(&source).unwrap();
    let node = fs.lookup("/vmlinuz").unwrap().unwrap();
    assert!(source.reads() < 10);
    let file = fs.open(&node).unwrap();
    let before = source.reads();
    let mut bytes = vec![0; kernel.len()];
    file.read_exact_at(0, &mut bytes).unwrap();
    assert_eq!(source.reads() - before, 1);
    assert!(bytes == kernel);
}

#[test]
fn directories_list_what_links_lead_to() {
    let sample = sample();
    let fs = Ext4Fs::new(&sample.image.bytes).unwrap();
    let list = |path: &str| -> Vec<(String, NodeKind, u64)> {
        let entries = fs.list(path, 100).unwrap().unwrap();
        let entry = |(name, node): (String, disk::Node)| (name, node.kind, node.metadata.len);
        entries.into_iter().map(entry).collect()
    };
    let kernel = 9 * 1024 + 100;
    let expected = [
        ("loader", NodeKind::Directory, 0),
        ("vmlinuz", NodeKind::File, kernel),
        ("tree", NodeKind::File, 20 << 10),
        ("old", NodeKind::File, (300 << 10) + 1),
        ("link", NodeKind::File, 28),
        ("absolute", NodeKind::File, kernel),
        ("loop", NodeKind::Other, 0),
        ("lost", NodeKind::Other, 0),
        ("long", NodeKind::File, 28),
        ("null", NodeKind::Other, 0),
        ("empty", NodeKind::File, 0),
        ("unused", NodeKind::Other, 0),
        ("self", NodeKind::Directory, 0),
    ];
    assert_eq!(
        list("/"),
        expected.map(|(name, kind, len)| (name.to_owned(), kind, len))
    );
    let names: Vec<_> = list("/loader/entries")
        .into_iter()
        .map(|(name, ..)| name)
        .collect();
    assert_eq!(names, ["a.conf", "kernel"]);
}

#[test]
fn paths_lead_to_nodes() {
    let sample = sample();
    let fs = Ext4Fs::new(&sample.image.bytes).unwrap();
    let kind = |path: &str| fs.lookup(path).map(|node| node.map(|node| node.kind));
    for (path, expected) in [
        ("/", Some(NodeKind::Directory)),
        ("/self/again/again", Some(NodeKind::Directory)),
        ("/loader/Entries", None),
        ("/missing", None),
        ("/missing/file", None),
        ("/loop", Some(NodeKind::Other)),
        ("/lost", Some(NodeKind::Other)),
        ("/lost/file", None),
        ("/null", Some(NodeKind::Other)),
        ("/removed", None),
    ] {
        assert_eq!(kind(path).unwrap(), expected, "{path}");
    }
    let not_a_directory = |path: &str| match fs.lookup(path) {
        Err(FsError::NotADirectory { component }) => component.unwrap().into_string(),
        other => panic!("{path}: {other:?}"),
    };
    assert_eq!(not_a_directory("/vmlinuz/file"), "vmlinuz");
    assert!(matches!(fs.lookup("/loader/../vmlinuz"), Err(FsError::Path(_))));
}

#[test]
fn a_directory_continues_at_a_position() {
    let sample = sample();
    let fs = Ext4Fs::new(&sample.image.bytes).unwrap();
    let mut all = Vec::new();
    let mut position = DirPosition::START;
    loop {
        let mut next = None;
        fs.read_dir(&fs.root(), position, &mut |entry| {
            next = Some((entry.name.to_owned(), entry.next));
            core::ops::ControlFlow::Break(())
        })
        .unwrap();
        let Some((name, after)) = next else {
            break;
        };
        all.push(name);
        position = after;
    }
    let listed: Vec<_> = fs
        .list("/", 100)
        .unwrap()
        .unwrap()
        .into_iter()
        .map(|(name, _)| name)
        .collect();
    assert_eq!(all, listed);
}

#[test]
fn the_volume_has_its_properties() {
    let sample = sample();
    let fs = Ext4Fs::new(&sample.image.bytes).unwrap();
    let info = fs.info();
    assert_eq!((info.format, info.unit, info.capacity), ("ext4", 1024, 1 << 20));
    assert_eq!(info.label.as_deref(), Some("SAMPLE"));
    assert_eq!(info.uuid.as_deref(), Some("12121212-1212-1212-1212-121212121212"));
    let node = fs.lookup("/vmlinuz").unwrap().unwrap();
    let modified = node.metadata.modified.unwrap();
    assert_eq!(modified.to_string(), "2000-02-29 12:34:56");
}

#[test]
fn errors_name_field_and_place() {
    let check = |change: &dyn Fn(&mut Image), expected: &str| {
        let mut image = sample().image;
        change(&mut image);
        let error = Ext4Fs::new(&image.bytes).unwrap_err();
        assert_eq!(error.to_string(), expected);
    };
    check(
        &|image| image.put(SUPERBLOCK + 0x38, &[0, 0]),
        "the partition has no ext4 file system: s_magic at 0x438 is 0x0, expected 0xef53",
    );
    check(
        &|image| image.put(SUPERBLOCK + 0x18, &[7]),
        "s_log_block_size at 0x418 is 0x7, expected 0 to 6",
    );
    check(
        &|image| image.put(SUPERBLOCK + 0x58, &[0, 3]),
        "s_inode_size at 0x458 is 0x300, expected a power of two from 128 to the block size",
    );
    check(
        &|image| image.put(SUPERBLOCK + 0x60, &[0x43]),
        "the file system has the features 0x1 (s_feature_incompat at 0x460), which are not supported",
    );
    check(
        &|image| image.bytes.truncate(1 << 19),
        "the volume has 1048576 bytes (s_blocks_count), but the partition has 524288; is it truncated?",
    );
    let file_error = |change: &dyn Fn(&mut Image)| {
        let mut image = sample().image;
        change(&mut image);
        let fs = Ext4Fs::new(&image.bytes).unwrap();
        let error = fs.read_file("/vmlinuz", 1 << 20).unwrap_err();
        let source: &dyn std::error::Error = &error;
        source.source().unwrap().to_string()
    };
    let at = Image::inode_at(13);
    assert_eq!(
        file_error(&|image| image.put(at + 0x28 + 12 + 8, &[0xff, 0xff])),
        "inode 13: 3 blocks from 0xffff on are outside of the volume"
    );
    assert_eq!(
        file_error(&|image| image.put(at + 0x28 + 24, &[2])),
        "inode 13: the extent of block 0x2 of the file overlaps its predecessor"
    );
    assert_eq!(
        file_error(&|image| image.put(at + 0x20 + 1, &[8])),
        "inode 13: the file is encrypted, which is not supported"
    );
    assert!(matches!(
        Ext4Fs::new(&[0_u8; 100][..]),
        Err(Ext4Error::NotExt4 { found: 0 })
    ));
}

/// Found by the fuzz target `ext4`: a directory listed what a lookup did not find, because it did not count its own link.
#[test]
fn as_many_links_are_followed_in_lists_as_in_paths() {
    let names: Vec<String> = (0..20).map(|number| format!("link{number}")).collect();
    let mut entries = vec![(2, 2, "."), (2, 2, ".."), (12, 1, "file")];
    entries.extend(
        names
            .iter()
            .zip(20..)
            .map(|(name, inode)| (inode, 7, name.as_str())),
    );
    let mut image = Image::new(0);
    image.dir(2, &[&entries]);
    image.file(12, b"text");
    for number in 0..20 {
        let target = if number == 0 {
            "file".to_owned()
        } else {
            format!("link{}", number - 1)
        };
        image.link(20 + number, &target);
    }
    let fs = Ext4Fs::new(&image.bytes).unwrap();
    for (name, listed) in fs.list("/", 100).unwrap().unwrap() {
        let found = fs.lookup(&format!("/{name}")).unwrap().unwrap();
        assert_eq!(found.kind, listed.kind, "{name}");
        let number: Option<u32> = name.strip_prefix("link").and_then(|number| number.parse().ok());
        let is_followed = number.is_none_or(|number| number < MAX_SYMLINKS);
        assert_eq!(listed.kind == NodeKind::File, is_followed, "{name}");
    }
}
