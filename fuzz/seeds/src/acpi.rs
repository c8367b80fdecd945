//! Definition blocks, and memory with tables.

use crate::seed::Seed;

#[path = "../../../crates/fw-acpi/tests/acpi/machine.rs"]
mod machine;

use machine::{Hardware, memory, microvm, pc};

/// Blocks and memory without the zeros at its end.
pub(crate) fn seeds() -> Vec<Seed> {
    let tables = |hardware, aml: &[u8]| {
        let mut bytes = memory(hardware, aml);
        let used = bytes
            .iter()
            .rposition(|byte| *byte != 0)
            .map_or(0, |last| last + 1);
        bytes.truncate(used);
        bytes
    };
    vec![
        ("microvm", microvm(2)),
        ("pc", pc()),
        ("reduced", tables(Hardware::Reduced, &microvm(1))),
        ("fixed", tables(Hardware::Fixed, &pc())),
    ]
}
