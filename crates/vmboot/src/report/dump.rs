//! Index of a dumped plan.

use std::fmt;

use boot_core::{BootPlan, Load, LoadContent};
use serde::{Deserialize, Serialize};

use super::{CpuReport, Hex, LoadReport, MemoryReport};

/// Index of the directory that `vmboot plan --dump` writes: which file belongs at which guest physical addresses. Created by
/// `DumpReport::from(&plan)`.
///
/// `Display` is the content of `index.txt`, the `serde` form that of `index.json`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct DumpReport {
    /// Always `vmboot.dump/1`.
    pub schema: String,
    /// Name of the protocol.
    pub protocol: String,
    /// Name of the architecture: `x86_64`, `aarch64` or `riscv64`.
    pub arch: String,
    /// Memory map for the guest.
    pub memory: Vec<MemoryReport>,
    /// The pieces, in ascending order of addresses.
    pub pieces: Vec<PieceReport>,
    /// Entry states of the CPUs that are started; the first is the boot CPU.
    pub cpus: Vec<CpuReport>,
}

/// A piece of a dumped plan: a write to guest memory, and the file with its bytes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct PieceReport {
    /// Name of the file in the directory: start address, label and type. `None` for zeros, which have no file.
    pub file: Option<String>,
    /// The write to guest memory.
    #[serde(flatten)]
    pub load: LoadReport,
    /// Length in bytes.
    pub len: u64,
    /// Kind of the region of the guest's memory map that contains it, as in [`MemoryReport::kind`].
    pub region: String,
}

impl DumpReport {
    /// Current schema.
    pub const SCHEMA: &'static str = "vmboot.dump/1";
}

impl From<&BootPlan> for DumpReport {
    fn from(plan: &BootPlan) -> Self {
        Self {
            schema: Self::SCHEMA.to_owned(),
            protocol: plan.protocol().to_owned(),
            arch: plan.arch().name().to_owned(),
            memory: plan.memory().regions().iter().map(MemoryReport::from).collect(),
            pieces: plan.loads().iter().map(PieceReport::from).collect(),
            cpus: plan.cpus().iter().map(CpuReport::from).collect(),
        }
    }
}

impl From<&Load> for PieceReport {
    fn from(load: &Load) -> Self {
        Self {
            file: file_name(load),
            load: LoadReport::from(load),
            len: load.range.len(),
            region: load.region().name().to_owned(),
        }
    }
}

/// The name of the file of a load. Loads do not overlap and are not empty, so their start addresses differ; with all 16 digits,
/// names sort by address.
fn file_name(load: &Load) -> Option<String> {
    /// `magic` of a flattened device tree, big-endian (Devicetree Specification v0.4, 5.2).
    const FDT_MAGIC: [u8; 4] = [0xd0, 0x0d, 0xfe, 0xed];
    let extension = match &load.content {
        LoadContent::Zeros | LoadContent::Present => return None,
        LoadContent::Bytes(bytes) if bytes.starts_with(&FDT_MAGIC) => "dtb",
        _ => "bin",
    };
    Some(format!(
        "{:016x}-{}.{extension}",
        load.range.start(),
        file_stem(&load.label)
    ))
}

/// A label as part of a file name: lower-case ASCII letters, digits and single hyphens, at most 40.
fn file_stem(label: &str) -> String {
    const MAX: usize = 40;
    let words = label
        .split(|c: char| !c.is_ascii_alphanumeric())
        .filter(|word| !word.is_empty());
    let mut stem = words.collect::<Vec<_>>().join("-").to_ascii_lowercase();
    stem.truncate(MAX);
    if stem.is_empty() {
        stem.push_str("load");
    }
    stem
}

impl fmt::Display for DumpReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            protocol,
            arch,
            memory,
            pieces,
            cpus,
            ..
        } = self;
        writeln!(f, "{protocol} boot on {arch}")?;
        writeln!(
            f,
            "\nThe pieces: each file belongs at its start address. Ends are exclusive.\n"
        )?;
        for piece in pieces {
            let LoadReport {
                label, start, end, ..
            } = &piece.load;
            let (start, end) = (start.to_string(), end.to_string());
            let (file, label) = (piece.file.as_deref().unwrap_or("(zeros)"), label.escape_debug());
            writeln!(
                f,
                "{start:>12}..{end:<12} {:>10} bytes  {:<8}  {file}  {label}",
                piece.len, piece.region
            )?;
        }
        writeln!(f, "\nThe memory map for the guest:\n")?;
        for region in memory {
            let (start, end) = (region.start.to_string(), region.end.to_string());
            writeln!(f, "{start:>12}..{end:<12} {}", region.kind)?;
        }
        for (number, cpu) in cpus.iter().enumerate() {
            writeln!(f, "\nThe registers of CPU {number}; others are zero:\n")?;
            for (name, Hex(value)) in &cpu.registers {
                writeln!(f, "{name:>8} {value:#018x}")?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use boot_core::{Constraints, GuestRange};

    use super::*;

    #[test]
    fn labels_are_safe_as_file_names() {
        let check = |label: &str, expected: &str| {
            let range = GuestRange::new(0x1000, 4).unwrap();
            let content = LoadContent::Bytes(vec![1; 4]);
            let load = Load::new(range, content, label.to_owned(), Constraints::NONE);
            assert_eq!(
                file_name(&load).unwrap(),
                format!("0000000000001000-{expected}.bin")
            );
        };
        check("zero page", "zero-page");
        check("../../etc/passwd", "etc-passwd");
        check("/", "load");
        check("..", "load");
        check("", "load");
        check("a\0b\nc", "a-b-c");
        check("ACPI: DSDT  ", "acpi-dsdt");
        check("\u{202e}é", "load");
        check(&"x".repeat(5000), &"x".repeat(40));
    }

    #[test]
    fn the_type_of_a_piece_depends_on_its_content() {
        let name = |content| {
            let range = GuestRange::new(0x1000, 4).unwrap();
            file_name(&Load::new(range, content, "tree", Constraints::NONE))
        };
        let named = |name: &str| Some(name.to_owned());
        let fdt = LoadContent::Bytes(vec![0xd0, 0x0d, 0xfe, 0xed]);
        assert_eq!(name(fdt), named("0000000000001000-tree.dtb"));
        let other = LoadContent::Bytes(vec![0xed, 0xfe, 0x0d, 0xd0]);
        assert_eq!(name(other), named("0000000000001000-tree.bin"));
        assert_eq!(name(LoadContent::Zeros), None);
    }
}
