//! Replay of journals.

use disk::FileSystem;
use fs_ext4::{Ext4Fs, JournalDefect};

use crate::image_writer::{BLOCK, Image, SUPERBLOCK, TAG_FEATURES, Transaction, add_journal};

/// A volume with the files `/a` and `/b`, each of one block; returns their blocks.
fn volume() -> (Image, u32, u32) {
    let mut image = Image::new(0);
    image.dir(2, &[&[(2, 2, "."), (2, 2, ".."), (12, 1, "a"), (13, 1, "b")]]);
    let a = image.file(12, &[b'a'; BLOCK]);
    let b = image.file(13, &[b'b'; 2 * BLOCK]);
    (image, a, b)
}

fn write(block: u32, byte: u8) -> (u32, Vec<u8>) {
    (block, vec![byte; BLOCK])
}

fn committed(blocks: &[(u32, Vec<u8>)], revoked: &[u32]) -> Transaction {
    Transaction {
        blocks: blocks.to_vec(),
        revoked: revoked.to_vec(),
        is_committed: true,
    }
}

/// First byte of each block of the files after these transactions.
fn replayed(start: u32, transactions: impl Fn(u32, u32) -> Vec<Transaction>) -> String {
    let results = TAG_FEATURES.map(|features| {
        let (mut image, a, b) = volume();
        add_journal(&mut image, features, start, &transactions(a, b));
        let fs = Ext4Fs::new(&image.bytes).unwrap();
        let read = |path: &str| fs.read_file(path, 1 << 20).unwrap().unwrap();
        let bytes = [read("/a"), read("/b")].concat();
        bytes
            .chunks(BLOCK)
            .map(|block| char::from(block[0]))
            .collect::<String>()
    });
    assert!(results.iter().all(|result| *result == results[0]), "{results:?}");
    results[0].clone()
}

#[test]
fn complete_transactions_are_replayed() {
    assert_eq!(replayed(1, |_, _| Vec::new()), "abb");
    assert_eq!(replayed(1, |a, _| vec![committed(&[write(a, b'1')], &[])]), "1bb");
    let two = |a, b| {
        vec![
            committed(&[write(a, b'1'), write(b + 1, b'2')], &[]),
            committed(&[write(a, b'3')], &[]),
        ]
    };
    assert_eq!(replayed(1, two), "3b2");
    // From the last blocks of the journal on to its first ones.
    assert_eq!(replayed(12, two), "3b2");
    assert_eq!(replayed(15, two), "3b2");
}

#[test]
fn incomplete_transactions_are_not() {
    let transactions = |a, b| {
        let mut last = committed(&[write(a, b'3'), write(b, b'4')], &[]);
        last.is_committed = false;
        vec![committed(&[write(a, b'1')], &[]), last]
    };
    assert_eq!(replayed(1, transactions), "1bb");
}

#[test]
fn revoked_blocks_are_not() {
    let revoked_later = |a, b| {
        vec![
            committed(&[write(a, b'1'), write(b, b'2')], &[]),
            committed(&[], &[a]),
        ]
    };
    assert_eq!(replayed(1, revoked_later), "a2b");
    let written_again = |a, _| {
        vec![
            committed(&[write(a, b'1')], &[]),
            committed(&[], &[a]),
            committed(&[write(a, b'3')], &[]),
        ]
    };
    assert_eq!(replayed(1, written_again), "3bb");
}

#[test]
fn directories_and_inodes_are_replayed() {
    let (mut image, ..) = volume();
    // The new volume has another name in its root directory, and another length in an inode.
    let mut after = image.clone();
    let root = after.dir(2, &[&[(2, 2, "."), (2, 2, ".."), (12, 1, "c")]]);
    after.put(Image::inode_at(12) + 4, &3_u32.to_le_bytes());
    let changed: Vec<_> = (0..after.bytes.len() / BLOCK)
        .filter(|block| after.bytes[block * BLOCK..][..BLOCK] != image.bytes[block * BLOCK..][..BLOCK])
        .map(|block| (block as u32, after.bytes[block * BLOCK..][..BLOCK].to_vec()))
        .collect();
    assert!(changed.iter().any(|(block, _)| *block == root) && changed.len() >= 3);
    add_journal(&mut image, 1, 1, &[committed(&changed, &[])]);
    let fs = Ext4Fs::new(&image.bytes).unwrap();
    assert!(fs.lookup("/a").unwrap().is_none());
    assert_eq!(fs.read_file("/c", 100).unwrap().as_deref(), Some(&b"aaa"[..]));
}

#[test]
fn escaped_blocks_have_their_first_bytes() {
    let mut magic = 0xc03b_3998_u32.to_be_bytes().to_vec();
    magic.resize(BLOCK, b'x');
    // A file cannot be read in pieces then.
    let (mut image, a, _) = volume();
    add_journal(&mut image, 1, 1, &[committed(&[(a, magic)], &[])]);
    let fs = Ext4Fs::new(&image.bytes).unwrap();
    let error = fs.read_file("/a", 1 << 20).unwrap_err();
    let source = std::error::Error::source(&error).unwrap().to_string();
    assert_eq!(
        source,
        format!("inode 12: block {a:#x} is in the journal in escaped form, which is not supported for data")
    );
    assert!(fs.read_file("/b", 1 << 20).is_ok());
}

#[test]
fn defects_of_the_journal_are_errors() {
    let check = |at: usize, value: u32, expected: &str| {
        let (mut image, a, _) = volume();
        let journal = add_journal(&mut image, 1, 1, &[committed(&[write(a, b'1')], &[])]);
        image.put(journal + at, &value.to_be_bytes());
        let error = Ext4Fs::new(&image.bytes).unwrap_err();
        assert_eq!(
            error.to_string(),
            format!("the journal cannot be replayed: {expected}")
        );
    };
    check(0x00, 5, "h_magic of its superblock is 0x5");
    check(0x04, 1, "h_blocktype of its superblock is 0x1");
    check(0x0c, 4096, "s_blocksize of its superblock is 0x1000");
    check(0x10, 17, "s_maxlen of its superblock is 0x11");
    check(0x14, 0, "s_first of its superblock is 0x0");
    check(0x1c, 16, "s_start of its superblock is 0x10");
    check(0x28, 0x45, "it has the features 0x44, which are not supported");
    assert!(!JournalDefect::TooLong.to_string().is_empty());
    // A volume that needs no recovery is not affected by its journal.
    let (mut image, a, _) = volume();
    let journal = add_journal(&mut image, 1, 1, &[committed(&[write(a, b'1')], &[])]);
    image.put(journal, &[0; 4]);
    image.put(SUPERBLOCK + 0x60, &0x42_u32.to_le_bytes());
    assert!(Ext4Fs::new(&image.bytes).is_ok());
}
