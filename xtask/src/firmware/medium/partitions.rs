//! Partition tables: GPT (UEFI specification 2.10, section 5.3) and MBR (section 5.2).

use std::fs::{File, OpenOptions};
use std::io;
use std::ops::Range;
use std::path::Path;

use gpt_disk_io::gpt_disk_types::{
    BlockSize, Crc32, GptHeader, GptPartitionEntry, GptPartitionEntryArray, GptPartitionEntryArrayLayout,
    GptPartitionEntrySize, GptPartitionName, GptPartitionType, Guid, Lba, LbaLe, MasterBootRecord,
    MbrPartitionRecord, U32Le, guid,
};
use gpt_disk_io::{BlockIoAdapter, Disk, DiskError};

use super::error::MediumError;

/// Partitions start and end at multiples of this.
pub(super) const ALIGNMENT: u64 = 1 << 20;

/// Identifiers are fixed, so that equal inputs give equal media.
const DISK: Guid = guid!("6d2f5bb0-5e0c-4c5e-9d0e-4f0a4c1d7a01");
const PARTITIONS: [Guid; 2] = [
    guid!("6d2f5bb0-5e0c-4c5e-9d0e-4f0a4c1d7a02"),
    guid!("6d2f5bb0-5e0c-4c5e-9d0e-4f0a4c1d7a03"),
];
const MBR_SIGNATURE: [u8; 4] = [0x01, 0x7a, 0x1d, 0x4c];

/// "Extended Boot Loader Partition" of the Boot Loader Specification.
const XBOOTLDR: GptPartitionType = GptPartitionType(guid!("bc13c2ff-59e6-4262-a352-b275fd6f7172"));

/// "Linux filesystem data" of the Discoverable Partitions Specification.
const LINUX_DATA: GptPartitionType = GptPartitionType(guid!("0fc63daf-8483-4772-8e79-3d69d8477de4"));

/// Minimum length of the partition entry array of a GPT.
const ENTRIES: u32 = 128;

/// The kind of partition table.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Table {
    /// A GPT behind a protective MBR.
    Gpt,
    /// An MBR.
    Mbr,
}

/// Use of a partition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Use {
    /// EFI system partition.
    Esp,
    /// Extended boot loader partition.
    Xbootldr,
    /// Root file system of Linux.
    Root,
}

/// A partition: its use, and its bytes on the disk, which are aligned to [`ALIGNMENT`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Partition {
    pub(super) usage: Use,
    pub(super) bytes: Range<u64>,
}

impl Use {
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Esp => "esp",
            Self::Xbootldr => "xbootldr",
            Self::Root => "root",
        }
    }

    fn guid(self) -> GptPartitionType {
        match self {
            Self::Esp => GptPartitionType::EFI_SYSTEM,
            Self::Xbootldr => XBOOTLDR,
            Self::Root => LINUX_DATA,
        }
    }

    /// The type in an MBR: section 5.2.2 of the UEFI specification, and Linux.
    fn mbr(self) -> u8 {
        match self {
            Self::Esp => 0xef,
            Self::Xbootldr => 0xea,
            Self::Root => 0x83,
        }
    }
}

/// Places partitions of these lengths one behind the other. Returns them and the length of the disk.
pub(super) fn place(wanted: &[(Use, u64)]) -> (Vec<Partition>, u64) {
    let mut end = ALIGNMENT;
    let partitions = wanted
        .iter()
        .map(|(usage, length)| {
            let start = end;
            end += length.next_multiple_of(ALIGNMENT);
            Partition {
                usage: *usage,
                bytes: start..end,
            }
        })
        .collect();
    // The secondary GPT.
    (partitions, end + ALIGNMENT)
}

/// Writes the table of `partitions` to the disk image `path`, which has its final length.
pub(super) fn write(
    path: &Path,
    table: Table,
    block_size: u16,
    partitions: &[Partition],
) -> Result<(), MediumError> {
    let failed = |source| MediumError::Table {
        path: path.to_path_buf(),
        source,
    };
    let file = OpenOptions::new().read(true).write(true).open(path);
    let file = file.map_err(|source| failed(DiskError::Io(source)))?;
    match table {
        Table::Gpt => write_gpt(file, block_size, partitions),
        Table::Mbr => write_mbr(file, block_size, partitions),
    }
    .map_err(failed)
}

