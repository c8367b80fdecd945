//! Properties for generated volumes.

use disk::FileSystem;
use fs_ext4::Ext4Fs;
use proptest::prelude::*;

use crate::image_writer::{BLOCK, Image, SUPERBLOCK, content, extent, node, sample};
use crate::invariants::check;

proptest! {
    #![proptest_config(ProptestConfig::with_cases(500))]

    #[test]
    fn arbitrary_bytes_are_no_fault(mut bytes in prop::collection::vec(any::<u8>(), 0..4096), len in 0_u64..1 << 24) {
        if bytes.len() >= 2048 {
            bytes[SUPERBLOCK + 0x38..SUPERBLOCK + 0x3a].copy_from_slice(&[0x53, 0xef]);
        }
        let _ = check(&bytes, len);
    }

    #[test]
    fn changed_volumes_are_no_fault(
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>(), 0..3_usize), 1..10),
    ) {
        let mut bytes = sample().image.bytes;
        for (index, value, place) in changes {
            // Superblock, the tables, or anything.
            let (start, len) = [(SUPERBLOCK, 0x160), (2 * BLOCK, 60 * BLOCK), (0, bytes.len())][place];
            bytes[start + index.index(len)] = value;
        }
        let _ = check(&bytes, 1 << 20);
    }

    /// A file in up to four pieces with holes between them is read back.
    #[test]
    fn files_in_pieces_are_read(pieces in prop::collection::vec((0..20_u32, 1..20_u16), 0..=4), rest in 0..1024_usize) {
        let mut image = Image::new(0);
        image.dir(2, &[&[(2, 2, "."), (2, 2, ".."), (12, 1, "file")]]);
        let (mut extents, mut expected) = (Vec::new(), Vec::new());
        for (hole, blocks) in pieces {
            expected.resize(expected.len() + hole as usize * BLOCK, 0);
            let start = image.allocate(u32::from(blocks) + 1);
            let bytes = content(usize::from(blocks) * BLOCK, start);
            image.put_block(start, &bytes);
            extents.push(extent((expected.len() / BLOCK) as u32, blocks, start));
            expected.extend(bytes);
        }
        expected.truncate(expected.len().saturating_sub(rest));
        image.inode(12, 0x81a4, expected.len(), 0x8_0000, &node(0, 4, &extents));
        let fs = Ext4Fs::new(&image.bytes).unwrap();
        prop_assert!(fs.read_file("/file", 1 << 20).unwrap().unwrap() == expected);
    }
}
