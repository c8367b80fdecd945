//! Tests of entries, unified kernel images, order and scans.

#![expect(clippy::cast_possible_truncation, reason = "lengths in the tests are small")]

mod boots;
mod entries;
mod images;
mod invariants;
mod memory_fs;
mod ordering;
mod properties;
mod scans;
