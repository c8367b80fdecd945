//! Chains of clusters.

use std::cell::RefCell;

use disk::{ByteSource, FileSystem, FsError, ReadError, ReadErrorKind};
use fs_fat::{ChainDefect, FatError, FatFs, FatKind, MAX_PIECES};

use crate::image_writer::{DIRECTORY, FRAGMENTS, Image, Options, content, sample};
use crate::invariants;

const KINDS: [FatKind; 3] = [FatKind::Fat12, FatKind::Fat16, FatKind::Fat32];

/// The path ends in a chain with this defect: offset of the entry, first cluster, cluster, defect.
fn check(image: &Image, path: &str, expected: (Option<usize>, u32, u32, ChainDefect)) {
    let fs = FatFs::new(&image.bytes).unwrap();
    let error = fs.read_file(path, usize::MAX).unwrap_err();
    let (FsError::Malformed(error) | FsError::Unsupported(error)) = error else {
        panic!("{error}")
    };
    let FatError::Chain {
        entry,
        first,
        cluster,
        defect,
        ..
    } = error.downcast_ref().unwrap()
    else {
        panic!("{error}")
    };
    let found = (entry.map(|entry| entry as usize), *first, *cluster, *defect);
    assert_eq!(found, expected);
    invariants::check(&image.bytes, 0).unwrap();
}

#[test]
fn broken_chains_are_errors() {
    const LEN: u64 = 512 * 5 + 77;
    for kind in KINDS {
        let broken = |cluster, value, found, defect| {
            let (mut image, places) = sample(kind);
            image.link(cluster, value);
            check(
                &image,
                "/EFI/BOOT/BOOTX64.EFI",
                (Some(places.entries[2]), 20, found, defect),
            );
        };
        let max = if kind == FatKind::Fat16 { 4086 } else { 81 };
        let end = Image::new(kind).end();
        broken(21, 0, 21, ChainDefect::Free);
        broken(41, 0, 41, ChainDefect::Free);
        broken(21, end - 8, 21, ChainDefect::Bad);
        broken(21, 1, 1, ChainDefect::NoCluster { max });
        broken(21, max + 1, max + 1, ChainDefect::NoCluster { max });
        broken(21, end - 9, end - 9, ChainDefect::NoCluster { max });
        broken(21, 20, 21, ChainDefect::Cycle);
        broken(20, 20, 20, ChainDefect::Cycle);
        broken(30, 21, 21, ChainDefect::Cycle);
        broken(41, 42, 42, ChainDefect::TooLong { len: LEN });
        broken(41, 20, 41, ChainDefect::Cycle);
        // The values that end a chain.
        for value in [end - 7, end - 3, end] {
            broken(
                40,
                value,
                20,
                ChainDefect::TooShort {
                    clusters: 5,
                    len: LEN,
                },
            );
        }
    }
    // The upper four bits of FAT32 have no meaning.
    let (mut image, _) = sample(FatKind::Fat32);
    image.link(20, 0xf000_0015);
    image.link(41, 0xffff_fff8);
    assert!(invariants::check(&image.bytes, 0).unwrap().errors.is_empty());
}

#[test]
fn lengths_and_chains_agree() {
    for kind in KINDS {
        let mut image = Image::new(kind);
        let root = image.root();
        image.chain(&[10, 11]);
        let check_len = |image: &mut Image, first, len, expected: Option<(u32, ChainDefect)>| {
            let at = image.add(root, (b"A          ", ""), 0x20, first, len);
            match expected {
                Some((cluster, defect)) => check(image, "a", (Some(at), first, cluster, defect)),
                None => assert_eq!(invariants::check(&image.bytes, 0).unwrap().files.len(), 1),
            }
            image.bytes[at] = 0;
        };
        check_len(&mut image, 0, 0, None);
        check_len(
            &mut image,
            0,
            1,
            Some((0, ChainDefect::TooShort { clusters: 0, len: 1 })),
        );
        check_len(&mut image, 10, 0, Some((10, ChainDefect::TooLong { len: 0 })));
        check_len(&mut image, 10, 512, Some((11, ChainDefect::TooLong { len: 512 })));
        check_len(&mut image, 10, 513, None);
        check_len(&mut image, 10, 1024, None);
        check_len(
            &mut image,
            10,
            1025,
            Some((
                10,
                ChainDefect::TooShort {
                    clusters: 2,
                    len: 1025,
                },
            )),
        );
        check_len(
            &mut image,
            10,
            u32::MAX,
            Some((
                10,
                ChainDefect::TooShort {
                    clusters: 2,
                    len: u32::MAX.into(),
                },
            )),
        );
    }
}

