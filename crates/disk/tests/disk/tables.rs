//! Partition tables and their defects.

use disk::partition::{GptError, GptErrorKind};
use disk::partition_types;
use disk::{
    BlockSize, ByteSource, PartitionAttributes, PartitionError, PartitionSignature, PartitionTable,
    PartitionType, ReadError, ReadErrorKind, TableKind, TableWarning, partitions, probe_block_size,
};
use zerocopy::IntoBytes;

use crate::invariants;
use crate::table_writer::{
    DISK_GUID, EBR_BLOCKS, Gpt, MBR_DISK_SIGNATURE, bare_fat, mbr, mbr_disk, record, samples, seal,
};

/// Number, first block and number of blocks of each partition, and the warnings.
fn check(
    disk: &[u8],
    block_size: BlockSize,
    expected: &[(u32, u64, u64)],
    warnings: &[&str],
) -> PartitionTable {
    let table = invariants::check(disk, block_size).unwrap();
    let found: Vec<_> = table
        .partitions
        .iter()
        .map(|partition| (partition.number, partition.first_block, partition.block_count))
        .collect();
    assert_eq!(found, expected);
    let found: Vec<_> = table.warnings.iter().map(ToString::to_string).collect();
    assert_eq!(found, warnings);
    table
}

const THREE: &[(u32, u64, u64)] = &[(1, 40, 20), (2, 60, 20), (3, 100, 20)];

#[test]
fn a_gpt_has_all_properties_of_its_partitions() {
    for block_size in [BlockSize::B512, BlockSize::B4096] {
        let mut disk = Gpt::new(block_size).write();
        // Attributes of the second entry.
        let at = 2 * block_size.as_usize() + 128 + 48;
        disk[at..at + 8].copy_from_slice(&(1_u64 << 63 | 0b101).to_le_bytes());
        seal(&mut disk, block_size, 1);
        let table = check(&disk, block_size, THREE, &[]);
        assert_eq!(table.kind, TableKind::Gpt { disk_guid: DISK_GUID });
        let [esp, boot, root] = &table.partitions[..] else {
            panic!()
        };
        assert_eq!([esp.is_esp(), boot.is_esp(), root.is_esp()], [true, false, false]);
        assert_eq!(
            [esp.is_xbootldr(), boot.is_xbootldr(), root.is_xbootldr()],
            [false, true, false]
        );
        assert_eq!(
            [&esp.name, &boot.name, &root.name],
            ["ESP", "boot äöü 🥾", "a name of thirty-six UTF-16 units .."]
        );
        assert_eq!(root.kind, PartitionType::Gpt(partition_types::LINUX_ROOT_ARM64));
        let signature = boot.signature;
        assert_eq!(signature, PartitionSignature::Gpt(Gpt::partition_guid(2)));
        assert_eq!((signature.format(), signature.signature_type()), (2, 2));
        assert_eq!(signature.to_bytes(), Gpt::partition_guid(2).to_bytes());
        let expected = PartitionAttributes::NO_AUTO
            | PartitionAttributes::REQUIRED
            | PartitionAttributes::LEGACY_BIOS_BOOTABLE;
        assert_eq!(boot.attributes, expected);
        assert_eq!(probe_block_size(&disk).unwrap(), Some(block_size));
        assert_eq!(
            boot.window(&disk).unwrap().len().unwrap(),
            20 * block_size.as_u64()
        );
        assert!(boot.window(&[0; 512]).is_err());
        assert!(table.partition(4).is_none());
    }
}

#[test]
fn entries_may_be_long_and_many() {
    let gpt = Gpt {
        entry_size: 1024,
        entry_count: 16,
        ..Gpt::new(BlockSize::B512)
    };
    check(&gpt.write(), BlockSize::B512, THREE, &[]);
    // 2,000 entries are several reads. Each has a partition of one block.
    let gpt = Gpt {
        entry_count: 2000,
        block_count: 4000,
        partitions: (0..2000)
            .map(|index| (600 + index, 600 + index, partition_types::LINUX_DATA, ""))
            .collect(),
        ..Gpt::new(BlockSize::B512)
    };
    let expected: Vec<_> = (0..2000)
        .map(|index| (index + 1, 600 + u64::from(index), 1))
        .collect();
    check(&gpt.write(), BlockSize::B512, &expected, &[]);
    // The limit is exact.
    for (entry_count, is_accepted) in [(8192, true), (8193, false)] {
        let gpt = Gpt {
            entry_count,
            block_count: 5000,
            partitions: vec![(2100, 2100, partition_types::ESP, "")],
            ..Gpt::new(BlockSize::B512)
        };
        assert_eq!(
            invariants::check(&gpt.write(), BlockSize::B512).is_ok(),
            is_accepted
        );
    }
}

