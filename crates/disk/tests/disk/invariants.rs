//! What holds for the partition table of every disk. The fuzz target includes this file.

use disk::{
    BlockSize, PartitionError, PartitionTable, SourceRange, TableWarning, partitions, probe_block_size,
};
use fmt_test::CountingSource;

/// Maximum number of reads of a table: the MBR, and 128 extended boot records for each of its records, or three headers with 16
/// reads of entries each.
pub(crate) const MAX_READS: u64 = 1 + 4 * 128;

/// Maximum number of bytes that are read: three headers and entry arrays.
pub(crate) const MAX_BYTES: u64 = 512 + 3 * ((64 << 10) + (1 << 20));

/// Reads the table of a disk and checks it.
pub(crate) fn check(disk: &[u8], block_size: BlockSize) -> Result<PartitionTable, PartitionError> {
    let source = CountingSource::new(disk);
    let result = partitions(&source, block_size);
    assert!(source.reads() <= MAX_READS, "{} reads", source.reads());
    assert!(source.bytes_read() <= MAX_BYTES, "{} bytes", source.bytes_read());
    probe_block_size(&source).expect("reads of memory succeed");
    match &result {
        Ok(table) => check_table(disk, block_size, table),
        Err(error) => assert!(!error.to_string().is_empty()),
    }
    result
}

fn check_table(disk: &[u8], block_size: BlockSize, table: &PartitionTable) {
    let size = block_size.as_u64();
    for warning in &table.warnings {
        assert!(!warning.to_string().is_empty());
    }
    for partition in &table.partitions {
        assert!(partition.number > 0 && partition.block_count > 0);
        let range = SourceRange::new(partition.first_block * size, partition.block_count * size);
        assert_eq!(Some(partition.range), range);
        assert!(partition.range.end() <= disk.len() as u64);
        assert!(partition.window(disk).is_ok());
        assert!(
            table
                .partition(partition.number)
                .is_some_and(|found| found == partition)
        );
        assert!(partition.name.encode_utf16().count() <= 36);
        assert!(!partition.kind.to_string().is_empty());
    }
    // Every overlapping partition is in a warning, and every warning is true.
    let mut reported = Vec::new();
    for warning in &table.warnings {
        if let TableWarning::Overlap { first, second } = warning {
            let [first, second] =
                [first, second].map(|number| table.partition(*number).expect("it is listed"));
            assert!(first.first_block <= second.first_block);
            assert!(second.range.offset() < first.range.end(), "no overlap");
            reported.push(second.number);
        }
    }
    // Large tables of the fuzzer would make this slow.
    if table.partitions.len() <= 256 {
        for (index, left) in table.partitions.iter().enumerate() {
            for right in table.partitions.iter().skip(index + 1) {
                let is_disjoint =
                    left.range.end() <= right.range.offset() || right.range.end() <= left.range.offset();
                let is_reported = reported.contains(&left.number) || reported.contains(&right.number);
                assert!(is_disjoint || is_reported, "{left:?} and {right:?}");
            }
        }
    }
}
