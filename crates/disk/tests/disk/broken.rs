//! A corpus of broken disks: every field of partition tables at its edges. Each disk gives a table or an error, after a bounded
//! number of reads.

use disk::BlockSize;

use crate::invariants::check;
use crate::table_writer::{EBR_BLOCKS, Gpt, mbr_disk, seal};

/// Offsets and lengths of the fields of a GPT header.
const HEADER: [(usize, usize); 14] = [
    (0, 8),
    (8, 4),
    (12, 4),
    (16, 4),
    (20, 4),
    (24, 8),
    (32, 8),
    (40, 8),
    (48, 8),
    (56, 8),
    (72, 8),
    (80, 4),
    (84, 4),
    (88, 4),
];

/// The same of a GPT entry.
const ENTRY: [(usize, usize); 6] = [(0, 8), (16, 8), (32, 8), (40, 8), (48, 8), (56, 8)];

/// The same of a partition record.
const RECORD: [(usize, usize); 4] = [(0, 1), (4, 1), (8, 4), (12, 4)];

/// The edges of a field of `len` bytes that is `value`.
fn edges(len: usize, value: u64) -> [u64; 9] {
    let max = u64::MAX >> (64 - 8 * len);
    let sign = (max >> 1) + 1;
    [
        0,
        1,
        max,
        max - 1,
        sign,
        sign - 1,
        sign + 1,
        value.wrapping_add(1) & max,
        value.wrapping_sub(1) & max,
    ]
}

/// Calls `broken` for each edge of each field at `start`.
fn for_each_edge(disk: &[u8], start: usize, fields: &[(usize, usize)], mut broken: impl FnMut(Vec<u8>)) {
    for &(offset, len) in fields {
        let at = start + offset;
        let mut value = [0; 8];
        value[..len].copy_from_slice(&disk[at..at + len]);
        for edge in edges(len, u64::from_le_bytes(value)) {
            let mut copy = disk.to_vec();
            copy[at..at + len].copy_from_slice(&edge.to_le_bytes()[..len]);
            broken(copy);
        }
    }
}

/// Numbers of disks with a table and with an error.
#[derive(Debug, Default)]
struct Count {
    tables: usize,
    errors: usize,
}

impl Count {
    fn add(&mut self, disk: &[u8], block_size: BlockSize) {
        match check(disk, block_size) {
            Ok(_) => self.tables += 1,
            Err(_) => self.errors += 1,
        }
    }
}

/// Breaks a field of the primary GPT: with and without valid checksums, with and without a backup.
fn break_gpt(block_size: BlockSize, count: &mut Count) {
    let disk = Gpt::new(block_size).write();
    let size = block_size.as_usize();
    let last = disk.len() / size - 1;
    let mut variants = |disk: Vec<u8>| {
        let mut sealed = disk.clone();
        seal(&mut sealed, block_size, 1);
        for mut disk in [disk, sealed] {
            count.add(&disk, block_size);
            disk[last * size..].fill(0);
            count.add(&disk, block_size);
        }
    };
    for_each_edge(&disk, size, &HEADER, &mut variants);
    for entry in 0..3 {
        for_each_edge(&disk, 2 * size + entry * 128, &ENTRY, &mut variants);
    }
}

#[test]
fn every_broken_disk_ends_in_a_table_or_an_error() {
    let mut gpt = Count::default();
    for block_size in [BlockSize::B512, BlockSize::B4096] {
        break_gpt(block_size, &mut gpt);
    }
    assert_eq!(gpt.tables + gpt.errors, 2 * (14 + 3 * 6) * 9 * 4);
    // Without a backup, a broken header is an error; with one it is not.
    assert!(gpt.errors >= 500 && gpt.tables >= 1500, "{gpt:?}");

    let mut mbr = Count::default();
    let disk = mbr_disk();
    for block in [&[0][..], &EBR_BLOCKS].concat() {
        let start = block * 512;
        for_each_edge(&disk, start, &[(0, 2), (440, 4), (510, 2)], |disk| {
            mbr.add(&disk, BlockSize::B512);
        });
        for record in 0..4 {
            for_each_edge(&disk, start + 446 + record * 16, &RECORD, |disk| {
                mbr.add(&disk, BlockSize::B512);
            });
        }
    }
    // The type 0xef of the ESP less one is that of a GPT, which is missing.
    assert_eq!((mbr.errors, mbr.tables), (1, 4 * (3 + 4 * 4) * 9 - 1));
}

/// Truncated disks: the reads past the end are errors, not panics.
#[test]
fn truncated_disks_are_no_fault() {
    for block_size in [BlockSize::B512, BlockSize::B4096, BlockSize::MAX] {
        for disk in [Gpt::new(BlockSize::B512).write(), mbr_disk()] {
            for len in (0..disk.len()).step_by(509) {
                let _ = check(&disk[..len], block_size);
            }
        }
    }
}