#[test]
fn defects_of_partitions_are_warnings() {
    let gpt = Gpt {
        partitions: vec![
            (40, 90, partition_types::ESP, ""),
            (90, 99, partition_types::BASIC_DATA, ""),
            (39, 120, partition_types::LINUX_DATA, ""),
            (121, 119, partition_types::LINUX_SWAP, ""),
            (125, 160, partition_types::BIOS_BOOT, ""),
            (126, 159, partition_types::BIOS_BOOT, ""),
            (33, 33, partition_types::BIOS_BOOT, ""),
            (121, u64::MAX, partition_types::BIOS_BOOT, ""),
            (0, u64::MAX, partition_types::BIOS_BOOT, ""),
        ],
        ..Gpt::new(BlockSize::B512)
    };
    check(
        &gpt.write(),
        BlockSize::B512,
        &[(1, 40, 51), (2, 90, 10), (3, 39, 82), (6, 126, 34), (7, 33, 1)],
        &[
            "partition 4 ends at block 119, before its first block 121; it is not listed",
            "partition 5 ends at block 160, but the disk has 160 blocks; it is not listed",
            "partition 6 is not within the blocks 34 to 126, which partitions may use",
            "partition 7 is not within the blocks 34 to 126, which partitions may use",
            "partition 8 ends at block 18446744073709551615, but the disk has 160 blocks; it is not listed",
            "partition 9 ends at block 18446744073709551615, but the disk has 160 blocks; it is not listed",
            "partitions 3 and 1 overlap",
            "partitions 3 and 2 overlap",
        ],
    );
}

#[test]
fn the_backup_replaces_a_broken_primary() {
    let disk = Gpt::new(BlockSize::B512).write();
    let check_backup = |disk: &[u8], reason: &str| {
        let warning = format!(
            "the backup GPT is used, because the primary one is invalid: GPT header at block 1: {reason}"
        );
        check(disk, BlockSize::B512, THREE, &[&warning]);
    };
    let broken = |at: usize, value: u8| {
        let mut disk = disk.clone();
        disk[at] = value;
        disk
    };
    check_backup(
        &broken(512, 0),
        "Signature at 0x0 is \"\\x00FI PART\", expected \"EFI PART\"",
    );
    check_backup(
        &broken(512 + 12, 91),
        "HeaderSize at 0xc is 91, expected 92 to 512",
    );
    let mut array = disk.clone();
    array[1024 + 57] ^= 1;
    let warning = invariants::check(&array, BlockSize::B512).unwrap().warnings;
    assert!(
        matches!(
            &warning[..],
            [TableWarning::BackupUsed {
                primary: GptError {
                    block: 1,
                    kind: GptErrorKind::EntryArrayCrc32 { .. },
                    ..
                }
            }]
        ),
        "{warning:?}"
    );
    // A disk that has grown: the backup is where `AlternateLBA` points, not in the last block.
    array.resize(512 * 300, 0);
    assert!(invariants::check(&array, BlockSize::B512).is_ok());
    // With an invalid header, only the last block is tried.
    let mut grown = broken(512, 0);
    grown.resize(512 * 300, 0);
    let error = invariants::check(&grown, BlockSize::B512).unwrap_err();
    let zeros = "\\x00".repeat(8);
    assert_eq!(
        error.to_string(),
        format!(
            "the disk has a GPT, but both its headers are invalid: primary GPT header at block 1: Signature at 0x0 is \"\\x00FI PART\", expected \"EFI PART\"; backup GPT header at block 299: Signature at 0x0 is \"{zeros}\", expected \"EFI PART\""
        )
    );
}

