//! Tests of FAT file systems.
#![expect(clippy::cast_possible_truncation, reason = "volumes of tests are small")]

mod broken;
mod chains;
mod directories;
mod fatfs_crate;
mod geometry;
mod image_writer;
mod invariants;
mod properties;