/// A cycle far from the start is found before the end of the file.
#[test]
fn long_cycles_are_found() {
    let mut image = Image::new(FatKind::Fat16);
    let clusters: Vec<_> = (10..3000).collect();
    image.chain(&clusters);
    image.link(2999, 2000);
    let at = image.add(&[], (b"A          ", ""), 0x20, 10, u32::MAX);
    let fs = FatFs::new(&image.bytes).unwrap();
    let FsError::Malformed(error) = fs.read_file("a", usize::MAX).unwrap_err() else {
        panic!()
    };
    let prefix = format!("file with the directory entry at byte {at:#x}, cluster ");
    assert!(error.to_string().starts_with(&prefix), "{error}");
    assert!(
        error
            .to_string()
            .ends_with(" (first cluster 0xa): the chain is a cycle"),
        "{error}"
    );
}

#[test]
fn directories_are_bounded() {
    for kind in KINDS {
        // A directory that contains itself: each path is finite.
        let mut image = Image::new(kind);
        let root = image.root();
        image.add_dir(root, (b"LOOP       ", ""), &[5]);
        image.add(&[5], (b"LOOP       ", ""), DIRECTORY, 5, 0);
        let fs = FatFs::new(&image.bytes).unwrap();
        assert!(
            fs.lookup(&"loop/".repeat(500))
                .unwrap()
                .is_some_and(|node| node.is_directory())
        );
        assert!(invariants::check(&image.bytes, 0).unwrap().errors.is_empty());
        // A chain that is a cycle, and directories without one.
        image.link(5, 5);
        let at = fs_offset(&image, "loop");
        check(&image, "loop/x", (Some(at), 5, 5, ChainDefect::Cycle));
        let max = if kind == FatKind::Fat16 { 4086 } else { 81 };
        let at = image.add(root, (b"NONE       ", ""), DIRECTORY, 0, 0);
        check(&image, "none/x", (Some(at), 0, 0, ChainDefect::NoCluster { max }));
        let at = image.add(root, (b"FREE       ", ""), DIRECTORY, 70, 0);
        check(&image, "free/x", (Some(at), 70, 70, ChainDefect::Free));
    }
    // The root directory of FAT32.
    let mut image = Image::new(FatKind::Fat32);
    image.link(2, 3);
    let error = FatFs::new(&image.bytes).unwrap_err();
    assert_eq!(
        error.to_string(),
        "root directory, cluster 0x3 (first cluster 0x2): the FAT lists it as free"
    );
}

fn fs_offset(image: &Image, path: &str) -> usize {
    let fs = FatFs::new(&image.bytes).unwrap();
    fs.lookup(path).unwrap().unwrap().id.0 as usize
}

