//! Block devices and byte sources.

use std::cell::{Cell, RefCell};
use std::rc::Rc;

use disk::block::check_request;
use disk::{
    BlockDevice, BlockError, BlockErrorKind, BlockSize, BlockSource, ByteSource, Extent, ExtentError,
    ExtentSource, Extents, ReadErrorKind, SourceBlocks, SourceRange, Window,
};

/// A device that records its requests: first block and number of blocks.
struct Recorder {
    block_size: BlockSize,
    bytes: Vec<u8>,
    max_transfer: usize,
    requests: RefCell<Vec<(u64, u64)>>,
    bad_block: Cell<Option<u64>>,
}

impl Recorder {
    fn new(block_size: BlockSize, blocks: usize) -> Self {
        let bytes = (0..blocks * block_size.as_usize())
            .map(|index| (index * 7 / 5) as u8)
            .collect();
        Self {
            block_size,
            bytes,
            max_transfer: 1 << 20,
            requests: RefCell::default(),
            bad_block: Cell::new(None),
        }
    }
}

impl BlockDevice for Recorder {
    fn block_size(&self) -> BlockSize {
        self.block_size
    }

    fn block_count(&self) -> u64 {
        self.block_size.blocks_in(self.bytes.len() as u64)
    }

    fn read_blocks(&self, first: u64, buf: &mut [u8]) -> Result<(), BlockError> {
        let count = check_request(self, first, buf.len())?;
        self.requests.borrow_mut().push((first, count));
        if self
            .bad_block
            .get()
            .is_some_and(|bad| (first..first + count).contains(&bad))
        {
            return Err(BlockError::new(
                first,
                count,
                BlockErrorKind::Device("bad sector".into()),
            ));
        }
        let start = self.block_size.offset_of(first).unwrap() as usize;
        buf.copy_from_slice(&self.bytes[start..start + buf.len()]);
        Ok(())
    }

    fn max_transfer(&self) -> usize {
        self.max_transfer
    }
}

#[test]
fn large_reads_are_few_requests() {
    let check = |max_transfer, offset: u64, len: usize, expected: &[(u64, u64)]| {
        let mut device = Recorder::new(BlockSize::B512, 8192);
        device.max_transfer = max_transfer;
        let source = BlockSource::new(&device);
        let mut buf = vec![0; len];
        source.read_exact_at(offset, &mut buf).unwrap();
        assert!(buf == device.bytes[offset as usize..offset as usize + len]);
        assert_eq!(*device.requests.borrow(), expected);
    };
    check(1 << 20, 0, 3 << 20, &[(0, 2048), (2048, 2048), (4096, 2048)]);
    check(1 << 20, 100, 1 << 20, &[(0, 1), (1, 2047), (2048, 1)]);
    check(1 << 20, 512, 512, &[(1, 1)]);
    check(1 << 20, 600, 10, &[(1, 1)]);
    check(1 << 20, 1000, 30, &[(1, 1), (2, 1)]);
    check(1 << 20, 1000, 24, &[(1, 1)]);
    check(1 << 20, 1000, 0, &[(1, 1)][..0]);
    // A maximum that is no multiple of the block size, and one below it.
    check(1300, 0, 2048, &[(0, 2), (2, 2)]);
    check(0, 0, 1024, &[(0, 1), (1, 1)]);
}

#[test]
fn small_reads_of_one_block_are_one_request() {
    let device = Recorder::new(BlockSize::B4096, 4);
    let source = BlockSource::new(&device);
    let mut buf = [0; 32];
    for offset in (4096 + 32..8192).step_by(32) {
        source.read_exact_at(offset, &mut buf).unwrap();
        assert_eq!(buf, device.bytes[offset as usize..][..32]);
    }
    assert_eq!(*device.requests.borrow(), [(1, 1)]);
    source.forget();
    source.read_exact_at(4100, &mut buf).unwrap();
    assert_eq!(*device.requests.borrow(), [(1, 1), (1, 1)]);
    assert_eq!(source.device().block_size(), BlockSize::B4096);
    assert!(
        format!(
            "{:?}",
            BlockSource::new(SourceBlocks::new([0_u8; 512], BlockSize::B512).unwrap())
        )
        .contains("len: 512")
    );
}

