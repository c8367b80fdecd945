//! Volumes that the crate `fatfs` writes.

use std::collections::BTreeMap;
use std::io::{Cursor, Write};

use disk::FileSystem;
use fatfs::{FatType, FormatVolumeOptions, FsOptions};
use fs_fat::{FatFs, FatKind};

use crate::image_writer::content;
use crate::invariants::check;

/// A volume of `len` bytes with many files, and their contents by path.
fn write(fat_type: FatType, len: usize, cluster: u32, sector: u16) -> (Vec<u8>, BTreeMap<String, Vec<u8>>) {
    let mut image = Cursor::new(vec![0; len]);
    let options = FormatVolumeOptions::new()
        .fat_type(fat_type)
        .bytes_per_cluster(cluster)
        .bytes_per_sector(sector)
        .volume_label(*b"FROM FATFS ")
        .volume_id(0xfeed_f00d);
    fatfs::format_volume(&mut image, options).unwrap();
    let mut files = BTreeMap::new();
    {
        let fs = fatfs::FileSystem::new(&mut image, FsOptions::new()).unwrap();
        let root = fs.root_dir();
        let mut directory = String::new();
        for depth in 0..6 {
            directory += if depth % 2 == 0 {
                "/a long directory name"
            } else {
                "/D"
            };
            root.create_dir(&directory).unwrap();
            for index in 0..12 {
                let path = match index % 3 {
                    0 => format!("{directory}/F{index}.BIN"),
                    1 => format!("{directory}/lower{index}.txt"),
                    _ => format!("{directory}/Ein langer Name mit Ümläuten und ☃ Nummer {index}.conf"),
                };
                let bytes = content((index * 377 + depth * 1000) % 7000);
                root.create_file(&path).unwrap().write_all(&bytes).unwrap();
                files.insert(path, bytes);
            }
        }
        // Two files that grow in turns are fragmented; removed ones leave unused entries.
        let mut writers: Vec<_> = ["/even.bin", "/odd.bin"]
            .map(|path| (path, root.create_file(path).unwrap()))
            .into();
        for round in 0..40 {
            for (path, file) in &mut writers {
                let bytes = vec![round; 700];
                file.write_all(&bytes).unwrap();
                files.entry((*path).to_owned()).or_default().extend(bytes);
            }
        }
        let removed: Vec<_> = files
            .keys()
            .filter(|path| path.ends_with("F3.BIN") || path.contains("Nummer 5"))
            .cloned()
            .collect();
        assert!(removed.len() > 8);
        for path in removed {
            root.remove(&path).unwrap();
            files.remove(&path);
        }
        root.create_file("/after.bin")
            .unwrap()
            .write_all(&content(9000))
            .unwrap();
        files.insert("/after.bin".to_owned(), content(9000));
    }
    (image.into_inner(), files)
}

#[test]
fn volumes_of_the_crate_fatfs_are_read() {
    let variants = [
        (FatType::Fat12, FatKind::Fat12, 1 << 20, 512, 512),
        (FatType::Fat12, FatKind::Fat12, 4 << 20, 4096, 4096),
        (FatType::Fat16, FatKind::Fat16, 8 << 20, 1024, 512),
        (FatType::Fat16, FatKind::Fat16, 20 << 20, 2048, 2048),
        (FatType::Fat32, FatKind::Fat32, 40 << 20, 512, 512),
    ];
    for (theirs, kind, len, cluster, sector) in variants {
        let (image, files) = write(theirs, len, cluster, sector);
        let fs = FatFs::new(&image).unwrap();
        assert_eq!(
            (
                fs.geometry().kind,
                fs.geometry().cluster_size,
                fs.geometry().sector_size
            ),
            (kind, cluster, sector.into())
        );
        let info = fs.info();
        assert_eq!(
            (info.label.as_deref(), info.uuid.as_deref()),
            (Some("FROM FATFS"), Some("FEED-F00D"))
        );
        for (path, bytes) in &files {
            assert!(
                fs.read_file(path, bytes.len()).unwrap().as_ref() == Some(bytes),
                "{path}"
            );
            assert!(
                fs.read_file(&path.to_uppercase(), bytes.len()).unwrap().as_ref() == Some(bytes),
                "{path}"
            );
        }
        // A walk finds the same files and no others.
        let found = check(&image, 0).unwrap();
        assert!(found.errors.is_empty(), "{:?}", found.errors);
        let found: BTreeMap<_, _> = found.files.into_iter().collect();
        let expected: BTreeMap<_, _> = files
            .iter()
            .map(|(path, bytes)| (path.clone(), bytes.len() as u64))
            .collect();
        // The limit of the depth is below that of the volume.
        for (path, len) in &found {
            assert_eq!(expected.get(path), Some(len), "{path}");
        }
        let shallow = expected
            .keys()
            .filter(|path| path.matches('/').count() <= 5)
            .count();
        assert_eq!(found.len(), shallow);
        let node = fs.lookup("/even.bin").unwrap().unwrap();
        let pieces = fs.open_file(&node).unwrap().extents().pieces().len();
        assert!(pieces > 5, "{pieces} pieces");
    }
}
