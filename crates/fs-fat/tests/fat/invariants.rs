//! What holds for every partition. The fuzz target includes this file.

use std::ops::ControlFlow;

use disk::{ByteSource, DirPosition, FileSystem, FsError, Node, NodeKind};
use fmt_test::CountingSource;
use fs_fat::{FatError, FatFs, MAX_DIRECTORY_LEN, MAX_PIECES};

/// Reads of a directory: its chain, and its chunks by fragment.
const MAX_DIRECTORY_READS: u64 = 2 * (MAX_DIRECTORY_LEN as u64 / 512) + MAX_DIRECTORY_LEN as u64 / (16 << 10);

/// Limits of the walk through all directories.
const MAX_DEPTH: usize = 4;
const MAX_NODES: usize = 200;
/// Limit of the nodes that are looked up by their paths.
const MAX_LOOKUPS: usize = 50;

/// What a walk through a volume found.
#[derive(Debug, Default)]
pub(crate) struct Found {
    /// Paths of the files that can be opened, with their lengths.
    pub(crate) files: Vec<(String, u64)>,
    /// Errors of directories and files.
    pub(crate) errors: Vec<FsError>,
}

/// Reads all directories and files of a partition, within limits, and checks them.
pub(crate) fn check(bytes: &[u8], len: u64) -> Result<Found, FatError> {
    let source = CountingSource::sparse(bytes, len);
    let fs = source.limited(1 + MAX_DIRECTORY_READS, || FatFs::new(&source));
    let fs = match fs {
        Ok(fs) => fs,
        Err(error) => {
            assert!(!error.to_string().is_empty());
            return Err(error);
        }
    };
    let geometry = fs.geometry();
    assert!(geometry.volume_len <= source.len().unwrap() && geometry.data_offset < geometry.volume_len);
    assert!(geometry.fat_offset + geometry.fat_len <= geometry.data_offset);
    let end = geometry
        .offset_of(geometry.max_cluster)
        .map(|offset| offset + u64::from(geometry.cluster_size));
    assert!(end.is_some_and(|end| end <= geometry.volume_len));
    assert!(geometry.offset_of(geometry.max_cluster + 1).is_none() && geometry.offset_of(1).is_none());
    let mut found = Found::default();
    let mut lookups = 0;
    let mut directories = vec![(String::new(), 0, fs.root())];
    let mut nodes = 0;
    while let Some((path, depth, directory)) = directories.pop() {
        let entries = source.limited(MAX_DIRECTORY_READS, || read(&fs, &directory));
        let (entries, result) = entries;
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
            if lookups < MAX_LOOKUPS && !name.contains(char::REPLACEMENT_CHARACTER) {
                lookups += 1;
                let max = (depth as u64 + 1) * MAX_DIRECTORY_READS;
                // Another entry may have the same name, and the directory may be broken after this entry.
                match source.limited(max, || fs.lookup(&path)) {
                    Ok(node) => assert!(node.is_some(), "{path:?}"),
                    Err(error) => assert!(!error.to_string().is_empty()),
                }
            }
            if node.kind == NodeKind::Directory {
                assert!(matches!(fs.open(&node), Err(FsError::NotAFile)));
                if depth < MAX_DEPTH {
                    directories.push((path, depth + 1, node));
                }
            } else {
                assert!(matches!(
                    read(&fs, &node).1,
                    Err(FsError::NotADirectory { component: None })
                ));
                check_file(&fs, &source, path, &node, &mut found);
            }
        }
    }
    Ok(found)
}

/// The first entries of a directory, and how it ended.
fn read(fs: &FatFs<&CountingSource<'_>>, directory: &Node) -> (Vec<(String, Node)>, Result<(), FsError>) {
    let mut entries = Vec::new();
    let mut position = DirPosition::START;
    let result = fs.read_dir(directory, DirPosition::START, &mut |entry| {
        check_name(entry.name);
        assert!(position < entry.next && entry.next.0 <= MAX_DIRECTORY_LEN.into());
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

fn check_name(name: &str) {
    let units = name.encode_utf16().count();
    assert!((1..=255).contains(&units), "{name:?}");
    let is_legal = |char| !matches!(char, '\0'..='\x1f' | '/' | '\\');
    assert!(
        name.chars().all(is_legal) && name != "." && name != "..",
        "{name:?}"
    );
}

fn check_file(
    fs: &FatFs<&CountingSource<'_>>,
    source: &CountingSource<'_>,
    path: String,
    node: &Node,
    found: &mut Found,
) {
    let geometry = fs.geometry();
    let len = node.metadata.len;
    let clusters = len.div_ceil(geometry.cluster_size.into());
    let file = match source.limited(clusters.min(MAX_PIECES as u64) + 1, || fs.open_file(node)) {
        Ok(file) => file,
        Err(error) => {
            assert!(!error.to_string().is_empty());
            found.errors.push(error);
            return;
        }
    };
    assert_eq!(file.len().ok(), Some(len));
    let pieces = file.extents().pieces();
    assert_eq!(pieces.iter().map(|piece| piece.len).sum::<u64>(), len);
    let mut sorted: Vec<_> = pieces
        .iter()
        .map(|piece| (piece.source.expect("no hole"), piece.len))
        .collect();
    sorted.sort_unstable();
    assert!(
        sorted
            .iter()
            .all(|(start, len)| *start >= geometry.data_offset && start + len <= geometry.volume_len)
    );
    assert!(
        sorted.windows(2).all(|pair| pair[0].0 + pair[0].1 <= pair[1].0),
        "a cluster occurs twice"
    );
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
