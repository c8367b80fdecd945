//! Master Boot Record with extended partitions.

use alloc::string::String;
use alloc::vec::Vec;

use super::raw::{MBR_SIGNATURE, MasterBootRecord, MbrPartitionRecord};
use super::warning::{ChainDefect, TableWarning};
use super::{
    Disk, Partition, PartitionAttributes, PartitionSignature, PartitionTable, PartitionType, TableKind,
};

/// Maximum number of extended boot records of an extended partition.
pub const MAX_LOGICAL: usize = 128;

/// Number of the first logical partition.
const FIRST_LOGICAL: u32 = 5;

/// Whether a type is that of an extended partition: with CHS or LBA addresses, or of Linux.
const fn is_extended(os_type: u8) -> bool {
    matches!(os_type, 0x05 | 0x0f | 0x85)
}

/// Reads the partitions of an MBR. Defects of the chain of extended boot records are warnings.
pub(super) fn read(disk: &Disk<'_>, mbr: &MasterBootRecord) -> PartitionTable {
    let signature = mbr.unique_mbr_disk_signature.get();
    let mut table = PartitionTable::new(TableKind::Mbr { signature });
    for (record, number) in mbr.partition_record.iter().zip(1..) {
        if record.is_used() && !is_extended(record.os_type) {
            add(disk, signature, number, 0, record, &mut table);
        }
    }
    let mut number = FIRST_LOGICAL;
    for record in &mbr.partition_record {
        if record.is_used() && is_extended(record.os_type) {
            add_logical(disk, signature, &mut number, record, &mut table);
        }
    }
    table
}

/// Adds the partition of a record whose blocks count from `base`, or a warning.
fn add(
    disk: &Disk<'_>,
    signature: u32,
    number: u32,
    base: u64,
    record: &MbrPartitionRecord,
    table: &mut PartitionTable,
) {
    let first_block = base.saturating_add(u64::from(record.starting_lba.get()));
    let block_count = u64::from(record.size_in_lba.get());
    let Some(range) = disk.range(first_block, block_count) else {
        table.warnings.push(TableWarning::PastEnd {
            number,
            last_block: first_block.saturating_add(block_count).saturating_sub(1),
            block_count: disk.block_count(),
        });
        return;
    };
    let attributes = match record.boot_indicator {
        0x80 => PartitionAttributes::LEGACY_BIOS_BOOTABLE,
        _ => PartitionAttributes::empty(),
    };
    table.partitions.push(Partition {
        number,
        first_block,
        block_count,
        range,
        kind: PartitionType::Mbr(record.os_type),
        signature: PartitionSignature::Mbr(signature),
        attributes,
        name: String::new(),
    });
}

/// Adds the logical partitions of an extended partition. Each extended boot record has a partition, relative to itself, and a
/// link to the next record, relative to the extended partition.
fn add_logical(
    disk: &Disk<'_>,
    signature: u32,
    number: &mut u32,
    extended: &MbrPartitionRecord,
    table: &mut PartitionTable,
) {
    let start = u64::from(extended.starting_lba.get());
    let mut link = 0_u32;
    let mut visited = Vec::new();
    loop {
        let block = start.saturating_add(u64::from(link));
        let defect = if link >= extended.size_in_lba.get() {
            Some(ChainDefect::Outside)
        } else if visited.contains(&link) {
            Some(ChainDefect::Cycle)
        } else if visited.len() >= MAX_LOGICAL {
            Some(ChainDefect::TooMany)
        } else {
            None
        };
        let record = match defect {
            Some(defect) => Err(defect),
            None => disk
                .source
                .read::<MasterBootRecord>(disk.offset_of(block))
                .map_err(ChainDefect::Read),
        };
        let [partition, next, ..] = match record {
            Ok(record) if record.signature.get() == MBR_SIGNATURE => record.partition_record,
            Ok(_) => {
                let defect = ChainDefect::NoSignature;
                table
                    .warnings
                    .push(TableWarning::LogicalPartitions { block, defect });
                return;
            }
            Err(defect) => {
                table
                    .warnings
                    .push(TableWarning::LogicalPartitions { block, defect });
                return;
            }
        };
        if partition.is_used() && !is_extended(partition.os_type) {
            add(disk, signature, *number, block, &partition, table);
            *number = number.saturating_add(1);
        }
        if !(next.is_used() && is_extended(next.os_type)) {
            return;
        }
        visited.push(link);
        link = next.starting_lba.get();
    }
}