#[test]
fn a_directory_has_at_most_65536_entries() {
    for (clusters, is_accepted) in [(4096, true), (4097, false)] {
        let mut image = Image::with(&Options {
            clusters: 5000,
            ..Options::new(FatKind::Fat32)
        });
        let chain: Vec<_> = (10..10 + clusters).collect();
        image.chain(&chain);
        // Unused entries up to the last one.
        for cluster in &chain {
            image.cluster(*cluster).fill(0xe5);
        }
        let last = 10 + 4095;
        image.cluster(last)[512 - 32..].copy_from_slice(&[0; 32]);
        image.add(&[last], (b"LAST       ", ""), 0x20, 0, 0);
        let at = image.add(&[2], (b"DIR        ", ""), DIRECTORY, 10, 0);
        if is_accepted {
            let fs = FatFs::new(&image.bytes).unwrap();
            assert!(fs.lookup("dir/last").unwrap().is_some());
        } else {
            check(
                &image,
                "dir/last",
                (Some(at), 10, 10 + 4096, ChainDefect::DirectoryTooLong),
            );
        }
    }
}

/// A source that records offsets and lengths of reads, and has a bad sector.
struct Recorder<'a> {
    bytes: &'a [u8],
    reads: RefCell<Vec<(usize, usize)>>,
    bad: Option<u64>,
}

impl ByteSource for Recorder<'_> {
    fn len(&self) -> Result<u64, ReadError> {
        ByteSource::len(self.bytes)
    }

    fn read_exact_at(&self, offset: u64, buf: &mut [u8]) -> Result<(), ReadError> {
        self.reads.borrow_mut().push((offset as usize, buf.len()));
        if self
            .bad
            .is_some_and(|bad| (offset..offset + buf.len() as u64).contains(&bad))
        {
            return Err(ReadError::new(
                offset,
                buf.len(),
                ReadErrorKind::Source("bad sector".into()),
            ));
        }
        self.bytes.read_exact_at(offset, buf)
    }
}

#[test]
fn large_files_take_few_reads() {
    // 12 MiB in clusters of 512 bytes, in three pieces; its links are in two blocks of the FAT.
    const CLUSTERS: usize = 24576;
    let mut image = Image::with(&Options {
        clusters: 40000,
        ..Options::new(FatKind::Fat32)
    });
    let chain: Vec<u32> = (10..10010).chain(20000..30000).chain(10010..14586).collect();
    assert_eq!(chain.len(), CLUSTERS);
    let bytes = content(CLUSTERS * 512);
    image.add_file(&[2], (b"VMLINUZ    ", ""), &chain, &bytes);
    let source = Recorder {
        bytes: &image.bytes,
        reads: RefCell::default(),
        bad: None,
    };
    let fs = FatFs::new(&source).unwrap();
    source.reads.borrow_mut().clear();
    assert!(fs.read_file("vmlinuz", usize::MAX).unwrap().unwrap() == bytes);
    let cluster = |number: usize| image.data + (number - 2) * 512;
    let expected = [
        // The root directory, the second block of the FAT, and the pieces. The first block has been read for the label.
        (cluster(2), 512),
        (image.fat + 65536, 65536),
        (cluster(10), 10000 * 512),
        (cluster(20000), 10000 * 512),
        (cluster(10010), 4576 * 512),
    ];
    assert_eq!(*source.reads.borrow(), expected);
}

/// Chains that use all parts of a large FAT, each link in another block.
#[test]
fn many_blocks_of_the_fat_are_used() {
    let mut image = Image::with(&Options {
        clusters: 200_000,
        fats: 1,
        ..Options::new(FatKind::Fat32)
    });
    let chain: Vec<u32> = (0..40)
        .map(|index| 100 + index % 12 * 16384 + index / 12)
        .collect();
    let bytes = content(chain.len() * 512);
    image.add_file(&[2], (b"A          ", ""), &chain, &bytes);
    let fs = FatFs::new(&image.bytes).unwrap();
    assert!(fs.read_file("a", usize::MAX).unwrap().unwrap() == bytes);
    assert!(fs.read_file("a", usize::MAX).unwrap().unwrap() == bytes);
}

