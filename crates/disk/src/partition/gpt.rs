//! GUID Partition Table (UEFI specification 2.10, section 5.3).

use alloc::string::String;
use alloc::vec;
use alloc::vec::Vec;
use core::mem::offset_of;

use boot_core::arith;
use crc::{CRC_32_ISO_HDLC, Crc, Table};
use uguid::Guid;
use zerocopy::FromBytes;

use super::error::{GptError, GptErrorKind, PartitionError};
use super::limits::{MAX_ARRAY_LEN, MAX_ENTRY_SIZE};
use super::raw::{GPT_REVISION, GPT_SIGNATURE, GptHeader, GptPartitionEntry};
use super::reader::Disk;
use super::table::{
    Partition, PartitionAttributes, PartitionSignature, PartitionTable, PartitionType, TableKind,
};
use super::warning::TableWarning;

/// Block of the primary header.
const PRIMARY: u64 = 1;

/// Length of the reads of an entry array, a multiple of every entry size.
const CHUNK: usize = 64 << 10;

/// CRC32 of headers and entry arrays, with a table of 1 KiB.
static CRC32: Crc<u32, Table<1>> = Crc::<u32, Table<1>>::new(&CRC_32_ISO_HDLC);

/// Reads the primary GPT, or the backup if the primary one is invalid.
pub(super) fn read(disk: &Disk<'_>, is_hybrid: bool) -> Result<PartitionTable, PartitionError> {
    let mut alternate = None;
    let mut table = match read_at(disk, PRIMARY, &mut alternate) {
        Ok(table) => table,
        Err(primary) => {
            // An `AlternateLBA` with a valid checksum precedes the last block of the disk, which may have grown.
            let last = disk.block_count().saturating_sub(1);
            let alternate = alternate.filter(|block| !matches!(*block, 0 | PRIMARY) && *block != last);
            let candidates = [alternate, Some(last)];
            let mut found = None;
            let mut backup_error = None;
            for block in candidates.into_iter().flatten() {
                match read_at(disk, block, &mut None) {
                    Ok(table) => {
                        found = Some(table);
                        break;
                    }
                    Err(error) => backup_error = Some(error),
                }
            }
            match (found, backup_error) {
                (Some(mut table), _) => {
                    table.warnings.insert(0, TableWarning::BackupUsed { primary });
                    table
                }
                (None, Some(backup)) => return Err(PartitionError::Gpt { primary, backup }),
                // `candidates` has an element, so there is a table or an error.
                (None, None) => return Ok(PartitionTable::new(TableKind::None)),
            }
        }
    };
    if is_hybrid {
        table.warnings.push(TableWarning::HybridMbr);
    }
    Ok(table)
}

/// Reads the GPT with a header at `block`. `alternate` becomes `AlternateLBA` if the header is valid.
fn read_at(disk: &Disk<'_>, block: u64, alternate: &mut Option<u64>) -> Result<PartitionTable, GptError> {
    let at = |kind| GptError { block, kind };
    let header = read_header(disk, block).map_err(at)?;
    *alternate = Some(header.alternate_lba.get());
    read_entries(disk, block, &header).map_err(at)
}

/// Reads and checks a header.
fn read_header(disk: &Disk<'_>, block: u64) -> Result<GptHeader, GptErrorKind> {
    let block_size = disk.block_size;
    let bytes = disk
        .source
        .read_vec(disk.offset_of(block), block_size.as_usize())?;
    let Ok((header, _)) = GptHeader::read_from_prefix(&bytes) else {
        // Blocks have 512 bytes or more.
        return Err(GptErrorKind::Signature { found: [0; 8] });
    };
    if header.signature != GPT_SIGNATURE {
        return Err(GptErrorKind::Signature {
            found: header.signature,
        });
    }
    let found = header.header_size.get();
    let covered = usize::try_from(found)
        .ok()
        .filter(|size| *size >= size_of::<GptHeader>())
        .and_then(|size| bytes.get(..size))
        .ok_or(GptErrorKind::HeaderSize {
            found,
            block_size: block_size.bytes(),
        })?;
    let computed = header_crc32(covered);
    let found = header.header_crc32.get();
    if found != computed {
        return Err(GptErrorKind::HeaderCrc32 { found, computed });
    }
    let revision = header.revision.get();
    if revision >> 16 != GPT_REVISION >> 16 {
        return Err(GptErrorKind::Revision { found: revision });
    }
    let my_lba = header.my_lba.get();
    if my_lba != block {
        return Err(GptErrorKind::MyLba { found: my_lba });
    }
    Ok(header)
}

