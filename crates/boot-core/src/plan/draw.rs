//! The memory map of a plan as text.

use alloc::format;
use alloc::string::{String, ToString as _};
use alloc::vec::Vec;
use core::fmt;

use super::{BootPlan, Load, LoadContent};
use crate::{ByteCount, GuestRange, MemoryRegion};

/// A size as text.
#[must_use]
pub(crate) fn size(len: u64) -> String {
    ByteCount(len).to_string()
}

/// A row of the memory map.
struct Row<'a> {
    range: GuestRange,
    label: &'a str,
    note: String,
}

impl BootPlan {
    /// The loads in `region`, and the memory that the kernel uses beyond its loads.
    fn rows_in(&self, region: MemoryRegion) -> Vec<Row<'_>> {
        let mut rows: Vec<Row<'_>> = self
            .loads()
            .iter()
            .filter(|load| region.range.contains(load.range))
            .map(|load| Row {
                range: load.range,
                label: &load.label,
                note: note(load),
            })
            .collect();
        let loaded_end = self
            .loads()
            .iter()
            .filter(|load| self.kernel().contains(load.range))
            .map(|load| load.range.end())
            .max()
            .unwrap_or(self.kernel().start());
        let beyond = GuestRange::from_bounds(loaded_end, self.kernel().end());
        if let Some(range) = beyond.filter(|range| !range.is_empty() && region.range.contains(*range)) {
            rows.push(Row {
                range,
                label: "kernel",
                note: String::from("used at run time"),
            });
        }
        rows.sort_by_key(|row| row.range);
        rows
    }
}

fn note(load: &Load) -> String {
    match &load.content {
        LoadContent::File { id, range } => format!("{id} bytes {range}"),
        LoadContent::Bytes(_) => String::from("written by the protocol"),
        LoadContent::Zeros => String::from("zeroed"),
        LoadContent::Present => String::from("not written"),
    }
}

/// Prints the guest's memory map by ascending address: a box for each region, a row for each load.
impl fmt::Display for BootPlan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} boot on {}", self.protocol(), self.arch())?;
        if let Some(cpu) = self.cpus().first() {
            write!(f, ", entry {:#x}", cpu.entry())?;
        }
        writeln!(f)?;
        for region in self.memory().regions() {
            let range = region.range;
            writeln!(
                f,
                "{:#014x} ┬─ {} ─ {}",
                range.start(),
                region.kind,
                size(range.len())
            )?;
            for row in self.rows_in(*region) {
                writeln!(
                    f,
                    "{:#014x} │  {:<18} {:>10}  {:#x}  {}",
                    row.range.start(),
                    row.label,
                    size(row.range.len()),
                    row.range.end(),
                    row.note
                )?;
            }
            writeln!(f, "{:#014x} ┴", range.end())?;
        }
        for warning in self.warnings() {
            writeln!(f, "warning: {warning}")?;
        }
        Ok(())
    }
}
