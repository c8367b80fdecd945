//! Small volumes with blocks of 1 KiB and one group, and everything that this crate reads. The seeds of the fuzz target include this file.

/// Block size in bytes.
pub(crate) const BLOCK: usize = 1024;
/// Number of blocks.
const BLOCKS: u32 = 1024;
const INODES: u32 = 64;
pub(crate) const INODE_SIZE: usize = 256;
/// First block of the inode table.
pub(crate) const INODE_TABLE: u32 = 5;
/// Offset of the superblock, and of the group descriptor.
pub(crate) const SUPERBLOCK: usize = 1024;
pub(crate) const DESCRIPTOR: usize = 2048;

const DIRECTORY: u16 = 0x41ed;
const FILE: u16 = 0x81a4;
const LINK: u16 = 0xa1ff;
const DEVICE: u16 = 0x21b6;
const EXTENTS: u32 = 0x8_0000;

/// A volume that is being written.
#[derive(Clone)]
pub(crate) struct Image {
    pub(crate) bytes: Vec<u8>,
    next_block: u32,
}

/// Bytes of a file: no two blocks are equal.
pub(crate) fn content(len: usize, seed: u32) -> Vec<u8> {
    let word = |index: usize| (index as u32).wrapping_mul(0x9e37_79b1).wrapping_add(seed);
    let words = (0..len.div_ceil(4)).flat_map(|index| word(index).to_le_bytes());
    words.take(len).collect()
}

/// The bytes of one block of a directory: inode, type and name of each entry.
pub(crate) fn directory(entries: &[(u32, u8, &str)]) -> Vec<u8> {
    let mut block = Vec::new();
    for (index, (inode, kind, name)) in entries.iter().enumerate() {
        let used = (8 + name.len()).next_multiple_of(4);
        let len = if index + 1 == entries.len() {
            BLOCK - block.len()
        } else {
            used
        };
        let start = block.len();
        block.extend(inode.to_le_bytes());
        block.extend((len as u16).to_le_bytes());
        block.extend([name.len() as u8, *kind]);
        block.extend(name.as_bytes());
        block.resize(start + len, 0);
    }
    block
}

/// A node of a tree of extents: header, then entries of 12 bytes.
pub(crate) fn node(depth: u16, max: u16, entries: &[[u8; 12]]) -> Vec<u8> {
    let mut node = vec![0x0a, 0xf3];
    for field in [entries.len() as u16, max, depth] {
        node.extend(field.to_le_bytes());
    }
    node.extend([0; 4]);
    node.extend(entries.concat());
    node
}

/// An extent: first block of the file, number of blocks, first block of the volume.
pub(crate) fn extent(block: u32, len: u16, start: u32) -> [u8; 12] {
    let mut entry = [0; 12];
    entry[..4].copy_from_slice(&block.to_le_bytes());
    entry[4..6].copy_from_slice(&len.to_le_bytes());
    entry[8..].copy_from_slice(&start.to_le_bytes());
    entry
}

fn index(block: u32, leaf: u32) -> [u8; 12] {
    let mut entry = [0; 12];
    entry[..4].copy_from_slice(&block.to_le_bytes());
    entry[4..8].copy_from_slice(&leaf.to_le_bytes());
    entry
}

impl Image {
    pub(crate) fn put(&mut self, offset: usize, bytes: &[u8]) {
        self.bytes[offset..offset + bytes.len()].copy_from_slice(bytes);
    }

    pub(crate) fn put_block(&mut self, block: u32, bytes: &[u8]) {
        self.put(block as usize * BLOCK, bytes);
    }

    /// The first of `count` blocks that nothing uses.
    pub(crate) fn allocate(&mut self, count: u32) -> u32 {
        let first = self.next_block;
        self.next_block += count;
        assert!(self.next_block <= BLOCKS);
        first
    }

    /// A volume without files. Its features are file types, extents, and `incompat`.
    pub(crate) fn new(incompat: u32) -> Self {
        let mut image = Self {
            bytes: vec![0; BLOCKS as usize * BLOCK],
            next_block: INODE_TABLE + INODES * INODE_SIZE as u32 / BLOCK as u32,
        };
        for (offset, value) in [
            (0x00, INODES),
            (0x04, BLOCKS),
            (0x14, 1),
            (0x20, 8192),
            (0x24, 8192),
            (0x28, INODES),
            (0x38, 0x1_ef53),
            (0x4c, 1),
            (0x54, 11),
            (0x58, INODE_SIZE as u32),
            (0x60, 0x42 | incompat),
        ] {
            image.put(SUPERBLOCK + offset, &value.to_le_bytes());
        }
        image.put(SUPERBLOCK + 0x68, &[0x12; 16]);
        image.put(SUPERBLOCK + 0x78, b"SAMPLE");
        image.put(DESCRIPTOR, &3_u32.to_le_bytes());
        image.put(DESCRIPTOR + 4, &4_u32.to_le_bytes());
        image.put(DESCRIPTOR + 8, &INODE_TABLE.to_le_bytes());
        image
    }