/// The primary header has this defect, with valid checksums.
#[test]
fn defects_of_headers_are_errors() {
    let check = |offset: usize, bytes: &[u8], expected: &str| {
        let mut disk = Gpt::new(BlockSize::B512).write();
        disk[512 + offset..][..bytes.len()].copy_from_slice(bytes);
        seal(&mut disk, BlockSize::B512, 1);
        disk[159 * 512..].fill(0);
        match invariants::check(&disk, BlockSize::B512).unwrap_err() {
            PartitionError::Gpt { primary, .. } => assert_eq!(primary.kind.to_string(), expected),
            error => panic!("{error}"),
        }
    };
    check(
        8,
        &[0, 0, 2, 0],
        "Revision at 0x8 is 0x20000, supported is 0x10000 (1.0)",
    );
    check(
        12,
        &513_u32.to_le_bytes(),
        "HeaderSize at 0xc is 513, expected 92 to 512",
    );
    check(24, &[2], "MyLBA at 0x18 is 2, expected the block of the header");
    for size in [0_u32, 64, 127, 129, 192, 8192, u32::MAX] {
        let expected = format!("SizeOfPartitionEntry at 0x54 is {size}, expected 128, 256, … up to 4096");
        check(84, &size.to_le_bytes(), &expected);
    }
    for count in [8193, 1 << 25, u32::MAX] {
        let expected = format!(
            "{count} entries (NumberOfPartitionEntries at 0x50) of 128 bytes are above the limit of 1048576 bytes"
        );
        check(80, &count.to_le_bytes(), &expected);
    }
    for block in [0, 1, 129, 160, u64::MAX, u64::MAX / 512] {
        let expected = format!(
            "the entry array (PartitionEntryLBA at 0x48: {block}, 16384 bytes) is outside the disk or covers a header"
        );
        check(72, &block.to_le_bytes(), &expected);
    }
}

#[test]
fn an_entry_array_does_not_cover_its_header() {
    // The backup header at block 159 claims the blocks 128 to 159.
    let mut disk = Gpt::new(BlockSize::B512).write();
    disk[512] = 0;
    disk[159 * 512 + 72] = 128;
    seal(&mut disk, BlockSize::B512, 159);
    let error = invariants::check(&disk, BlockSize::B512).unwrap_err();
    assert!(
        matches!(
            &error,
            PartitionError::Gpt {
                backup: GptError {
                    block: 159,
                    kind: GptErrorKind::EntryArray {
                        first_block: 128,
                        len: 16384
                    },
                    ..
                },
                ..
            }
        ),
        "{error}"
    );
    // A minor revision and a longer header are no defects.
    let mut disk = Gpt::new(BlockSize::B512).write();
    disk[512 + 8] = 7;
    disk[512 + 12..][..4].copy_from_slice(&512_u32.to_le_bytes());
    seal(&mut disk, BlockSize::B512, 1);
    check(&disk, BlockSize::B512, THREE, &[]);
}

#[test]
fn an_mbr_has_logical_partitions() {
    let table = check(
        &mbr_disk(),
        BlockSize::B512,
        &[(1, 8, 24), (4, 130, 30), (5, 66, 14), (6, 82, 30), (7, 113, 15)],
        &[],
    );
    assert_eq!(
        table.kind,
        TableKind::Mbr {
            signature: MBR_DISK_SIGNATURE
        }
    );
    let esp = table.partition(1).unwrap();
    assert!(esp.is_esp() && table.partition(6).unwrap().is_xbootldr());
    assert_eq!(esp.attributes, PartitionAttributes::LEGACY_BIOS_BOOTABLE);
    assert_eq!(esp.kind, PartitionType::Mbr(0xef));
    assert_eq!((esp.signature.format(), esp.signature.signature_type()), (1, 1));
    assert_eq!(
        esp.signature.to_bytes(),
        [0xef, 0xbe, 0xad, 0xde, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]
    );
    assert_eq!(PartitionSignature::Mbr(0).signature_type(), 0);
    assert_eq!(
        table.partition(4).unwrap().attributes,
        PartitionAttributes::empty()
    );
}

