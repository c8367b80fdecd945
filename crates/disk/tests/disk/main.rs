//! Tests of partition tables and byte sources.
#![expect(clippy::cast_possible_truncation, reason = "disks of tests are small")]

mod broken;
mod file_blocks;
mod gpt_crate;
mod invariants;
mod properties;
mod sources;
mod table_writer;
mod tables;