    /// Offset of an inode.
    pub(crate) const fn inode_at(inode: u32) -> usize {
        INODE_TABLE as usize * BLOCK + (inode as usize - 1) * INODE_SIZE
    }

    pub(crate) fn inode(&mut self, inode: u32, mode: u16, len: usize, flags: u32, block: &[u8]) {
        let at = Self::inode_at(inode);
        self.put(at, &mode.to_le_bytes());
        self.put(at + 0x04, &(len as u32).to_le_bytes());
        for time in [0x08, 0x0c, 0x10] {
            self.put(at + time, &951_827_696_u32.to_le_bytes());
        }
        self.put(at + 0x1a, &1_u16.to_le_bytes());
        self.put(at + 0x20, &flags.to_le_bytes());
        self.put(at + 0x28, block);
        self.put(at + 0x80, &32_u16.to_le_bytes());
    }

    /// A directory or file in blocks that follow each other. Returns the first.
    pub(crate) fn whole(&mut self, inode: u32, mode: u16, bytes: &[u8]) -> u32 {
        let count = bytes.len().div_ceil(BLOCK) as u32;
        let start = self.allocate(count);
        self.put_block(start, bytes);
        let extents: &[[u8; 12]] = &[extent(0, count as u16, start)];
        let extents = if count == 0 { &[] } else { extents };
        self.inode(inode, mode, bytes.len(), EXTENTS, &node(0, 4, extents));
        start
    }

    pub(crate) fn file(&mut self, inode: u32, bytes: &[u8]) -> u32 {
        self.whole(inode, FILE, bytes)
    }

    pub(crate) fn dir(&mut self, inode: u32, blocks: &[&[(u32, u8, &str)]]) -> u32 {
        let bytes: Vec<u8> = blocks.iter().flat_map(|entries| directory(entries)).collect();
        self.whole(inode, DIRECTORY, &bytes)
    }

    /// A symbolic link.
    pub(crate) fn link(&mut self, inode: u32, target: &str) {
        if target.len() < 60 {
            self.inode(inode, LINK, target.len(), 0, target.as_bytes());
        } else {
            self.whole(inode, LINK, target.as_bytes());
        }
    }

    /// A file without extents, in single blocks that are apart. Blocks that are zeros are holes.
    fn numbers(&mut self, inode: u32, bytes: &[u8]) {
        let blocks: Vec<u32> = bytes
            .chunks(BLOCK)
            .map(|chunk| {
                if chunk.iter().all(|byte| *byte == 0) {
                    return 0;
                }
                let block = self.allocate(1);
                self.put_block(block, chunk);
                block
            })
            .collect();
        let mut numbers = [0; 15];
        let direct = blocks.len().min(12);
        numbers[..direct].copy_from_slice(&blocks[..direct]);
        let mut rest = &blocks[direct..];
        if !rest.is_empty() {
            let (single, after) = rest.split_at(rest.len().min(256));
            numbers[12] = self.map_block(single);
            rest = after;
        }
        if !rest.is_empty() {
            let singles: Vec<u32> = rest.chunks(256).map(|part| self.map_block(part)).collect();
            numbers[13] = self.map_block(&singles);
        }
        let block: Vec<u8> = numbers.iter().flat_map(|number| number.to_le_bytes()).collect();
        self.inode(inode, FILE, bytes.len(), 0, &block);
    }

    fn map_block(&mut self, numbers: &[u32]) -> u32 {
        let bytes: Vec<u8> = numbers.iter().flat_map(|number| number.to_le_bytes()).collect();
        let block = self.allocate(1);
        self.put_block(block, &bytes);
        block
    }
}