#[test]
fn chains_of_logical_partitions_end() {
    let check_last = |content: &[u8], expected: &[(u32, u64, u64)], reason: &str| {
        let mut disk = mbr_disk();
        disk[EBR_BLOCKS[2] * 512..][..512].copy_from_slice(content);
        let warning = format!("logical partitions from the extended boot record at block {reason}");
        let first = [(1, 8, 24), (4, 130, 30), (5, 66, 14), (6, 82, 30)];
        check(&disk, BlockSize::B512, &[&first, expected].concat(), &[&warning]);
    };
    let link = |start| mbr(0, &[record(0x83, 1, 2), record(0x05, start, 8)]);
    let found = [(7, 113, 2)];
    check_last(
        link(16).as_bytes(),
        &found,
        "80 on are not listed: the record is part of the list already",
    );
    check_last(
        link(0).as_bytes(),
        &found,
        "64 on are not listed: the record is part of the list already",
    );
    check_last(
        link(48).as_bytes(),
        &found,
        "112 on are not listed: the record is part of the list already",
    );
    check_last(
        link(64).as_bytes(),
        &found,
        "128 on are not listed: the record is outside the extended partition",
    );
    check_last(
        link(20).as_bytes(),
        &found,
        "84 on are not listed: the record has no signature 0xaa55",
    );
    check_last(
        &[0; 512],
        &[],
        "112 on are not listed: the record has no signature 0xaa55",
    );

    // The limit of the length: 128 records are accepted, more are not.
    for count in [128, 129, 200] {
        let mut disk = vec![0; 512 * 1000];
        disk[..512].copy_from_slice(mbr(1, &[record(0x05, 1, 999)]).as_bytes());
        for index in 0..count {
            let next = if index + 1 < count {
                record(0x05, 4 * (index + 1), 4)
            } else {
                record(0, 0, 0)
            };
            let at = 512 * (1 + 4 * index as usize);
            disk[at..at + 512].copy_from_slice(mbr(0, &[record(0x83, 1, 2), next]).as_bytes());
        }
        let expected: Vec<_> = (0..128)
            .map(|index| (5 + index, u64::from(2 + 4 * index), 2))
            .collect();
        let warning: &[&str] = if count > 128 {
            &[
                "logical partitions from the extended boot record at block 513 on are not listed: the list has more than 128 records",
            ]
        } else {
            &[]
        };
        check(&disk, BlockSize::B512, &expected, warning);
    }
}

#[test]
fn partitions_of_an_mbr_are_inside_the_disk() {
    let mut disk = mbr_disk();
    let records = [
        record(0x83, 159, 1),
        record(0x83, 159, 2),
        record(0x83, u32::MAX, u32::MAX),
    ];
    disk[..512].copy_from_slice(mbr(0, &records).as_bytes());
    check(
        &disk,
        BlockSize::B512,
        &[(1, 159, 1)],
        &[
            "partition 2 ends at block 160, but the disk has 160 blocks; it is not listed",
            "partition 3 ends at block 8589934589, but the disk has 160 blocks; it is not listed",
        ],
    );
}

#[test]
fn disks_without_a_table_are_recognised() {
    let kind = |disk: &[u8]| invariants::check(disk, BlockSize::B512).unwrap().kind;
    assert_eq!(kind(&[]), TableKind::None);
    assert_eq!(kind(&[0; 511]), TableKind::None);
    assert_eq!(kind(&[0; 4096]), TableKind::None);
    assert_eq!(kind(&bare_fat(0)), TableKind::None);
    assert_eq!(kind(&bare_fat(b'x')), TableKind::None);
    // Records that could be partitions outweigh the fields of a FAT.
    let mut disk = bare_fat(0);
    disk[446..462].copy_from_slice(record(0x0c, 1, 63).as_bytes());
    assert_eq!(kind(&disk), TableKind::Mbr { signature: 0 });
    disk[446..462].copy_from_slice(record(0x0c, 64, 1).as_bytes());
    assert_eq!(kind(&disk), TableKind::None);
    disk[446..462].copy_from_slice(record(0x0c, 0, 1).as_bytes());
    assert_eq!(kind(&disk), TableKind::None);
    for (name, expected) in [
        (b"NTFS    ", TableKind::None),
        (b"EXFAT   ", TableKind::None),
        (b"OTHER   ", TableKind::Mbr { signature: 0 }),
    ] {
        let mut disk = bare_fat(0);
        disk[11..60].fill(0);
        disk[3..11].copy_from_slice(name);
        assert_eq!(kind(&disk), expected);
    }
    // An MBR without partitions; a boot indicator that none has.
    let mut disk = vec![0; 1024];
    disk[510..512].copy_from_slice(&[0x55, 0xaa]);
    assert_eq!(kind(&disk), TableKind::Mbr { signature: 0 });
    disk[446] = 1;
    assert_eq!(kind(&disk), TableKind::None);
}

