//! Values of a machine that no expectation can be computed for in advance: the guest prints them as notes under one loader, and is to find
//! the same ones under another.

use contract::{Expectation, Memory, MemoryRange};

/// Values of a machine.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(in crate::test) struct Values {
    /// The memory map; empty if it is not known.
    memory: Vec<MemoryRange>,
    /// Address of the ACPI root pointer.
    rsdp: Option<u64>,
    /// Address of the serial port that the device tree selects.
    serial: Option<u64>,
}

impl Values {
    /// The values in the guest's lines `note NAME VALUE`.
    pub(in crate::test) fn read(output: &str) -> Self {
        let mut values = Self::default();
        for note in output
            .lines()
            .filter_map(|line| line.trim_end().strip_prefix("note "))
        {
            let Some((name, value)) = note.split_once(' ') else {
                continue;
            };
            match name {
                "acpi.root" => values.rsdp = number(value),
                "serial.address" => values.serial = number(value),
                _ if name.starts_with("memory.map.") => values.memory.extend(range(value)),
                _ => {}
            }
        }
        values
    }

    /// True if the guest printed a memory map.
    pub(in crate::test) fn has_memory(&self) -> bool {
        !self.memory.is_empty()
    }

    /// The expectation of these values.
    pub(super) fn expectation(&self) -> Expectation<'_> {
        Expectation {
            memory: self.has_memory().then_some(Memory::Ranges(&self.memory)),
            rsdp: self.rsdp,
            serial: self.serial,
            ..Expectation::default()
        }
    }
}

fn number(text: &str) -> Option<u64> {
    u64::from_str_radix(text.strip_prefix("0x")?, 16).ok()
}

/// Parses `START-END:KIND`.
fn range(text: &str) -> Option<MemoryRange> {
    let (bounds, kind) = text.split_once(':')?;
    let (start, end) = bounds.split_once('-')?;
    Some(MemoryRange {
        start: number(start)?,
        end: number(end)?,
        kind: kind.parse().ok()?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn notes_become_expectations() {
        let output = "conformance: entered as pvh at 0x1000000\r\nnote acpi.root 0xf5ad0\r\nok entry\r\n\
                      note memory.map.0 0x0-0x9fc00:1\r\nnote memory.map.1 0x9fc00-0xa0000:2\r\nnote cpu.tables gdt\r\nnote\r\n";
        let values = Values::read(output);
        assert!(values.has_memory());
        assert_eq!(
            values.expectation().to_string(),
            "expect.mem=0x0-0x9fc00:1,0x9fc00-0xa0000:2 expect.rsdp=0xf5ad0"
        );
        let values =
            Values::read("note serial.address 0x9000000\nnote memory.map.0 nothing\nnote acpi.root 7\n");
        assert_eq!(values.expectation().to_string(), "expect.serial=0x9000000");
        assert!(!values.has_memory() && Values::read("") == Values::default());
    }
}
