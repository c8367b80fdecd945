//! A corpus of broken volumes: every field of boot sector, FAT and directory entries at its edges. Each volume ends in an error or a
//! walk, after a bounded number of reads.

use fmt_test::edges;
use fs_fat::FatKind;

use crate::image_writer::{FRAGMENTS, Image, sample};
use crate::invariants::check;

/// Offsets and lengths of the fields of the boot sector that FAT12, FAT16 and FAT32 share.
const BPB: [(usize, usize); 15] = [
    (0, 3),
    (3, 8),
    (11, 2),
    (13, 1),
    (14, 2),
    (16, 1),
    (17, 2),
    (19, 2),
    (21, 1),
    (22, 2),
    (24, 2),
    (26, 2),
    (28, 4),
    (32, 4),
    (510, 2),
];

/// The same of FAT32 alone.
const FAT32: [(usize, usize); 6] = [(36, 4), (40, 2), (42, 2), (44, 4), (48, 2), (50, 2)];

/// The same of a directory entry.
const ENTRY: [(usize, usize); 8] = [
    (0, 8),
    (8, 3),
    (11, 1),
    (12, 1),
    (20, 2),
    (26, 2),
    (28, 4),
    (24, 2),
];

/// The same of a part of a long name.
const LONG_NAME: [(usize, usize); 7] = [(0, 1), (1, 2), (11, 1), (12, 1), (13, 1), (26, 2), (28, 2)];

/// Numbers of volumes by result.
#[derive(Debug, Default)]
struct Count {
    volumes: usize,
    refused: usize,
    with_errors: usize,
}

impl Count {
    fn add(&mut self, bytes: &[u8]) {
        self.volumes += 1;
        match check(bytes, 0) {
            Ok(found) if found.errors.is_empty() => {}
            Ok(_) => self.with_errors += 1,
            Err(_) => self.refused += 1,
        }
    }

    /// Adds the volume with each edge of a field, and restores it.
    fn add_edges(&mut self, image: &mut Image, at: usize, len: usize) {
        let original = image.bytes[at..at + len].to_vec();
        let mut value = [0; 8];
        value[..len].copy_from_slice(&original);
        let value = u64::from_le_bytes(value);
        for edge in edges(value, len) {
            image.bytes[at..at + len].copy_from_slice(&edge.to_le_bytes()[..len]);
            self.add(&image.bytes);
        }
        image.bytes[at..at + len].copy_from_slice(&original);
    }
}

fn break_fields(kind: FatKind, count: &mut Count) {
    let (mut image, places) = sample(kind);
    let fields = if kind == FatKind::Fat32 { &FAT32[..] } else { &[] };
    for (at, len) in BPB.into_iter().chain(fields.iter().copied()) {
        count.add_edges(&mut image, at, len);
    }
    for place in places.entries {
        for (at, len) in ENTRY {
            count.add_edges(&mut image, place + at, len);
        }
    }
    for (at, len) in LONG_NAME {
        count.add_edges(&mut image, places.long_name + at, len);
        count.add_edges(&mut image, places.long_name + 32 + at, len);
    }
}

/// Links of directories and of a file to all kinds of clusters: cycles, ends, cross links, free and bad ones.
fn break_links(kind: FatKind, count: &mut Count) {
    let (mut image, _) = sample(kind);
    let end = image.end();
    let values = [
        0,
        1,
        2,
        3,
        5,
        6,
        20,
        21,
        29,
        41,
        50,
        81,
        82,
        4085,
        4086,
        4087,
        end - 16,
        end - 9,
        end - 8,
        end - 7,
        end,
        u32::MAX,
    ];
    for cluster in [0, 1, 2, 5, 6, 7, 8, 9, 50].into_iter().chain(FRAGMENTS) {
        let original = image.bytes.clone();
        for value in values {
            image.link(cluster, value);
            count.add(&image.bytes);
            image.bytes.copy_from_slice(&original);
        }
    }
}

#[test]
fn every_broken_volume_ends_in_an_error_or_a_walk() {
    for (kind, fields) in [(FatKind::Fat12, 15), (FatKind::Fat16, 15), (FatKind::Fat32, 21)] {
        let mut count = Count::default();
        break_fields(kind, &mut count);
        assert_eq!(count.volumes, (fields + 4 * 8 + 2 * 7) * 11);
        break_links(kind, &mut count);
        assert_eq!(count.volumes, (fields + 4 * 8 + 2 * 7) * 11 + 15 * 22);
        assert!(
            count.refused > 50 && count.with_errors > 100,
            "{kind:?}: {count:?}"
        );
        assert!(
            count.refused + count.with_errors < count.volumes - 200,
            "{kind:?}: {count:?}"
        );
    }
}

#[test]
fn truncated_volumes_are_no_fault() {
    for kind in [FatKind::Fat12, FatKind::Fat32] {
        let (image, _) = sample(kind);
        for len in (0..image.bytes.len()).step_by(97) {
            assert!(check(&image.bytes[..len], 0).is_err());
        }
    }
}
