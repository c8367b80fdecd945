//! Properties of sources and tables for generated inputs.

use disk::{BlockSize, BlockSource, ByteSource, ExtentSource, Extents, SourceBlocks, SourceRange};
use proptest::prelude::*;

use crate::invariants::check;
use crate::table_writer::{samples, seal};

fn block_sizes() -> impl Strategy<Value = BlockSize> {
    prop_oneof![
        Just(BlockSize::B512),
        Just(BlockSize::B4096),
        Just(BlockSize::MAX)
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn arbitrary_bytes_are_no_fault(mut disk in prop::collection::vec(any::<u8>(), 0..4096), block_size in block_sizes(), kind in 0..3) {
        // Most random sectors have no signature.
        if kind > 0 && disk.len() >= 512 {
            disk[510..512].copy_from_slice(&[0x55, 0xaa]);
            for record in 0..4 {
                disk[446 + 16 * record] &= 0x80;
            }
            if kind > 1 {
                disk[450] = 0xee;
            }
        }
        let _ = check(&disk, block_size);
    }

    #[test]
    fn changed_disks_are_no_fault(
        sample in 0..samples().len(),
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>(), any::<bool>()), 1..8),
        is_sealed in any::<bool>(),
    ) {
        let (_, block_size, mut disk) = samples().swap_remove(sample);
        for (index, value, is_in_table) in changes {
            let len = if is_in_table { (3 * block_size.as_usize()).min(disk.len()) } else { disk.len() };
            let at = index.index(len);
            disk[at] = value;
        }
        if is_sealed {
            seal(&mut disk, block_size, 1);
        }
        let _ = check(&disk, block_size);
    }

    /// Reads of a block device are those of its bytes.
    #[test]
    fn block_sources_read_like_bytes(
        block_size in block_sizes(),
        reads in prop::collection::vec((any::<prop::sample::Index>(), 0_usize..20_000), 1..8),
    ) {
        let bytes: Vec<u8> = (0..4 * 65536_u32).map(|index| ((index * 7919) >> 7) as u8).collect();
        let source = BlockSource::new(SourceBlocks::new(&bytes[..], block_size).unwrap());
        for (index, len) in reads {
            let offset = index.index(bytes.len());
            let mut buf = vec![0; len];
            match bytes.get(offset..offset + len) {
                Some(expected) => {
                    source.read_exact_at(offset as u64, &mut buf).unwrap();
                    prop_assert!(buf == expected);
                }
                None => prop_assert!(source.read_exact_at(offset as u64, &mut buf).is_err()),
            }
        }
    }

    /// Files in pieces read like the pieces joined.
    #[test]
    fn extents_read_like_joined_pieces(
        pieces in prop::collection::vec((prop::option::of(0_u64..200), 0_u64..40), 0..12),
        cut in 0_u64..400,
        reads in prop::collection::vec((0_usize..300, 0_usize..100), 1..8),
    ) {
        let bytes: Vec<u8> = (0..240_u8).map(|index| index | 1).collect();
        let mut extents = Extents::new();
        let mut joined = Vec::new();
        for (start, len) in pieces {
            if let Some(start) = start {
                extents.push(SourceRange::new(start, len).unwrap()).unwrap();
                joined.extend_from_slice(&bytes[start as usize..(start + len) as usize]);
            } else {
                extents.push_hole(len).unwrap();
                joined.resize(joined.len() + len as usize, 0);
            }
        }
        extents.truncate(cut);
        joined.truncate(cut as usize);
        for pair in extents.pieces().windows(2) {
            let [left, right] = pair else { unreachable!() };
            prop_assert_eq!(left.start + left.len, right.start);
            prop_assert_ne!(left.source.map(|start| start + left.len), right.source);
        }
        let source = ExtentSource::new(&bytes, extents);
        prop_assert_eq!(source.len().unwrap(), joined.len() as u64);
        for (offset, len) in reads {
            let mut buf = vec![0xaa; len];
            match joined.get(offset..offset + len) {
                Some(expected) => {
                    source.read_exact_at(offset as u64, &mut buf).unwrap();
                    prop_assert_eq!(&buf[..], expected);
                }
                None => prop_assert!(source.read_exact_at(offset as u64, &mut buf).is_err()),
            }
        }
    }
}