/// A volume with its files, and places of structures.
pub(crate) struct Sample {
    pub(crate) image: Image,
    /// Paths and contents.
    pub(crate) files: Vec<(&'static str, Vec<u8>)>,
    /// Offsets of entries of directories.
    pub(crate) entries: Vec<usize>,
    /// Offsets of nodes of trees of extents.
    pub(crate) nodes: Vec<usize>,
    /// Offsets of blocks with numbers of blocks.
    pub(crate) maps: Vec<usize>,
}

/// Inodes of the sample whose fields are worth changing.
pub(crate) const SAMPLE_INODES: [u32; 8] = [2, 12, 13, 14, 15, 16, 20, 23];

/// Writes directories, symbolic links and other nodes. Returns the first blocks of `/` and `/loader/entries`.
fn write_names(image: &mut Image, config: &[u8]) -> (u32, u32) {
    let long_target = "loader/".repeat(10).replace("loader/", "./")
        + "loader/entries/../entries/./././././././././././././a.conf";
    let root = image.dir(
        2,
        &[
            &[
                (2, 2, "."),
                (2, 2, ".."),
                (12, 2, "loader"),
                (13, 1, "vmlinuz"),
                (14, 1, "tree"),
                (15, 1, "old"),
            ],
            &[
                (0, 0, "removed"),
                (16, 7, "link"),
                (17, 7, "absolute"),
                (18, 7, "loop"),
                (19, 7, "lost"),
            ],
            &[
                (20, 7, "long"),
                (21, 3, "null"),
                (22, 1, "empty"),
                (63, 1, "unused"),
                (64, 2, "self"),
            ],
        ],
    );
    image.dir(12, &[&[(12, 2, "."), (2, 2, ".."), (23, 2, "entries")]]);
    let entries = image.dir(
        23,
        &[&[(23, 2, "."), (12, 2, ".."), (24, 1, "a.conf"), (25, 7, "kernel")]],
    );
    image.dir(64, &[&[(64, 2, "."), (64, 2, ".."), (64, 2, "again")]]);
    image.file(24, config);
    image.link(25, "../../vmlinuz");
    image.link(16, "loader/entries/a.conf");
    image.link(17, "/vmlinuz");
    image.link(18, "loop");
    image.link(19, "nowhere/file");
    image.link(20, &long_target);
    image.inode(21, DEVICE, 0, 0, &[]);
    image.inode(22, FILE, 0, EXTENTS, &node(0, 4, &[]));
    (root, entries)
}

/// A volume with all kinds of files.
pub(crate) fn sample() -> Sample {
    let mut image = Image::new(0);
    let config = b"title Sample\nlinux /vmlinuz\n".to_vec();
    let (root, entries) = write_names(&mut image, &config);

    // Two pieces, a hole between them, and blocks without data at the end.
    let mut kernel = content(9 * BLOCK + 100, 1);
    kernel[3 * BLOCK..5 * BLOCK].fill(0);
    kernel[8 * BLOCK..].fill(0);
    let (second, first) = (image.allocate(4), image.allocate(5));
    image.put_block(first, &kernel[..3 * BLOCK]);
    image.put_block(second, &kernel[5 * BLOCK..8 * BLOCK]);
    let pieces = [extent(0, 3, first), extent(5, 3, second), extent(8, 32768 + 4, 1)];
    image.inode(13, FILE, kernel.len(), EXTENTS, &node(0, 4, &pieces));

    // A tree of depth 2.
    let tree = content(20 * BLOCK, 2);
    let data = image.allocate(20);
    image.put_block(data, &tree);
    let singles: Vec<_> = (0..20).map(|block| extent(block, 1, data + block)).collect();
    let leaves: Vec<_> = (0..4).map(|leaf| image.allocate(leaf + 1)).collect();
    for (leaf, part) in leaves.iter().zip(singles.chunks(5)) {
        image.put_block(*leaf, &node(0, 84, part));
    }
    let middle = image.allocate(1);
    let indices: Vec<_> = leaves
        .iter()
        .zip(0..)
        .map(|(leaf, number)| index(number * 5, *leaf))
        .collect();
    image.put_block(middle, &node(1, 84, &indices));
    image.inode(14, FILE, tree.len(), EXTENTS, &node(2, 4, &[index(0, middle)]));

    // Numbers behind one and two blocks, with holes.
    let mut old = content(300 * BLOCK + 1, 3);
    old[2 * BLOCK..4 * BLOCK].fill(0);
    old[20 * BLOCK..22 * BLOCK].fill(0);
    image.numbers(15, &old);
    let at = Image::inode_at(15) + 0x28;
    let number = |place: usize| u32::from_le_bytes(image.bytes[at + place * 4..][..4].try_into().unwrap());
    let maps = vec![number(12) as usize * BLOCK, number(13) as usize * BLOCK, at];

    let root = root as usize * BLOCK;
    let entries = vec![
        root,
        root + 12,
        root + 24,
        root + BLOCK,
        entries as usize * BLOCK + 24,
    ];
    let mut nodes = vec![
        Image::inode_at(13) + 0x28,
        Image::inode_at(14) + 0x28,
        middle as usize * BLOCK,
    ];
    nodes.push(leaves[1] as usize * BLOCK);
    Sample {
        image,
        files: vec![
            ("/vmlinuz", kernel.clone()),
            ("/absolute", kernel.clone()),
            ("/loader/entries/kernel", kernel),
            ("/tree", tree),
            ("/old", old),
            ("/loader/entries/a.conf", config.clone()),
            ("/link", config.clone()),
            ("/long", config),
            ("/empty", Vec::new()),
        ],
        entries,
        nodes,
        maps,
    }
}

/// A block of a journal: header, then `rest`.
fn log_block(kind: u32, sequence: u32, rest: &[u8]) -> Vec<u8> {
    let mut block: Vec<u8> = [0xc03b_3998, kind, sequence]
        .iter()
        .flat_map(|field: &u32| field.to_be_bytes())
        .collect();
    block.extend(rest);
    block.resize(BLOCK, 0);
    block
}

/// A transaction of a journal.
#[derive(Clone, Debug, Default)]
pub(crate) struct Transaction {
    /// Blocks with their new bytes.
    pub(crate) blocks: Vec<(u32, Vec<u8>)>,
    pub(crate) revoked: Vec<u32>,
    /// Without it the transaction is not complete.
    pub(crate) is_committed: bool,
}

/// Form of tags in a journal: without features, with 64-bit numbers, or with checksums of version 3.
pub(crate) const TAG_FEATURES: [u32; 3] = [0x1, 0x3, 0x13];

/// Adds a journal of 16 blocks with these transactions, which begin `start` blocks after its superblock. Returns the offset of the journal.
pub(crate) fn add_journal(
    image: &mut Image,
    features: u32,
    start: u32,
    transactions: &[Transaction],
) -> usize {
    const LEN: u32 = 16;
    let first = image.allocate(LEN);
    let mut blocks = Vec::new();
    for (transaction, sequence) in transactions.iter().zip(7..) {
        if !transaction.revoked.is_empty() {
            let width = if features & 2 != 0 { 8 } else { 4 };
            let records: Vec<u8> = transaction
                .revoked
                .iter()
                .flat_map(|block| u64::from(*block).to_be_bytes()[8 - width..].to_vec())
                .collect();
            let used = (16 + records.len()) as u32;
            blocks.push(log_block(
                5,
                sequence,
                &[&used.to_be_bytes()[..], &records].concat(),
            ));
        }
        if !transaction.blocks.is_empty() {
            let mut tags = Vec::new();
            let mut data = Vec::new();
            for (index, (block, bytes)) in transaction.blocks.iter().enumerate() {
                let mut bytes = bytes.clone();
                bytes.resize(BLOCK, 0);
                let is_escaped = bytes.starts_with(&0xc03b_3998_u32.to_be_bytes());
                if is_escaped {
                    bytes[..4].fill(0);
                }
                let is_last = index + 1 == transaction.blocks.len();
                let flags =
                    u32::from(is_escaped) | if is_last { 8 } else { 0 } | if index > 0 { 2 } else { 0 };
                tags.extend(block.to_be_bytes());
                if features & 0x10 != 0 {
                    tags.extend(flags.to_be_bytes());
                    tags.extend([0; 8]);
                } else {
                    tags.extend([0, 0]);
                    tags.extend((flags as u16).to_be_bytes());
                    if features & 2 != 0 {
                        tags.extend([0; 4]);
                    }
                }
                if index == 0 {
                    tags.extend([0x55; 16]);
                }
                data.push(bytes);
            }
            blocks.push(log_block(1, sequence, &tags));
            blocks.extend(data);
        }
        if transaction.is_committed {
            blocks.push(log_block(2, sequence, &[]));
        }
    }
    let fields = [BLOCK as u32, LEN, 1, 7, start, 0, 0, features, 0];
    let superblock: Vec<u8> = fields.iter().flat_map(|field| field.to_be_bytes()).collect();
    image.put_block(first, &log_block(4, 0, &superblock));
    for (block, index) in blocks.iter().zip(0..) {
        // After the last block comes the first one after the superblock.
        let place = 1 + (start - 1 + index) % (LEN - 1);
        image.put_block(first + place, block);
    }
    image.inode(
        8,
        0x8180,
        LEN as usize * BLOCK,
        EXTENTS,
        &node(0, 4, &[extent(0, LEN as u16, first)]),
    );
    let incompat = SUPERBLOCK + 0x60;
    let features = u32::from_le_bytes(image.bytes[incompat..incompat + 4].try_into().unwrap());
    image.put(incompat, &(features | 4).to_le_bytes());
    image.put(SUPERBLOCK + 0x5c, &4_u32.to_le_bytes());
    image.put(SUPERBLOCK + 0xe0, &8_u32.to_le_bytes());
    first as usize * BLOCK
}
