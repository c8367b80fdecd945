//! Expected boot parameters of PCs.

use boot_core::RegionKind;
use contract::{Blob, Digest, Entry, Expectation, Memory, MemoryRange, Module};

use crate::conformance::build::Build;
use crate::setup::Setup;

/// The map as the guest must find it, with the type numbers of the ACPI specification (section 15).
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

/// What the guest must find, as words of its command line.
pub(in crate::conformance) fn expectation(
    build: Build,
    setup: &Setup,
    base: u64,
) -> Result<String, Box<dyn std::error::Error>> {
    let map = expected_map(setup)?;
    let mut modules = [None; contract::MAX_MODULES];
    let initrd = setup.initrd.iter().map(|bytes| (bytes, ""));
    let files = initrd.chain(setup.modules.iter().map(|(bytes, line)| (bytes, *line)));
    for (slot, (bytes, line)) in modules.iter_mut().zip(files.clone()) {
        let cmdline = (!line.is_empty()).then(|| Digest::of(line.as_bytes()));
        *slot = Some(Module {
            content: Digest::of(bytes),
            cmdline,
        });
    }
    let pvh = build.entry == Entry::Pvh;
    let expectation = Expectation {
        entry: Some(build.entry),
        image: (!pvh).then_some(build.image),
        base: Some(base),
        memory: Some(if map.len() > 8 {
            Memory::digest_of(&map)
        } else {
            Memory::Ranges(&map)
        }),
        initrd: (!pvh).then(|| match &setup.initrd {
            Some(bytes) => Blob::Present(Digest::of(bytes)),
            None => Blob::Absent,
        }),
        module_count: pvh.then(|| u64::try_from(files.count()).expect("few files")),
        modules: if pvh {
            modules
        } else {
            [None; contract::MAX_MODULES]
        },
        rsdp: Some(setup.acpi_rsdp.unwrap_or(0)),
        ..Expectation::default()
    };
    Ok(expectation.to_string())
}
