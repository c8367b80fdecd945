//! The validated boot sector.

use alloc::string::String;

use boot_core::SizedSource;
use zerocopy::FromBytes;

use crate::error::{BootSectorError, FatError, Field, OtherFormat};
use crate::name;
use crate::raw::{
    BiosParameterBlock, DirectoryEntry, EXTENDED_BOOT_SIGNATURE, Fat32Fields, SIGNATURE, VolumeFields,
};

/// Type of a FAT file system.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum FatKind {
    /// 12-bit entries, below 4,085 clusters.
    Fat12,
    /// 16-bit entries, below 65,525 clusters.
    Fat16,
    /// 28-bit entries.
    Fat32,
}

impl FatKind {
    /// Name of the type: `FAT12`, `FAT16` or `FAT32`.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Fat12 => "FAT12",
            Self::Fat16 => "FAT16",
            Self::Fat32 => "FAT32",
        }
    }

    /// Length of the entries of `clusters` clusters in a FAT, in bytes.
    fn table_len(self, clusters: u64) -> u64 {
        match self {
            Self::Fat12 => clusters.saturating_add(clusters.div_ceil(2)),
            Self::Fat16 => clusters.saturating_mul(2),
            Self::Fat32 => clusters.saturating_mul(4),
        }
    }
}

/// Highest number of clusters of FAT32 (section 3.5): the numbers from 0x0fff_fff7 on have other meanings.
const MAX_CLUSTERS: u32 = 0x0fff_fff5;

/// Layout of a volume, as its boot sector has it. Offsets are in bytes from the start of the partition; all parts are inside it.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Geometry {
    /// Type.
    pub kind: FatKind,
    /// Bytes per sector.
    pub sector_size: u32,
    /// Bytes per cluster.
    pub cluster_size: u32,
    /// Length of the volume in bytes.
    pub volume_len: u64,
    /// Offset of the active FAT.
    pub fat_offset: u64,
    /// Length of the entries in use of a FAT, in bytes.
    pub fat_len: u64,
    /// Place of the root directory.
    pub root: Root,
    /// Offset of cluster 2, the first one.
    pub data_offset: u64,
    /// Highest cluster.
    pub max_cluster: u32,
    /// Identifier of the volume, if it has one.
    pub volume_id: Option<u32>,
    /// Label in the boot sector, if it has one; that of the root directory precedes it.
    pub label: Option<String>,
}

/// Place of the root directory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Root {
    /// Offset and length in bytes: FAT12 and FAT16.
    Fixed {
        /// Offset.
        offset: u64,
        /// Length.
        len: u32,
    },
    /// First cluster: FAT32.
    Cluster(u32),
}

impl Geometry {
    /// Reads and validates the boot sector.
    ///
    /// The number of clusters decides the type (section 3.5), with one exception that Linux and edk2 make, too: `BPB_FATSz16` is 0 in
    /// FAT32 only, so such a volume is FAT32 even if it has few clusters. `mkfs.vfat -F 32` makes them.
    ///
    /// # Errors
    ///
    /// [`FatError`] if the partition cannot be read, has another file system, or a field is invalid.
    pub fn read(source: &SizedSource<'_>) -> Result<Self, FatError> {
        let len = source.len();
        if len < 512 {
            return Err(FatError::NotFat(OtherFormat::TooShort { len }));
        }
        let sector: [u8; 512] = source.read(0)?;
        match sector.get(3..11) {
            Some(b"EXFAT   ") => return Err(FatError::NotFat(OtherFormat::Exfat)),
            Some(b"NTFS    ") => return Err(FatError::NotFat(OtherFormat::Ntfs)),
            _ => {}
        }
        let found = sector.last_chunk().copied().map_or(0, u16::from_le_bytes);
        // The structures are shorter than a sector.
        let Ok((bpb, rest)) = BiosParameterBlock::read_from_prefix(&sector) else {
            return Err(FatError::NotFat(OtherFormat::NoSignature { found }));
        };
        let (Ok((volume, _)), Ok((fat32, _))) = (
            VolumeFields::read_from_prefix(rest),
            Fat32Fields::read_from_prefix(rest),
        ) else {
            return Err(FatError::NotFat(OtherFormat::NoSignature { found }));
        };
        if found != SIGNATURE {
            return Err(FatError::NotFat(OtherFormat::NoSignature { found }));
        }
        Self::validate(&bpb, &volume, &fat32, len)
    }

