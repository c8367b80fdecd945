//! Tables that the crate `gpt` writes.

use std::collections::BTreeMap;
use std::io::Cursor;

use disk::{BlockSize, TableKind, partition_types as own_types};
use gpt::GptConfig;
use gpt::disk::LogicalBlockSize;
use gpt::mbr::ProtectiveMBR;
use gpt::partition_types;

use crate::invariants::check;

/// GUID, first and last block, and name of each partition.
type Partitions = BTreeMap<u32, (String, u64, u64, String)>;

/// A disk of 8 MiB with `count` partitions, the GUID of the disk, and the partitions as the crate reads them.
fn write(block_size: LogicalBlockSize, count: u32) -> (Vec<u8>, String, Partitions) {
    let mut bytes = Cursor::new(vec![0; 8 << 20]);
    let blocks = (8 << 20) / u64::from(block_size) - 1;
    let mbr = ProtectiveMBR::with_lb_size(u32::try_from(blocks).unwrap());
    mbr.overwrite_lba0(&mut bytes).unwrap();
    let config = GptConfig::new().writable(true).logical_block_size(block_size);
    let mut disk = config.create_from_device(bytes, None).unwrap();
    for number in 0..count {
        let kind = if number == 0 {
            partition_types::EFI
        } else {
            partition_types::LINUX_FS
        };
        let len = u64::from(block_size) * u64::from(1 + number % 3);
        disk.add_partition(&format!("Größe {number} ☃"), len, kind, 0b100, None)
            .unwrap();
    }
    let expected = disk
        .partitions()
        .iter()
        .map(|(number, partition)| {
            let guid = partition.part_guid.to_string();
            (
                *number,
                (
                    guid,
                    partition.first_lba,
                    partition.last_lba,
                    partition.name.clone(),
                ),
            )
        })
        .collect();
    let guid = disk.guid().to_string();
    (disk.write().unwrap().into_inner(), guid, expected)
}

#[test]
fn tables_of_the_crate_gpt_are_read() {
    for (theirs, ours) in [
        (LogicalBlockSize::Lb512, BlockSize::B512),
        (LogicalBlockSize::Lb4096, BlockSize::B4096),
    ] {
        for count in [0, 1, 17, 128] {
            let (mut bytes, guid, expected) = write(theirs, count);
            assert_eq!(expected.len(), count as usize);
            // The second time with the backup.
            for uses_backup in [false, true] {
                let table = check(&bytes, ours).unwrap();
                assert_eq!(
                    table.kind,
                    TableKind::Gpt {
                        disk_guid: guid.parse().unwrap()
                    }
                );
                assert_eq!(
                    table.warnings.len(),
                    usize::from(uses_backup),
                    "{:?}",
                    table.warnings
                );
                assert_eq!(table.partitions.len(), expected.len());
                for partition in &table.partitions {
                    let (guid, first, last, name) = &expected[&partition.number];
                    assert_eq!(
                        partition.signature,
                        disk::PartitionSignature::Gpt(guid.parse().unwrap())
                    );
                    assert_eq!(
                        (partition.first_block, partition.block_count),
                        (*first, last - first + 1)
                    );
                    assert_eq!(&partition.name, name);
                    assert_eq!(partition.is_esp(), partition.number == 1);
                    assert_eq!(
                        partition.attributes,
                        disk::PartitionAttributes::LEGACY_BIOS_BOOTABLE
                    );
                }
                bytes[ours.as_usize()..2 * ours.as_usize()].fill(0);
            }
        }
    }
    assert_eq!(partition_types::EFI.guid.to_string(), own_types::ESP.to_string());
}