/// CRC32 of a header, with zero in place of the checksum.
fn header_crc32(header: &[u8]) -> u32 {
    const START: usize = offset_of!(GptHeader, header_crc32);
    let mut digest = CRC32.digest();
    digest.update(header.get(..START).unwrap_or_default());
    digest.update(&[0; 4]);
    digest.update(header.get(START.saturating_add(4)..).unwrap_or_default());
    digest.finalize()
}

/// Reads the entries of a valid header.
fn read_entries(disk: &Disk<'_>, block: u64, header: &GptHeader) -> Result<PartitionTable, GptErrorKind> {
    let size = header.size_of_partition_entry.get();
    if !(size.is_power_of_two() && (128..=MAX_ENTRY_SIZE).contains(&size)) {
        return Err(GptErrorKind::EntrySize { found: size });
    }
    let count = header.number_of_partition_entries.get();
    let len = count
        .checked_mul(size)
        .filter(|len| *len <= MAX_ARRAY_LEN)
        .ok_or(GptErrorKind::TooManyEntries { count, size })?;
    let first_block = header.partition_entry_lba.get();
    let offset =
        entry_array_offset(disk, block, first_block, u64::from(len)).ok_or(GptErrorKind::EntryArray {
            first_block,
            len: u64::from(len),
        })?;

    let mut table = PartitionTable::new(TableKind::Gpt {
        disk_guid: Guid::from_bytes(header.disk_guid),
    });
    let (Ok(len), Ok(size)) = (usize::try_from(len), usize::try_from(size)) else {
        return Err(GptErrorKind::TooManyEntries { count, size });
    };
    let mut digest = CRC32.digest();
    let mut chunk = vec![0; len.min(CHUNK)];
    let mut done = 0_usize;
    let mut number = 0_u32;
    while done < len {
        let take = len.saturating_sub(done).min(CHUNK);
        let Some(bytes) = chunk.get_mut(..take) else {
            break;
        };
        disk.source
            .read_exact_at(offset.saturating_add(arith::to_u64(done)), bytes)?;
        digest.update(bytes);
        for bytes in bytes.chunks_exact(size) {
            number = number.saturating_add(1);
            if let Ok((entry, _)) = GptPartitionEntry::read_from_prefix(bytes) {
                add(disk, header, number, &entry, &mut table);
            }
        }
        done = done.saturating_add(take);
    }
    let computed = digest.finalize();
    let found = header.partition_entry_array_crc32.get();
    if found != computed {
        return Err(GptErrorKind::EntryArrayCrc32 { found, computed });
    }
    Ok(table)
}

/// Byte offset of an entry array; `None` if it is outside the disk or covers the MBR or its header.
fn entry_array_offset(disk: &Disk<'_>, header_block: u64, first_block: u64, len: u64) -> Option<u64> {
    let offset = disk.block_size.offset_of(first_block)?;
    let range = disk.source.range(offset, len).ok()?;
    let header = disk.block_size.offset_of(header_block)?;
    let header_end = header.checked_add(disk.block_size.as_u64())?;
    let covers_header = range.offset() < header_end && header < range.end();
    (first_block > PRIMARY && !covers_header).then_some(range.offset())
}

/// Adds the partition of an entry, or a warning.
fn add(
    disk: &Disk<'_>,
    header: &GptHeader,
    number: u32,
    entry: &GptPartitionEntry,
    table: &mut PartitionTable,
) {
    let partition_type = Guid::from_bytes(entry.partition_type_guid);
    if partition_type.is_zero() {
        return;
    }
    let (first_block, last_block) = (entry.starting_lba.get(), entry.ending_lba.get());
    let Some(block_count) = last_block.checked_sub(first_block) else {
        table.warnings.push(TableWarning::Reversed {
            number,
            first_block,
            last_block,
        });
        return;
    };
    let block_count = block_count.saturating_add(1);
    let Some(range) = disk.range(first_block, block_count) else {
        table.warnings.push(TableWarning::PastEnd {
            number,
            last_block,
            block_count: disk.block_count(),
        });
        return;
    };
    let (first_usable, last_usable) = (header.first_usable_lba.get(), header.last_usable_lba.get());
    if first_block < first_usable || last_block > last_usable {
        table.warnings.push(TableWarning::OutsideUsable {
            number,
            first_usable,
            last_usable,
        });
    }
    table.partitions.push(Partition {
        number,
        first_block,
        block_count,
        range,
        kind: PartitionType::Gpt(partition_type),
        signature: PartitionSignature::Gpt(Guid::from_bytes(entry.unique_partition_guid)),
        attributes: PartitionAttributes::from_bits_retain(entry.attributes.get()),
        name: name(entry),
    });
}

/// The name up to its NUL.
fn name(entry: &GptPartitionEntry) -> String {
    let units: Vec<u16> = entry
        .partition_name
        .iter()
        .map(|unit| unit.get())
        .take_while(|unit| *unit != 0)
        .collect();
    String::from_utf16_lossy(&units)
}