    fn validate(
        bpb: &BiosParameterBlock,
        volume: &VolumeFields,
        fat32: &Fat32Fields,
        partition_len: u64,
    ) -> Result<Self, FatError> {
        let sector_size = u32::from(bpb.byts_per_sec.get());
        if !matches!(sector_size, 512 | 1024 | 2048 | 4096) {
            return Err(BootSectorError::new(Field::BytsPerSec, sector_size).into());
        }
        if !bpb.sec_per_clus.is_power_of_two() {
            return Err(BootSectorError::new(Field::SecPerClus, bpb.sec_per_clus).into());
        }
        let reserved = nonzero(Field::RsvdSecCnt, bpb.rsvd_sec_cnt.get().into())?;
        let fats = nonzero(Field::NumFats, bpb.num_fats.into())?;
        let sectors = match bpb.tot_sec16.get() {
            0 => nonzero(Field::TotSec, bpb.tot_sec32.get())?,
            sectors => sectors.into(),
        };
        let (fat_sectors, is_fat32) = match bpb.fat_sz16.get() {
            0 => (nonzero(Field::FatSz, fat32.fat_sz32.get())?, true),
            sectors => (sectors.into(), false),
        };
        let root_entries = u32::from(bpb.root_ent_cnt.get());
        if is_fat32 != (root_entries == 0) {
            return Err(BootSectorError::new(Field::RootEntCnt, root_entries).into());
        }

        let in_bytes = |sectors: u64| sectors.saturating_mul(sector_size.into());
        let volume_len = in_bytes(sectors.into());
        if volume_len > partition_len {
            return Err(FatError::PartitionTooShort {
                volume_len,
                partition_len,
            });
        }
        // The sums of 64 bits of products of 32 bits do not overflow.
        let root_sector = u64::from(fats)
            .saturating_mul(fat_sectors.into())
            .saturating_add(reserved.into());
        let root_len = root_entries.saturating_mul(ENTRY_LEN);
        let data_sector = root_sector.saturating_add(root_len.div_ceil(sector_size).into());
        let clusters = u64::from(sectors)
            .checked_sub(data_sector)
            .and_then(|sectors| sectors.checked_div(bpb.sec_per_clus.into()))
            .and_then(|clusters| u32::try_from(clusters).ok())
            .filter(|clusters| *clusters != 0)
            .ok_or(FatError::NoClusters {
                sectors,
                first_data_sector: data_sector,
            })?;
        let kind = match clusters {
            _ if is_fat32 => FatKind::Fat32,
            0..4085 => FatKind::Fat12,
            4085..65525 => FatKind::Fat16,
            _ => {
                let limit = "with BPB_FATSz16 at 0x16, it has less than 65525";
                return Err(FatError::ClusterCount { clusters, limit });
            }
        };
        if clusters > MAX_CLUSTERS {
            let limit = "FAT32 has less than 0xffffff6";
            return Err(FatError::ClusterCount { clusters, limit });
        }
        let max_cluster = max_cluster(kind, clusters, in_bytes(fat_sectors.into()))?;
        let fat_len = kind.table_len(u64::from(max_cluster).saturating_add(1));

        let (root, active_fat) = if is_fat32 {
            fat32_root(fat32, fats, max_cluster)?
        } else {
            let root = Root::Fixed {
                offset: in_bytes(root_sector),
                len: root_len,
            };
            (root, 0)
        };
        let fat_sector = active_fat
            .saturating_mul(fat_sectors.into())
            .saturating_add(reserved.into());
        let volume = if is_fat32 { &fat32.volume } else { volume };
        let has_volume = volume.boot_sig == EXTENDED_BOOT_SIGNATURE;
        Ok(Self {
            kind,
            sector_size,
            cluster_size: sector_size.saturating_mul(bpb.sec_per_clus.into()),
            volume_len,
            fat_offset: in_bytes(fat_sector),
            fat_len,
            root,
            data_offset: in_bytes(data_sector),
            max_cluster,
            volume_id: has_volume.then_some(volume.vol_id.get()),
            label: Some(volume.vol_lab)
                .filter(|label| has_volume && label != b"NO NAME    ")
                .and_then(|label| name::label(&label)),
        })
    }

    /// Offset of a cluster; `None` if the volume does not have it.
    #[must_use]
    pub fn offset_of(&self, cluster: u32) -> Option<u64> {
        let index = cluster.checked_sub(2).filter(|_| cluster <= self.max_cluster)?;
        u64::from(index)
            .checked_mul(self.cluster_size.into())?
            .checked_add(self.data_offset)
    }
}

/// Length of a directory entry.
const ENTRY_LEN: u32 = 32;

const _: () = assert!(size_of::<DirectoryEntry>() == 32);

fn nonzero(field: Field, value: u32) -> Result<u32, BootSectorError> {
    match value {
        0 => Err(BootSectorError::new(field, value)),
        value => Ok(value),
    }
}

/// The highest cluster: the FAT may be too short for all clusters of the volume, as in Linux.
fn max_cluster(kind: FatKind, clusters: u32, fat_len: u64) -> Result<u32, FatError> {
    let entries = match kind {
        FatKind::Fat12 => fat_len.saturating_mul(2).checked_div(3),
        FatKind::Fat16 => fat_len.checked_div(2),
        FatKind::Fat32 => fat_len.checked_div(4),
    };
    let last_entry = entries.unwrap_or(0).saturating_sub(1);
    let last = clusters.saturating_add(1);
    let max = u32::try_from(last_entry).unwrap_or(last).min(last);
    if max < 2 {
        let limit = "its FAT has no entry for any of them";
        return Err(FatError::ClusterCount { clusters, limit });
    }
    Ok(max)
}

/// Root directory and number of the active FAT.
fn fat32_root(fat32: &Fat32Fields, fats: u32, max_cluster: u32) -> Result<(Root, u64), FatError> {
    let version = fat32.fs_ver.get();
    if version != 0 {
        return Err(BootSectorError::new(Field::FsVer, version).into());
    }
    let flags = fat32.ext_flags.get();
    let active = if flags & 0x80 == 0 { 0 } else { flags & 0xf };
    if u32::from(active) >= fats {
        return Err(BootSectorError::new(Field::ExtFlags, flags).into());
    }
    let root = fat32.root_clus.get();
    if !(2..=max_cluster).contains(&root) {
        return Err(BootSectorError::new(Field::RootClus, root).into());
    }
    Ok((Root::Cluster(root), active.into()))
}