#[test]
fn read_errors_name_the_block() {
    let device = Recorder::new(BlockSize::B512, 16);
    device.bad_block.set(Some(3));
    let source = BlockSource::new(&device);
    let mut buf = [0; 2048];
    let error = source.read_exact_at(512, &mut buf).unwrap_err();
    let ReadErrorKind::Source(inner) = &error.kind else {
        panic!("{error}")
    };
    assert_eq!(error.to_string(), "cannot read bytes 0x200..0xa00");
    assert_eq!(
        inner.to_string(),
        "4 blocks from block 1: the device reported an error"
    );
    assert_eq!(inner.source().unwrap().to_string(), "bad sector");
    // A failed read of a part leaves no stale block.
    assert!(source.read_exact_at(3 * 512 + 1, &mut buf[..10]).is_err());
    device.bad_block.set(None);
    source.read_exact_at(3 * 512 + 1, &mut buf[..10]).unwrap();
    assert_eq!(buf[..10], device.bytes[3 * 512 + 1..][..10]);
    let error = source.read_exact_at(16 * 512 - 1, &mut buf[..2]).unwrap_err();
    assert!(matches!(error.kind, ReadErrorKind::PastEnd(8192)));
    assert!(source.read_exact_at(u64::MAX, &mut buf[..2]).is_err());
}

#[test]
fn requests_are_checked() {
    let device = Recorder::new(BlockSize::B512, 16);
    let check = |first, len, expected: Result<u64, &str>| {
        let found = check_request(&device, first, len).map_err(|error| error.to_string());
        assert_eq!(found.as_ref().map_err(String::as_str).copied(), expected);
    };
    check(0, 8192, Ok(16));
    check(16, 0, Ok(0));
    check(
        15,
        1024,
        Err("2 blocks from block 15: past the end of the device, which has 16 blocks"),
    );
    check(
        16,
        512,
        Err("block 16: past the end of the device, which has 16 blocks"),
    );
    check(
        u64::MAX,
        512,
        Err("block 18446744073709551615: past the end of the device, which has 16 blocks"),
    );
    check(
        0,
        513,
        Err("block 0: a request of 513 bytes is not a multiple of the block size, 512 bytes"),
    );
    assert!(device.is_read_only() && device.flush().is_ok());
    let error = device.write_blocks(3, &[0; 1024]).unwrap_err();
    assert_eq!(
        error.to_string(),
        "2 blocks from block 3: the device is read-only"
    );
    let error = BlockError::new(1, 1, BlockErrorKind::MediaChanged);
    assert_eq!(error.to_string(), "block 1: the medium was removed or replaced");
}

/// A device of one block that accepts writes.
struct Writable(RefCell<Vec<u8>>, Cell<u32>);

impl BlockDevice for Writable {
    fn block_size(&self) -> BlockSize {
        BlockSize::B512
    }

    fn block_count(&self) -> u64 {
        1
    }

    fn read_blocks(&self, first: u64, buf: &mut [u8]) -> Result<(), BlockError> {
        check_request(self, first, buf.len())?;
        buf.copy_from_slice(&self.0.borrow()[..buf.len()]);
        Ok(())
    }

    fn is_read_only(&self) -> bool {
        false
    }

    fn write_blocks(&self, first: u64, data: &[u8]) -> Result<(), BlockError> {
        check_request(self, first, data.len())?;
        self.0.borrow_mut()[..data.len()].copy_from_slice(data);
        Ok(())
    }

    fn flush(&self) -> Result<(), BlockError> {
        self.1.set(self.1.get() + 1);
        Ok(())
    }

    fn max_transfer(&self) -> usize {
        77
    }
}

