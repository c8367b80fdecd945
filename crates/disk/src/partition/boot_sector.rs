//! The first sector of a disk: MBR, protective MBR or the boot sector of a file system.

use boot_core::ReadError;
use zerocopy::IntoBytes;

use super::Disk;
use super::raw::{GPT_PROTECTIVE, MBR_SIGNATURE, MasterBootRecord, MbrPartitionRecord};

/// What the first sector is.
#[expect(clippy::large_enum_variant, reason = "returned once for a disk")]
pub(super) enum Content {
    /// The protective MBR of a GPT.
    Gpt {
        /// Whether it has other partitions, too.
        is_hybrid: bool,
    },
    /// An MBR.
    Mbr(MasterBootRecord),
    /// Something else.
    NoTable,
}

impl MbrPartitionRecord {
    /// Whether the record describes a partition (UEFI specification 2.10, section 5.2.1).
    pub(super) fn is_used(&self) -> bool {
        self.os_type != 0 && self.size_in_lba.get() != 0
    }
}

/// Reads the first sector.
pub(super) fn read(disk: &Disk<'_>) -> Result<Content, ReadError> {
    let mut mbr: MasterBootRecord = zerocopy::FromZeros::new_zeroed();
    let read = disk.source.read_prefix_at(0, mbr.as_mut_bytes())?;
    let records = &mbr.partition_record;
    let is_mbr = read == size_of::<MasterBootRecord>()
        && mbr.signature.get() == MBR_SIGNATURE
        && records
            .iter()
            .all(|record| matches!(record.boot_indicator, 0 | 0x80));
    if !is_mbr {
        return Ok(Content::NoTable);
    }
    let mut used = records.iter().filter(|record| record.is_used());
    if records.iter().any(|record| record.os_type == GPT_PROTECTIVE) {
        let is_hybrid = used.any(|record| record.os_type != GPT_PROTECTIVE);
        return Ok(Content::Gpt { is_hybrid });
    }
    // File systems have boot code, messages or zeros where an MBR has its partitions.
    let has_partition = used.clone().next().is_some()
        && used.all(|record| (1..disk.block_count()).contains(&u64::from(record.starting_lba.get())));
    if is_file_system(&mbr.boot_code) && !has_partition {
        return Ok(Content::NoTable);
    }
    Ok(Content::Mbr(mbr))
}

/// Whether it is the boot sector of a FAT, NTFS or exFAT file system: a jump, and the fields after it that the Microsoft FAT
/// specification 1.03, section 3.1, limits.
fn is_file_system(sector: &[u8; 440]) -> bool {
    let [jump @ .., _, _, _, _, _, _] = sector.first_chunk::<9>().copied().unwrap_or_default();
    let is_jump = matches!(jump, [0xeb, _, 0x90] | [0xe9, _, _]);
    let name = sector.get(3..11).unwrap_or_default();
    let (Some([low, high, per_cluster]), Some([count_of_fats]), Some([media])) = (
        sector.get(11..14).and_then(|bytes| bytes.first_chunk()),
        sector.get(16..).and_then(|bytes| bytes.first_chunk()),
        sector.get(21..).and_then(|bytes| bytes.first_chunk()),
    ) else {
        return false;
    };
    let bytes_per_sector = u16::from_le_bytes([*low, *high]);
    let is_fat = matches!(bytes_per_sector, 512 | 1024 | 2048 | 4096)
        && per_cluster.is_power_of_two()
        && *count_of_fats != 0
        && *media >= 0xf0;
    is_jump && (is_fat || matches!(name, b"NTFS    " | b"EXFAT   "))
}
