//! The blocks of files in pieces.

use std::cell::RefCell;

use disk::block::check_request;
use disk::{
    BlockDevice, BlockError, BlockErrorKind, BlockSize, Extents, FileBlocks, FileBlocksError, SourceRange,
};

/// A device of 64 blocks of 512 bytes; each block is filled with its number.
struct Device(RefCell<Vec<u8>>);

impl Device {
    fn new() -> Self {
        Self(RefCell::new((0..64_u8).flat_map(|block| [block; 512]).collect()))
    }

    fn blocks(&self) -> Vec<u8> {
        self.0.borrow().iter().step_by(512).copied().collect()
    }
}

impl BlockDevice for Device {
    fn block_size(&self) -> BlockSize {
        BlockSize::B512
    }

    fn block_count(&self) -> u64 {
        64
    }

    fn read_blocks(&self, first: u64, buf: &mut [u8]) -> Result<(), BlockError> {
        check_request(self, first, buf.len())?;
        let start = first as usize * 512;
        buf.copy_from_slice(&self.0.borrow()[start..start + buf.len()]);
        Ok(())
    }

    fn is_read_only(&self) -> bool {
        false
    }

    fn write_blocks(&self, first: u64, data: &[u8]) -> Result<(), BlockError> {
        check_request(self, first, data.len())?;
        let start = first as usize * 512;
        self.0.borrow_mut()[start..start + data.len()].copy_from_slice(data);
        Ok(())
    }
}

fn extents(pieces: &[(u64, u64)]) -> Extents {
    let mut extents = Extents::new();
    for (offset, len) in pieces {
        extents.push(SourceRange::new(*offset, *len).unwrap()).unwrap();
    }
    extents
}

#[test]
fn every_request_reaches_the_blocks_of_the_file() {
    // Blocks 40, 41, 3, 4, 5 and 20 of the device, and a part of one that is left out.
    let file = extents(&[(40 * 512, 1024), (3 * 512, 1536), (20 * 512, 512 + 100)]);
    let map = [40, 41, 3, 4, 5, 20];
    let device = Device::new();
    let blocks = FileBlocks::new(&device, &file).unwrap();
    assert_eq!((blocks.block_count(), blocks.is_read_only()), (6, false));
    for first in 0..=6 {
        for end in first..=6 {
            let mut buf = vec![0xff; (end - first) * 512];
            blocks.read_blocks(first as u64, &mut buf).unwrap();
            let found: Vec<_> = buf.iter().step_by(512).copied().collect();
            assert_eq!(found, map[first..end]);

            let device = Device::new();
            let blocks = FileBlocks::new(&device, &file).unwrap();
            let mut expected = device.blocks();
            for (index, block) in map[first..end].iter().enumerate() {
                expected[usize::from(*block)] = 100 + index as u8;
            }
            let data: Vec<_> = (0..buf.len()).map(|index| 100 + (index / 512) as u8).collect();
            blocks.write_blocks(first as u64, &data).unwrap();
            assert_eq!(device.blocks(), expected);
        }
        let mut past = vec![0; (7 - first) * 512];
        let error = blocks.read_blocks(first as u64, &mut past).unwrap_err();
        assert!(
            matches!(error.kind, BlockErrorKind::PastEnd { block_count: 6 }),
            "{error}"
        );
        let error = blocks.write_blocks(first as u64, &past).unwrap_err();
        assert!(
            matches!(error.kind, BlockErrorKind::PastEnd { block_count: 6 }),
            "{error}"
        );
    }
    let error = blocks.write_blocks(0, &[0; 100]).unwrap_err();
    assert!(matches!(error.kind, BlockErrorKind::Unaligned { .. }), "{error}");
    assert_eq!(device.blocks(), Device::new().blocks());
}

#[test]
fn files_that_are_no_blocks_are_refused() {
    let check = |file: &Extents, expected: FileBlocksError, message: &str| {
        let refused = FileBlocks::new(Device::new(), file).map(|_| ());
        assert_eq!(refused, Err(expected));
        assert_eq!(expected.to_string(), message);
    };
    let mut hole = extents(&[(512, 512)]);
    hole.push_hole(512).unwrap();
    check(
        &hole,
        FileBlocksError::Hole { file_offset: 512 },
        "the file has a hole at offset 0x200; write all of it once",
    );
    let unaligned = |file_offset| FileBlocksError::Unaligned {
        file_offset,
        block_size: BlockSize::B512,
    };
    let message = "the piece of the file at offset 0x0 is not of whole blocks of 512 bytes";
    check(&extents(&[(100, 512)]), unaligned(0), message);
    check(&extents(&[(512, 100), (2048, 512)]), unaligned(0), message);
    let block_count = 64;
    let past = FileBlocksError::PastEnd {
        file_offset: 512,
        block_count,
    };
    let message = "the piece of the file at offset 0x200 ends past the device, which has 64 blocks";
    check(&extents(&[(512, 512), (63 * 512, 1024)]), past, message);
    let far = u64::MAX - 511;
    let past = FileBlocksError::PastEnd {
        file_offset: 512,
        block_count,
    };
    check(&extents(&[(512, 512), (far - 512, 512)]), past, message);
    let empty = FileBlocks::new(Device::new(), &Extents::new()).unwrap();
    assert_eq!(empty.block_count(), 0);
    assert!(empty.read_blocks(0, &mut []).is_ok());
    assert!(empty.read_blocks(0, &mut [0; 512]).is_err());
}
