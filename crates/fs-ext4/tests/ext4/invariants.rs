//! What holds for every partition. The fuzz target includes this file.

use std::ops::ControlFlow;

use disk::{ByteSource, DirPosition, FileSystem, FsError, Node, NodeKind};
use fmt_test::CountingSource;
use fs_ext4::{Ext4Error, Ext4Fs, MAX_DIRECTORY_LEN, MAX_JOURNAL_ENTRIES, MAX_MAP_BLOCKS, MAX_PIECES};

/// Reads of a map of blocks, and of the inode before it.
const MAX_MAP_READS: u64 = MAX_MAP_BLOCKS as u64 + 2;
/// Reads of a call that follows symbolic links: these have a budget of 32 MiB of directories for all links of a call. A directory counts at least one
/// byte, so that the number of reads is bounded by the lengths of directories and the maps of those.
const MAX_WALK_READS: u64 = 1 << 21;
/// Limits of the walk through all directories.
const MAX_DEPTH: usize = 4;
const MAX_NODES: usize = 100;
const MAX_LOOKUPS: usize = 20;

/// What a walk through a volume found.
#[derive(Debug, Default)]
pub(crate) struct Found {
    /// Paths of the files that can be opened, with their lengths.
    pub(crate) files: Vec<(String, u64)>,
    /// Errors of directories and files.
    pub(crate) errors: Vec<FsError>,
}

/// Reads all directories and files of a partition, within limits, and checks them.
pub(crate) fn check(bytes: &[u8], len: u64) -> Result<Found, Ext4Error> {
    let source = CountingSource::sparse(bytes, len);
    let max = MAX_MAP_READS + 4 + 4 * MAX_JOURNAL_ENTRIES as u64;
    let fs = match source.limited(max, || Ext4Fs::new(&source)) {
        Ok(fs) => fs,
        Err(error) => {
            assert!(!error.to_string().is_empty());
            return Err(error);
        }
    };
    let geometry = fs.geometry();
    assert!(geometry.block_count * u64::from(geometry.block_size) <= source.len().unwrap());
    assert!((1024..=65536).contains(&geometry.block_size) && geometry.block_size.is_power_of_two());
    let mut found = Found::default();
    let mut lookups = 0;
    let mut directories = vec![(String::new(), 0, fs.root())];
    let mut nodes = 0;
    while let Some((path, depth, directory)) = directories.pop() {
        let (entries, result) = source.limited(MAX_WALK_READS, || read(&fs, &directory));
        if let Err(error) = result {
            assert!(!error.to_string().is_empty());
            found.errors.push(error);
        }
        for (name, node) in entries {
            nodes += 1;
            if nodes > MAX_NODES {
                return Ok(found);
            }
            let path = format!("{path}/{name}");
            let can_be_looked_up = !path.contains([char::REPLACEMENT_CHARACTER, '\\']);
            if lookups < MAX_LOOKUPS && can_be_looked_up {
                lookups += 1;
                match source.limited(MAX_WALK_READS, || fs.lookup(&path)) {
                    // Behind symbolic links, a path may have more of them than are followed.
                    Ok(node) => assert!(node.is_some() || depth > 0, "{path:?}"),
                    Err(error) => assert!(!error.to_string().is_empty()),
                }
            }
            match node.kind {
                NodeKind::Directory => {
                    assert!(matches!(fs.open(&node), Err(FsError::NotAFile)));
                    if depth < MAX_DEPTH {
                        directories.push((path, depth + 1, node));
                    }
                }
                NodeKind::File => check_file(&fs, &source, path, &node, &mut found),
                _ => assert!(matches!(fs.open(&node), Err(FsError::NotAFile))),
            }
        }
    }
    Ok(found)
}

/// The first entries of a directory, and how it ended.
fn read(fs: &Ext4Fs<&CountingSource<'_>>, directory: &Node) -> (Vec<(String, Node)>, Result<(), FsError>) {
    let mut entries = Vec::new();
    let mut position = DirPosition::START;
    let result = fs.read_dir(directory, DirPosition::START, &mut |entry| {
        let is_legal = |char| !matches!(char, '\0' | '/');
        assert!(!entry.name.is_empty() && entry.name.chars().all(is_legal));
        assert!(entry.name != "." && entry.name != "..", "{:?}", entry.name);
        assert!(position < entry.next && entry.next.0 <= MAX_DIRECTORY_LEN);
        position = entry.next;
        entries.push((entry.name.to_owned(), entry.node));
        if entries.len() < MAX_NODES {
            ControlFlow::Continue(())
        } else {
            ControlFlow::Break(())
        }
    });
    (entries, result)
}

fn check_file(
    fs: &Ext4Fs<&CountingSource<'_>>,
    source: &CountingSource<'_>,
    path: String,
    node: &Node,
    found: &mut Found,
) {
    assert!(matches!(
        fs.read_dir(node, DirPosition::START, &mut |_| ControlFlow::Continue(())),
        Err(FsError::NotADirectory { component: None })
    ));
    let geometry = fs.geometry();
    let len = node.metadata.len;
    let file = match source.limited(MAX_MAP_READS, || fs.open_file(node)) {
        Ok(file) => file,
        Err(error) => {
            assert!(!error.to_string().is_empty());
            found.errors.push(error);
            return;
        }
    };
    assert_eq!(file.len().ok(), Some(len));
    let pieces = file.extents().pieces();
    assert!(pieces.len() <= MAX_PIECES + 2);
    let mut end = 0;
    let volume_len = geometry.block_count * u64::from(geometry.block_size);
    for piece in pieces {
        assert!(piece.start == end && piece.len > 0);
        end += piece.len;
        if let Some(offset) = piece.source {
            assert!(offset >= u64::from(geometry.block_size) && offset + piece.len <= volume_len);
            assert_eq!(offset % u64::from(geometry.block_size), 0);
        }
    }
    assert_eq!(end, len);
    // One read for each piece, of the start and of the end.
    let part = usize::try_from(len.min(3000)).unwrap_or_default();
    let mut buf = vec![0; part];
    for offset in [0, len - part as u64] {
        let reads = source.limited(pieces.len() as u64, || file.read_exact_at(offset, &mut buf));
        assert!(reads.is_ok());
    }
    assert!(file.read_exact_at(len, &mut [0]).is_err());
    found.files.push((path, len));
}
