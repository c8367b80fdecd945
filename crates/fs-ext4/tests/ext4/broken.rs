//! A corpus of broken volumes: every field of superblock, descriptors, inodes, extents, directory entries and journal at its edges. Each volume ends in an
//! error or a walk, after a bounded number of reads.

use fmt_test::edges;

use crate::image_writer::{
    BLOCK, DESCRIPTOR, Image, SAMPLE_INODES, SUPERBLOCK, TAG_FEATURES, Transaction, add_journal, sample,
};
use crate::invariants::check;

/// Offsets and lengths of fields of the superblock.
const SUPER: [(usize, usize); 18] = [
    (0x00, 4),
    (0x04, 4),
    (0x14, 4),
    (0x18, 4),
    (0x1c, 4),
    (0x20, 4),
    (0x24, 4),
    (0x28, 4),
    (0x38, 2),
    (0x4c, 4),
    (0x58, 2),
    (0x5c, 4),
    (0x60, 4),
    (0x64, 4),
    (0xe0, 4),
    (0xfe, 2),
    (0x104, 4),
    (0x150, 4),
];

/// The same of an inode: type, length, flags, and what is in `i_block`.
const INODE: [(usize, usize); 8] = [
    (0x00, 2),
    (0x04, 4),
    (0x20, 4),
    (0x28, 4),
    (0x2c, 4),
    (0x34, 4),
    (0x6c, 4),
    (0x80, 2),
];

/// The same of a node of extents: header, and two entries.
const NODE: [(usize, usize); 11] = [
    (0, 2),
    (2, 2),
    (4, 2),
    (6, 2),
    (12, 4),
    (16, 2),
    (18, 2),
    (20, 4),
    (24, 4),
    (28, 2),
    (32, 4),
];

/// The same of an entry of a directory.
const ENTRY: [(usize, usize); 5] = [(0, 4), (4, 2), (6, 1), (7, 1), (8, 4)];

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
    fn add_edges(&mut self, image: &mut Image, at: usize, len: usize, is_big_endian: bool) {
        let original = image.bytes[at..at + len].to_vec();
        let mut value = [0; 8];
        value[..len].copy_from_slice(&original);
        if is_big_endian {
            value[..len].reverse();
        }
        let value = u64::from_le_bytes(value);
        for edge in edges(value, len) {
            let mut bytes = edge.to_le_bytes()[..len].to_vec();
            if is_big_endian {
                bytes.reverse();
            }
            image.put(at, &bytes);
            self.add(&image.bytes);
        }
        image.put(at, &original);
    }
}

#[test]
fn every_broken_volume_ends_in_an_error_or_a_walk() {
    let sample = sample();
    let mut image = sample.image;
    let mut count = Count::default();
    for (at, len) in SUPER {
        count.add_edges(&mut image, SUPERBLOCK + at, len, false);
    }
    for at in [0, 4, 8] {
        count.add_edges(&mut image, DESCRIPTOR + at, 4, false);
    }
    for inode in SAMPLE_INODES {
        for (at, len) in INODE {
            count.add_edges(&mut image, Image::inode_at(inode) + at, len, false);
        }
    }
    for node in sample.nodes {
        for (at, len) in NODE {
            count.add_edges(&mut image, node + at, len, false);
        }
    }
    for entry in sample.entries {
        for (at, len) in ENTRY {
            count.add_edges(&mut image, entry + at, len, false);
        }
    }
    for map in sample.maps {
        for at in [0, 4, 48, 52, 56] {
            count.add_edges(&mut image, map + at, 4, false);
        }
    }
    assert_eq!(count.volumes, (18 + 3 + 8 * 8 + 4 * 11 + 5 * 5 + 3 * 5) * 11);
    assert!(count.refused > 60 && count.with_errors > 500, "{count:?}");
    assert!(
        count.refused + count.with_errors < count.volumes - 200,
        "{count:?}"
    );
}

#[test]
fn every_broken_journal_ends_in_an_error_or_a_walk() {
    let mut count = Count::default();
    for features in TAG_FEATURES {
        let mut image = sample().image;
        let block = image.bytes[SUPERBLOCK..SUPERBLOCK + BLOCK].to_vec();
        let transaction = Transaction {
            blocks: vec![(1, block), (900, vec![1; BLOCK])],
            revoked: vec![901, 902],
            is_committed: true,
        };
        let journal = add_journal(&mut image, features, 1, &[transaction.clone(), transaction]);
        // The superblock, then the revoke block and the descriptor of the first transaction.
        for at in [0, 4, 0xc, 0x10, 0x14, 0x18, 0x1c, 0x28, 0x54] {
            count.add_edges(&mut image, journal + at, 4, true);
        }
        for block in [1, 2, 5] {
            for at in [0, 4, 8, 12, 16, 20, 24, 28, 32, 36, 40] {
                count.add_edges(&mut image, journal + block * BLOCK + at, 4, true);
            }
        }
    }
    assert_eq!(count.volumes, 3 * (9 + 3 * 11) * 11);
    assert!(count.refused > 100, "{count:?}");
}

#[test]
fn truncated_volumes_are_no_fault() {
    let image = sample().image;
    for len in (0..image.bytes.len()).step_by(997) {
        assert!(check(&image.bytes[..len], 0).is_err());
    }
}

/// Trees that lead back into themselves, and nodes without entries, which are many reads for nothing.
#[test]
fn loops_end() {
    let sample = sample();
    let mut image = sample.image;
    let (root, middle) = (sample.nodes[1], sample.nodes[2]);
    let middle_block = ((middle / BLOCK) as u32).to_le_bytes();
    // A node that refers to itself has another depth.
    image.put(middle + 12 + 4, &middle_block);
    assert!(!check(&image.bytes, 0).unwrap().errors.is_empty());
    // All references lead to the same empty node.
    let empty = image.allocate(1);
    image.put_block(empty, &[0x0a, 0xf3, 0, 0, 84, 0, 0, 0]);
    let mut entries = vec![0x0a, 0xf3, 84, 0, 84, 0, 1, 0, 0, 0, 0, 0];
    for _ in 0..84 {
        entries.extend([0; 4]);
        entries.extend(empty.to_le_bytes());
        entries.extend([0; 4]);
    }
    image.put(middle, &entries);
    let found = check(&image.bytes, 0).unwrap();
    // Without extents, the file is a hole.
    assert!(
        found
            .files
            .iter()
            .any(|(path, len)| path == "/tree" && *len == 20 << 10)
    );
    // The root refers to four such nodes, and they to each other, five deep: more blocks than are read.
    image.put(root + 6, &[5]);
    let mut at = middle;
    for depth in (1..5_u8).rev() {
        let block = image.allocate(1);
        let mut node = entries.clone();
        node[6] = depth;
        let next = ((block as usize * BLOCK) / BLOCK) as u32 + 1;
        for entry in 0..84 {
            let target = if depth == 1 { empty } else { next };
            node[12 + entry * 12 + 4..][..4].copy_from_slice(&target.to_le_bytes());
        }
        image.put_block(block, &node);
        at = at.min(block as usize * BLOCK);
        if depth == 4 {
            image.put(root + 12 + 4, &block.to_le_bytes());
        }
    }
    let found = check(&image.bytes, 0).unwrap();
    let errors: Vec<_> = found
        .errors
        .iter()
        .filter_map(|error| std::error::Error::source(error).map(ToString::to_string))
        .collect();
    assert_eq!(
        errors,
        ["inode 14: the file has more than 4096 blocks with numbers of its blocks"]
    );
}