#[test]
fn pointers_to_devices_are_devices() {
    fn check(device: impl BlockDevice) {
        assert_eq!((device.block_size(), device.block_count()), (BlockSize::B512, 1));
        assert_eq!((device.max_transfer(), device.is_read_only()), (77, false));
        device.write_blocks(0, &[9; 512]).unwrap();
        device.flush().unwrap();
        let mut buf = [0; 512];
        device.read_blocks(0, &mut buf).unwrap();
        assert_eq!(buf, [9; 512]);
        assert!(device.write_blocks(1, &[9; 512]).is_err() && device.read_blocks(1, &mut buf).is_err());
    }
    let new = || Writable(RefCell::new(vec![0; 512]), Cell::new(0));
    let device = new();
    check(&device);
    let object: &dyn BlockDevice = &device;
    check(object);
    assert_eq!(device.1.get(), 2);
    check(Box::new(new()));
    let shared = Rc::new(new());
    check(Rc::clone(&shared));
    assert_eq!(shared.1.get(), 1);
}

/// A device that claims to be as large as possible.
struct Endless;

impl BlockDevice for Endless {
    fn block_size(&self) -> BlockSize {
        BlockSize::B512
    }

    fn block_count(&self) -> u64 {
        u64::MAX
    }

    fn read_blocks(&self, first: u64, buf: &mut [u8]) -> Result<(), BlockError> {
        check_request(self, first, buf.len()).map(|_| buf.fill(first as u8))
    }
}

#[test]
fn absurd_lengths_do_not_wrap() {
    let source = BlockSource::new(Endless);
    let len = source.len().unwrap();
    assert_eq!(len, u64::MAX - 511);
    let mut buf = [0; 513];
    source.read_exact_at(len - 513, &mut buf).unwrap();
    let last = (u64::MAX / 512 - 1) as u8;
    assert_eq!((buf[0], buf[1], buf[512]), (last.wrapping_sub(1), last, last));
    assert!(source.read_exact_at(len - 512, &mut buf).is_err());
}

#[test]
fn block_sizes_are_valid() {
    for (bytes, is_valid) in [
        (0, false),
        (256, false),
        (512, true),
        (513, false),
        (768, false),
        (65536, true),
        (131_072, false),
    ] {
        assert_eq!(
            BlockSize::new(bytes).map(BlockSize::bytes),
            is_valid.then_some(bytes)
        );
    }
    let size = BlockSize::B4096;
    assert_eq!((size.blocks_in(8191), size.blocks_in(8192)), (1, 2));
    assert_eq!((size.offset_of(3), size.offset_of(1 << 52)), (Some(12288), None));
    assert_eq!(
        [0, 1, 2048, 4096, 12288].map(|len| size.is_aligned(len)),
        [true, false, false, true, true]
    );
    assert_eq!(
        (size.to_string(), size.as_u64(), size.as_usize()),
        (String::from("4096"), 4096, 4096)
    );
}

#[test]
fn blocks_of_a_source_leave_the_rest_out() {
    let bytes: Vec<u8> = (0..1500_u32).map(|index| index as u8).collect();
    let device = SourceBlocks::new(&bytes[..], BlockSize::B512).unwrap();
    assert_eq!((device.block_size(), device.block_count()), (BlockSize::B512, 2));
    let mut buf = [0; 512];
    device.read_blocks(1, &mut buf).unwrap();
    assert_eq!(buf, bytes[512..1024]);
    assert!(device.read_blocks(2, &mut buf).is_err());
    // A source that became shorter.
    let short = Window::new(Shrinking, SourceRange::whole(1024)).unwrap();
    let device = SourceBlocks::new(short, BlockSize::B512).unwrap();
    let error = device.read_blocks(1, &mut buf).unwrap_err();
    assert!(matches!(
        (error.first, error.count, error.kind),
        (1, 1, BlockErrorKind::Device(_))
    ));
}

/// A source that cannot be read.
struct Shrinking;

impl ByteSource for Shrinking {
    fn len(&self) -> Result<u64, disk::ReadError> {
        Ok(1024)
    }

    fn read_exact_at(&self, offset: u64, buf: &mut [u8]) -> Result<(), disk::ReadError> {
        Err(disk::ReadError::new(offset, buf.len(), ReadErrorKind::Shrunk))
    }
}

