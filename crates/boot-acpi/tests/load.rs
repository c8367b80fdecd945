//! Tables as a load of a boot.

use boot_acpi::{AcpiTables, Pc};
use boot_core::{
    AdditionalContent, AdditionalLoad, AdditionalPlace, Arch, Machine, MemoryMap, PlacedAdditional,
    RamAllocator, RegionKind,
};

#[test]
fn tables_are_a_load_in_reclaimable_memory() {
    let machine = Machine::new(Arch::X86_64, MemoryMap::pc(64 << 20).unwrap());
    let tables = AcpiTables::at_end_of_ram(&machine, &Pc::default()).unwrap();
    let load: AdditionalLoad<'_> = tables.load();
    assert_eq!(load.place, AdditionalPlace::At(tables.rsdp()));
    assert_eq!(load.content, AdditionalContent::Bytes(tables.bytes()));
    let mut allocator = RamAllocator::new(&machine.memory);
    let placed = PlacedAdditional::place(
        &mut allocator,
        &[load.within(boot_core::Constraints::below_4g(16))],
    )
    .unwrap();
    let [range] = placed.ranges() else {
        panic!("{:?}", placed.ranges());
    };
    assert!(placed.memory().is_kind(*range, RegionKind::AcpiReclaimable));
    assert!(machine.memory.is_ram(*range));
}
