//! Errors of boot partitions.

#[cfg(feature = "ext4")]
use fs_ext4::Ext4Error;
use fs_fat::FatError;

/// Why a partition has no file system that can be read.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum VolumeError {
    /// It has no FAT file system, or a broken one.
    #[error(transparent)]
    Fat(#[from] FatError),
    /// It has a broken ext4 file system.
    #[cfg(feature = "ext4")]
    #[error(transparent)]
    Ext4(#[from] Ext4Error),
}