#[test]
fn bad_sectors_are_read_errors() {
    let (image, places) = sample(FatKind::Fat32);
    let cluster = |number: u32| (image.data + (number as usize - 2) * 512) as u64;
    let check = |bad: u64| {
        let source = Recorder {
            bytes: &image.bytes,
            reads: RefCell::default(),
            bad: Some(bad),
        };
        let result = FatFs::new(&source)
            .map_err(FsError::from)
            .and_then(|fs| fs.read_file("EFI/BOOT/BOOTX64.EFI", 1 << 20));
        let FsError::Read(error) = result.unwrap_err() else {
            panic!()
        };
        assert!(error.to_string().starts_with("cannot read bytes 0x"));
        assert_eq!(
            std::error::Error::source(&error).unwrap().to_string(),
            "bad sector"
        );
    };
    check(0);
    check(image.fat as u64);
    check(cluster(2));
    check(places.entries[2] as u64);
    check(cluster(FRAGMENTS[3]));
    // After an error, reads can succeed again.
    let source = Recorder {
        bytes: &image.bytes,
        reads: RefCell::default(),
        bad: None,
    };
    let mut fs = FatFs::new(source).unwrap();
    for bad in [Some(cluster(5)), None] {
        fs = FatFs::new(Recorder {
            bytes: &image.bytes,
            reads: RefCell::default(),
            bad,
        })
        .unwrap();
        assert_eq!(fs.lookup("efi/boot").is_ok(), bad.is_none());
    }
    assert!(fs.lookup("efi/boot").is_ok());
}

/// A volume whose FAT links each cluster from 20 on to the one after the next.
struct Alternating {
    /// Boot sector and the first entries of the FAT.
    start: Vec<u8>,
    fat: u64,
    /// The root directory, at the first cluster.
    root: Vec<u8>,
    data: u64,
}

impl ByteSource for Alternating {
    fn len(&self) -> Result<u64, ReadError> {
        Ok(1 << 30)
    }

    fn read_exact_at(&self, offset: u64, buf: &mut [u8]) -> Result<(), ReadError> {
        for (byte, at) in buf.iter_mut().zip(offset..) {
            let (part, start) = if at < self.data {
                (&self.start, 0)
            } else {
                (&self.root, self.data)
            };
            let next = ((at.saturating_sub(self.fat) / 4) as u32 + 2).to_le_bytes()[(at % 4) as usize];
            let otherwise = if at < self.data { next } else { 0 };
            *byte = part.get((at - start) as usize).copied().unwrap_or(otherwise);
        }
        Ok(())
    }
}

#[test]
fn fragments_are_bounded() {
    const FAT_SECTORS: u32 = 10_000;
    let check = |pieces: usize, expected: ChainDefect| {
        let mut image = Image::with(&Options {
            fats: 1,
            ..Options::new(FatKind::Fat32)
        });
        image.add(&[2], (b"A          ", ""), 0x20, 20, pieces as u32 * 512);
        let root = image.cluster(2).to_vec();
        image.fat32(|fields| fields.fat_sz32 = FAT_SECTORS.into());
        image.bpb(|bpb| bpb.tot_sec32 = 1_200_000.into());
        let source = Alternating {
            start: image.bytes[..image.fat + 80].to_vec(),
            fat: image.fat as u64,
            root,
            data: image.fat as u64 + u64::from(FAT_SECTORS) * 512,
        };
        let fs = FatFs::new(source).unwrap();
        let error = fs.read_file("a", 0).unwrap_err();
        let (FsError::Malformed(error) | FsError::Unsupported(error)) = error else {
            panic!("{error}")
        };
        let FatError::Chain { defect, .. } = error.downcast_ref().unwrap() else {
            panic!("{error}")
        };
        assert_eq!(*defect, expected);
    };
    check(MAX_PIECES + 1, ChainDefect::TooManyPieces);
    // The highest accepted number; the chain continues.
    check(
        MAX_PIECES,
        ChainDefect::TooLong {
            len: MAX_PIECES as u64 * 512,
        },
    );
}