fn size_of_blocks(block_size: u16) -> Result<BlockSize, DiskError<io::Error>> {
    BlockSize::new(block_size.into()).ok_or(DiskError::BlockSizeSmallerThanPartitionEntry)
}

fn write_gpt(file: File, block_size: u16, partitions: &[Partition]) -> Result<(), DiskError<io::Error>> {
    let block = u64::from(block_size);
    let blocks = file.metadata()?.len() / block;
    let size = size_of_blocks(block_size)?;
    let mut disk = Disk::new(BlockIoAdapter::new(file, size))?;
    let mut buffer = vec![0; usize::from(block_size)];

    let entry_size = GptPartitionEntrySize::new(128).or(Err(DiskError::Overflow))?;
    let layout = |start| GptPartitionEntryArrayLayout {
        start_lba: Lba(start),
        entry_size,
        num_entries: ENTRIES,
    };
    let primary = layout(2);
    let array_blocks = primary.num_blocks(size).ok_or(DiskError::Overflow)?;
    let secondary = layout(blocks - 1 - array_blocks);
    let mut storage = vec![
        0;
        primary
            .num_bytes_rounded_to_block_as_usize(size)
            .ok_or(DiskError::Overflow)?
    ];
    let mut array =
        GptPartitionEntryArray::new(primary, size, &mut storage).or(Err(DiskError::BufferTooSmall))?;
    for (index, (partition, guid)) in (0_u32..).zip(partitions.iter().zip(PARTITIONS)) {
        let entry = array.get_partition_entry_mut(index).ok_or(DiskError::Overflow)?;
        *entry = GptPartitionEntry {
            partition_type_guid: partition.usage.guid(),
            unique_partition_guid: guid,
            starting_lba: LbaLe::from_u64(partition.bytes.start / block),
            ending_lba: LbaLe::from_u64(partition.bytes.end / block - 1),
            attributes: gpt_disk_io::gpt_disk_types::GptPartitionAttributes::default(),
            name: name_of(partition.usage)?,
        };
    }
    let mut header = GptHeader {
        header_crc32: Crc32(U32Le::from_u32(0)),
        my_lba: LbaLe::from_u64(1),
        alternate_lba: LbaLe::from_u64(blocks - 1),
        first_usable_lba: LbaLe::from_u64(2 + array_blocks),
        last_usable_lba: LbaLe::from_u64(blocks - 2 - array_blocks),
        disk_guid: DISK,
        partition_entry_lba: LbaLe::from_u64(2),
        number_of_partition_entries: U32Le::from_u32(ENTRIES),
        size_of_partition_entry: U32Le::from_u32(entry_size.to_u32()),
        partition_entry_array_crc32: array.calculate_crc32(),
        ..GptHeader::default()
    };
    header.update_header_crc32();
    disk.write_protective_mbr(&mut buffer)?;
    disk.write_primary_gpt_header(&header, &mut buffer)?;
    disk.write_gpt_partition_entry_array(&array)?;

    array.set_start_lba(secondary.start_lba);
    header.my_lba = LbaLe::from_u64(blocks - 1);
    header.alternate_lba = LbaLe::from_u64(1);
    header.partition_entry_lba = secondary.start_lba.into();
    header.update_header_crc32();
    disk.write_gpt_partition_entry_array(&array)?;
    disk.write_secondary_gpt_header(&header, &mut buffer)?;
    disk.flush()
}

fn name_of(usage: Use) -> Result<GptPartitionName, DiskError<io::Error>> {
    usage.name().parse().or(Err(DiskError::Overflow))
}