#[test]
fn other_partitions_beside_a_gpt_are_a_warning() {
    let (_, block_size, disk) = samples()
        .into_iter()
        .find(|(name, ..)| *name == "gpt-hybrid")
        .unwrap();
    check(
        &disk,
        block_size,
        THREE,
        &["partitions of the MBR beside the GPT are not listed"],
    );
}

/// A disk of which some bytes cannot be read.
struct BadSector {
    disk: Vec<u8>,
    bad: std::ops::Range<u64>,
}

impl ByteSource for BadSector {
    fn len(&self) -> Result<u64, ReadError> {
        ByteSource::len(&self.disk)
    }

    fn read_exact_at(&self, offset: u64, buf: &mut [u8]) -> Result<(), ReadError> {
        if offset < self.bad.end && self.bad.start < offset + buf.len() as u64 {
            return Err(ReadError::new(
                offset,
                buf.len(),
                ReadErrorKind::Source("bad sector".into()),
            ));
        }
        self.disk.read_exact_at(offset, buf)
    }
}

#[test]
fn bad_sectors_are_errors_or_warnings() {
    let read = |disk, bad| partitions(&BadSector { disk, bad }, BlockSize::B512);
    let gpt = Gpt::new(BlockSize::B512).write();
    assert!(matches!(read(gpt.clone(), 0..1), Err(PartitionError::Read(_))));
    for bad in [600..601, 2000..2001] {
        let table = read(gpt.clone(), bad).unwrap();
        assert_eq!(table.partitions.len(), 3);
        let warning = table.warnings[0].to_string();
        assert!(
            warning.contains("GPT header at block 1: cannot read bytes 0x"),
            "{warning}"
        );
    }
    let table = read(
        mbr_disk(),
        EBR_BLOCKS[1] as u64 * 512..EBR_BLOCKS[1] as u64 * 512 + 1,
    )
    .unwrap();
    assert_eq!(table.partitions.len(), 3);
    assert_eq!(
        table.warnings[0].to_string(),
        "logical partitions from the extended boot record at block 80 on are not listed: cannot read bytes 0xa000..0xa200"
    );
}

/// A broken entry array: the header at the end of the disk is read once, though `AlternateLBA` names it, too.
#[test]
fn the_backup_is_read_once() {
    let mut disk = Gpt::new(BlockSize::B512).write();
    disk[1024] ^= 1;
    disk[159 * 512] = 0;
    let source = fmt_test::CountingSource::new(&disk);
    assert!(partitions(&source, BlockSize::B512).is_err());
    // The MBR, a header with its entries, and a header.
    assert_eq!(source.reads(), 4);
}

#[test]
fn block_sizes_are_probed() {
    assert_eq!(probe_block_size(&[]).unwrap(), None);
    assert_eq!(probe_block_size(&mbr_disk()).unwrap(), None);
    assert_eq!(probe_block_size(&b"EFI PART".repeat(64)).unwrap(), None);
}

#[test]
fn types_have_names() {
    let check = |kind: PartitionType, expected: &str| assert_eq!(kind.to_string(), expected);
    check(PartitionType::Gpt(partition_types::ESP), "EFI System Partition");
    check(
        PartitionType::Gpt(DISK_GUID),
        "type 01020304-0506-0708-090a-0b0c0d0e0f10",
    );
    check(PartitionType::Mbr(0xef), "EFI System Partition");
    check(PartitionType::Mbr(0xea), "Extended Boot Loader Partition");
    check(PartitionType::Mbr(0x83), "type 0x83");
}
