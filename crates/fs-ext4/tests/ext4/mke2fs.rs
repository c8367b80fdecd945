//! Volumes of mke2fs, and the crate `ext4-view` beside this one.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use disk::{FileSystem, NodeKind};
use ext4_view::{Ext4, FileType};
use fs_ext4::Ext4Fs;

use crate::image_writer::{Image, content, sample};
use crate::invariants::check;

/// A directory that is removed at the end.
struct Temporary(PathBuf);

impl Temporary {
    fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("fs-ext4-{name}-{}", std::process::id()));
        let _ = fs::remove_dir_all(&path);
        fs::create_dir_all(&path).unwrap();
        Self(path)
    }
}

impl Drop for Temporary {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// Files by path, as `ext4-view` reads them.
fn with_ext4_view(image: &[u8]) -> BTreeMap<String, Vec<u8>> {
    let fs = Ext4::load(Box::new(image.to_vec())).unwrap();
    let mut files = BTreeMap::new();
    let mut directories = vec![String::from("/")];
    while let Some(directory) = directories.pop() {
        // The type of an entry may be wrong.
        let Ok(entries) = fs.read_dir(directory.as_str()) else {
            continue;
        };
        for entry in entries {
            let entry = entry.unwrap();
            let name = entry.file_name().as_str().unwrap().to_owned();
            if name == "." || name == ".." {
                continue;
            }
            let path = format!("{}/{name}", directory.trim_end_matches('/'));
            match entry.file_type().unwrap() {
                FileType::Directory => directories.push(path),
                FileType::Regular | FileType::Symlink => {
                    if let Ok(bytes) = fs.read(path.as_str()) {
                        files.insert(path, bytes);
                    }
                }
                _ => {}
            }
        }
    }
    files
}

/// The same as this crate reads them.
fn with_fs_ext4(image: &[u8]) -> BTreeMap<String, Vec<u8>> {
    let fs = Ext4Fs::new(image).unwrap();
    let mut files = BTreeMap::new();
    let mut directories = vec![(String::new(), fs.root())];
    while let Some((path, directory)) = directories.pop() {
        fs.read_dir(&directory, disk::DirPosition::START, &mut |entry| {
            let path = format!("{path}/{}", entry.name);
            match entry.node.kind {
                NodeKind::Directory => directories.push((path, entry.node)),
                NodeKind::File => {
                    let source = fs.open(&entry.node).unwrap();
                    let mut bytes = vec![0; usize::try_from(source.len().unwrap()).unwrap()];
                    source.read_exact_at(0, &mut bytes).unwrap();
                    files.insert(path, bytes);
                }
                _ => {}
            }
            core::ops::ControlFlow::Continue(())
        })
        .unwrap();
    }
    files
}

#[test]
fn ext4_view_reads_the_samples_alike() {
    let mut image = sample().image;
    // The directory that contains itself has no end.
    image.put(Image::inode_at(64), &0x21b6_u16.to_le_bytes());
    // ext4-view 1.0 reads extents without data as if they had some; a hole has the same bytes.
    image.put(Image::inode_at(13) + 0x28 + 2, &[2]);
    let bytes = image.bytes;
    let (ours, theirs) = (with_fs_ext4(&bytes), with_ext4_view(&bytes));
    assert!(theirs.len() >= 6);
    for (path, bytes) in theirs {
        assert!(ours.get(&path) == Some(&bytes), "{path}");
    }
}

/// Writes a tree of files below `directory`.
fn write_tree(directory: &Path) {
    let entries = directory.join("loader/entries");
    fs::create_dir_all(&entries).unwrap();
    fs::write(directory.join("vmlinuz"), content(3 << 20, 1)).unwrap();
    // A directory with several blocks, and so with a hash tree.
    for number in 0..400 {
        let name = format!("entry with a name that is not short, number {number}.conf");
        fs::write(entries.join(name), content(number * 11, number as u32)).unwrap();
    }
    std::os::unix::fs::symlink("vmlinuz", directory.join("kernel")).unwrap();
    std::os::unix::fs::symlink("/loader/entries", directory.join("entries")).unwrap();
    std::os::unix::fs::symlink(
        "loader/./entries/".to_owned() + &"./".repeat(60),
        directory.join("long"),
    )
    .unwrap();
    let sparse = fs::File::create(directory.join("sparse")).unwrap();
    sparse.set_len(5 << 20).unwrap();
    std::os::unix::fs::FileExt::write_all_at(&sparse, b"end", (5 << 20) - 3).unwrap();
}

#[test]
fn volumes_of_mke2fs_are_read() {
    let program = [
        "/sbin/mke2fs",
        "/usr/sbin/mke2fs",
        "/usr/bin/mke2fs",
        "/opt/homebrew/sbin/mke2fs",
    ];
    let Some(program) = program.iter().map(Path::new).find(|path| path.exists()) else {
        println!("skipped: there is no mke2fs");
        return;
    };
    let temporary = Temporary::new("mke2fs");
    let tree = temporary.0.join("tree");
    write_tree(&tree);
    for (number, args) in [
        &["-t", "ext4"][..],
        &["-t", "ext4", "-b", "1024"],
        &[
            "-t",
            "ext4",
            "-b",
            "1024",
            "-O",
            "meta_bg,^resize_inode",
            "-g",
            "2048",
        ],
        &["-t", "ext4", "-O", "^64bit,^metadata_csum", "-I", "128"],
        &["-t", "ext4", "-b", "2048", "-O", "^extents,^64bit"],
        &["-t", "ext2", "-b", "1024"],
        &["-t", "ext3"],
        &["-t", "ext4", "-O", "bigalloc", "-C", "16384"],
    ]
    .into_iter()
    .enumerate()
    {
        let image = temporary.0.join(format!("{number}.img"));
        let output = Command::new(program)
            .args(["-q", "-F"])
            .args(args)
            .args(["-E", "root_owner=0:0", "-d"])
            .arg(&tree)
            .arg(&image)
            .arg("24M")
            .output()
            .unwrap();
        assert!(
            output.status.success(),
            "{args:?}: {}",
            String::from_utf8_lossy(&output.stderr)
        );
        let bytes = fs::read(&image).unwrap();
        let fs = Ext4Fs::new(&bytes).unwrap_or_else(|error| panic!("{args:?}: {error}"));
        let read = |path: &str| {
            fs.read_file(path, 8 << 20)
                .unwrap()
                .unwrap_or_else(|| panic!("{args:?}: no {path}"))
        };
        assert!(read("/vmlinuz") == content(3 << 20, 1), "{args:?}");
        assert!(read("/kernel") == content(3 << 20, 1), "{args:?}");
        let sparse = read("/sparse");
        assert!(sparse.ends_with(b"\0end") && sparse.len() == 5 << 20, "{args:?}");
        for directory in ["/loader/entries", "/entries", "/long"] {
            let entries = fs.list(directory, 1000).unwrap().unwrap();
            assert_eq!(entries.len(), 400, "{args:?} {directory}");
            let path = format!("{directory}/entry with a name that is not short, number 399.conf");
            assert!(read(&path) == content(399 * 11, 399), "{args:?} {path}");
        }
        let found = check(&bytes, 0).unwrap();
        assert!(found.errors.is_empty(), "{args:?}: {:?}", found.errors);
    }
}
