//! Tests of ACPI tables.
#![expect(clippy::cast_possible_truncation, reason = "tables of tests are small")]

mod aml;
mod invariants;
mod machine;
mod properties;
mod tables;
