//! Tests of ext2, ext3 and ext4 file systems.
#![expect(clippy::cast_possible_truncation, reason = "volumes of tests are small")]

mod broken;
mod image_writer;
mod invariants;
mod journal;
mod mke2fs;
mod properties;
mod read;