fn write_mbr(file: File, block_size: u16, partitions: &[Partition]) -> Result<(), DiskError<io::Error>> {
    let block = u64::from(block_size);
    let size = size_of_blocks(block_size)?;
    let mut disk = Disk::new(BlockIoAdapter::new(file, size))?;
    let mut buffer = vec![0; usize::from(block_size)];
    let mut mbr = MasterBootRecord {
        unique_mbr_disk_signature: MBR_SIGNATURE,
        signature: [0x55, 0xaa],
        ..MasterBootRecord::default()
    };
    for (record, partition) in mbr.partitions.iter_mut().zip(partitions) {
        let blocks = |bytes: u64| u32::try_from(bytes / block).or(Err(DiskError::Overflow));
        *record = MbrPartitionRecord {
            os_indicator: partition.usage.mbr(),
            starting_lba: U32Le::from_u32(blocks(partition.bytes.start)?),
            size_in_lba: U32Le::from_u32(blocks(partition.bytes.end - partition.bytes.start)?),
            ..MbrPartitionRecord::default()
        };
    }
    disk.write_mbr(&mbr, &mut buffer)?;
    disk.flush()
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    const MIB: u64 = 1 << 20;

    /// Writes a table for an ESP and a root file system, and gives the bytes of the disk.
    fn check(table: Table, block_size: u16) -> (Vec<u8>, Vec<Partition>) {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("disk.img");
        let (partitions, length) = place(&[(Use::Esp, 2 * MIB), (Use::Root, MIB + 1)]);
        assert_eq!(partitions[0].bytes, MIB..3 * MIB);
        assert_eq!(partitions[1].bytes, 3 * MIB..5 * MIB);
        assert_eq!(length, 6 * MIB);
        File::create(&path).unwrap().set_len(length).unwrap();
        write(&path, table, block_size, &partitions).unwrap();
        (fs::read(&path).unwrap(), partitions)
    }

    fn u32_at(bytes: &[u8], offset: usize) -> u32 {
        u32::from_le_bytes(bytes[offset..offset + 4].try_into().unwrap())
    }

    fn u64_at(bytes: &[u8], offset: usize) -> u64 {
        u64::from_le_bytes(bytes[offset..offset + 8].try_into().unwrap())
    }

    /// Checks a header and its array by the offsets of table 5.5 and table 5.6 of the UEFI specification.
    fn check_header(disk: &[u8], block: usize, my_lba: usize, partitions: &[Partition]) {
        let header = &disk[my_lba * block..][..92];
        assert_eq!(&header[..8], b"EFI PART");
        assert_eq!(u64_at(header, 24), my_lba as u64);
        let mut zeroed = header.to_vec();
        zeroed[16..20].fill(0);
        assert_eq!(u32_at(header, 16), crc32fast::hash(&zeroed));
        let array = usize::try_from(u64_at(header, 72)).unwrap() * block;
        let array = &disk[array..][..128 * 128];
        assert_eq!(u32_at(header, 88), crc32fast::hash(array));
        for (entry, partition) in array.chunks(128).zip(partitions) {
            assert_eq!(u64_at(entry, 32) * block as u64, partition.bytes.start);
            assert_eq!((u64_at(entry, 40) + 1) * block as u64, partition.bytes.end);
            assert!(u64_at(entry, 32) >= u64_at(header, 40) && u64_at(entry, 40) <= u64_at(header, 48));
        }
        // C12A7328-F81F-11D2-BA4B-00A0C93EC93B in the byte order of the specification.
        let esp = [0x28, 0x73, 0x2a, 0xc1, 0x1f, 0xf8, 0xd2, 0x11, 0xba, 0x4b];
        assert_eq!(array[..10], esp);
        assert_eq!(&array[56..62], b"e\0s\0p\0");
        assert!(array[256..].iter().all(|byte| *byte == 0));
    }

    #[test]
    fn both_headers_of_a_gpt_have_right_checksums_and_partitions() {
        for block_size in [512, 4096] {
            let (disk, partitions) = check(Table::Gpt, block_size);
            let block = usize::from(block_size);
            assert_eq!((disk[450], &disk[510..512]), (0xee, &[0x55, 0xaa][..]));
            check_header(&disk, block, 1, &partitions);
            check_header(&disk, block, disk.len() / block - 1, &partitions);
        }
    }

    #[test]
    fn an_mbr_has_the_types_and_ranges() {
        let (disk, _) = check(Table::Mbr, 512);
        assert_eq!(&disk[510..512], &[0x55, 0xaa]);
        let record = |index: usize| &disk[446 + 16 * index..][..16];
        let fields = |index| {
            (
                record(index)[4],
                u32_at(record(index), 8),
                u32_at(record(index), 12),
            )
        };
        assert_eq!(fields(0), (0xef, 2048, 4096));
        assert_eq!(fields(1), (0x83, 6144, 4096));
        assert_eq!(fields(2), (0, 0, 0));
        assert!(disk[512..].iter().all(|byte| *byte == 0));
    }
}
