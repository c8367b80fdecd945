//! Expected boot parameters of PCs.

use boot_core::RegionKind;
use contract::{Blob, Digest, Entry, Expectation, Memory, MemoryRange, Module};

use crate::conformance::build::Build;
use crate::setup::Setup;

/// The memory map of a PC, with the types of the ACPI specification (section 15).
fn expected_map(setup: &Setup) -> Result<Vec<MemoryRange>, Box<dyn std::error::Error>> {
    let machine = crate::machine::describe(setup)?;
    let regions = machine.memory.regions().iter();
    Ok(regions
        .map(|region| MemoryRange {
            start: region.range.start(),
            end: region.range.end(),
            kind: match region.kind {
                RegionKind::Ram => 1,
                RegionKind::Reserved => 2,
                RegionKind::AcpiReclaimable => 3,
                RegionKind::AcpiNvs => 4,
                other => panic!("no case uses {other}"),
            },
        })
        .collect())
}

/// The expectation on a PC.
pub(in crate::conformance) fn expectation(
    build: Build,
    setup: &Setup,
    base: u64,
) -> Result<String, Box<dyn std::error::Error>> {
    let map = expected_map(setup)?;
    let mut modules = [None; contract::MAX_MODULES];
    let is_multiboot = matches!(build.entry, Entry::Multiboot | Entry::Multiboot2);
    let mut files: Vec<_> = setup.modules.iter().map(|(bytes, line)| (bytes, *line)).collect();
    let initrd = setup.initrd.iter().map(|bytes| (bytes, ""));
    // The initrd is the first module of PVH, and the last one of Multiboot.
    let index = if is_multiboot { files.len() } else { 0 };
    files.splice(index..index, initrd);
    for (slot, (bytes, line)) in modules.iter_mut().zip(&files) {
        let cmdline = (!line.is_empty()).then(|| Digest::of(line.as_bytes()));
        *slot = Some(Module {
            content: Digest::of(bytes),
            cmdline,
        });
    }
    let has_modules = is_multiboot || build.entry == Entry::Pvh;
    let expectation = Expectation {
        entry: Some(build.entry),
        image: (!has_modules).then_some(build.image),
        base: Some(base),
        memory: Some(if map.len() > 8 {
            Memory::digest_of(&map)
        } else {
            Memory::Ranges(&map)
        }),
        initrd: (!has_modules).then(|| match &setup.initrd {
            Some(bytes) => Blob::Present(Digest::of(bytes)),
            None => Blob::Absent,
        }),
        module_count: has_modules.then(|| u64::try_from(files.len()).expect("few files")),
        modules: if has_modules {
            modules
        } else {
            [None; contract::MAX_MODULES]
        },
        rng_seed: (build.protocol == "linux").then(|| match &setup.seeds {
            Some(seeds) => Blob::Present(Digest::of(seeds.rng)),
            None => Blob::Absent,
        }),
        rsdp: (!is_multiboot).then(|| setup.acpi_rsdp.unwrap_or(0)),
        ..Expectation::default()
    };
    Ok(expectation.to_string())
}