#[test]
fn a_window_is_a_part() {
    let bytes: Vec<u8> = (0..100).collect();
    let range = |offset, len| SourceRange::new(offset, len).unwrap();
    let window = Window::new(&bytes, range(10, 20)).unwrap();
    assert_eq!((window.len().unwrap(), window.range()), (20, range(10, 20)));
    let mut buf = [0; 5];
    window.read_exact_at(15, &mut buf).unwrap();
    assert_eq!(buf, [25, 26, 27, 28, 29]);
    for offset in [16, 20, 90, u64::MAX] {
        let error = window.read_exact_at(offset, &mut buf).unwrap_err();
        assert!(matches!(error.kind, ReadErrorKind::PastEnd(20)), "{error}");
    }
    assert!(matches!(window.backing_store(), boot_core::BackingStore::Bytes(part) if *part == bytes[10..30]));
    let inner = Window::new(&window, range(5, 15)).unwrap();
    inner.read_exact_at(10, &mut buf).unwrap();
    assert_eq!(buf, [25, 26, 27, 28, 29]);
    assert!(Window::new(&window, range(5, 16)).is_err());
    assert!(Window::new(&bytes, range(101, 0)).is_err());
    assert!(Window::new(&bytes, range(100, 0)).is_ok());
    let opaque = Window::new(Shrinking, range(0, 10)).unwrap();
    assert!(matches!(opaque.backing_store(), boot_core::BackingStore::Opaque));
}

#[test]
fn extents_are_merged_and_cut() {
    let mut extents = Extents::new();
    assert!(extents.is_empty());
    let range = |offset, len| SourceRange::new(offset, len).unwrap();
    extents.push(range(10, 5)).unwrap();
    extents.push(range(15, 5)).unwrap();
    extents.push(range(50, 0)).unwrap();
    extents.push_hole(4).unwrap();
    extents.push_hole(0).unwrap();
    extents.push_hole(6).unwrap();
    extents.push(range(20, 10)).unwrap();
    extents.push(range(10, 10)).unwrap();
    let extent = |start, len, source| Extent { start, len, source };
    let pieces = [
        extent(0, 10, Some(10)),
        extent(10, 10, None),
        extent(20, 10, Some(20)),
        extent(30, 10, Some(10)),
    ];
    assert_eq!(
        (extents.pieces(), extents.len(), extents.is_empty()),
        (&pieces[..], 40, false)
    );
    let cut = |len| {
        let mut extents = extents.clone();
        extents.truncate(len);
        assert_eq!(extents.len(), len.min(40));
        extents
    };
    assert_eq!(cut(41), extents);
    assert_eq!(cut(40), extents);
    assert_eq!(cut(30).pieces(), &pieces[..3]);
    assert_eq!(cut(25).pieces(), &[pieces[0], pieces[1], extent(20, 5, Some(20))]);
    assert_eq!(cut(0).pieces(), &[]);
    // After a cut, a piece at its end continues the last one.
    let mut again = cut(25);
    again.push(range(25, 5)).unwrap();
    assert_eq!(again, cut(30));

    let error = extents.push_hole(u64::MAX).unwrap_err();
    assert_eq!(
        error,
        ExtentError {
            file_offset: 40,
            len: u64::MAX
        }
    );
    assert_eq!(
        error.to_string(),
        "a piece of 0xffffffffffffffff bytes at offset 0x28 of the file ends past the last byte offset"
    );
    assert_eq!(extents.len(), 40);
    let source = ExtentSource::new(vec![0_u8; 25], extents.clone());
    assert_eq!((source.len().unwrap(), source.extents()), (40, &extents));
    // The piece from 20 to 30 is past the end of the source.
    assert!(source.read_exact_at(0, &mut [0; 25]).is_ok());
    assert!(matches!(
        source.read_exact_at(0, &mut [0; 26]).unwrap_err().kind,
        ReadErrorKind::PastEnd(25)
    ));
    assert!(matches!(
        source.read_exact_at(40, &mut [0; 1]).unwrap_err().kind,
        ReadErrorKind::PastEnd(40)
    ));
    assert!(source.read_exact_at(u64::MAX, &mut [0; 1]).is_err());
}
