//! Tables as a load of a boot.

use boot_acpi::{AcpiTables, MpTables, Pc};
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

#[test]
fn mp_tables_are_a_load_in_reserved_base_memory() {
    let mut machine = Machine::new(Arch::X86_64, MemoryMap::pc(64 << 20).unwrap());
    machine.vcpus = 255.try_into().unwrap();
    let tables = MpTables::new(&machine, &Pc::default()).unwrap();
    let load = tables.load();
    assert_eq!(load.place, AdditionalPlace::At(tables.range().start()));
    assert_eq!(load.content, AdditionalContent::Bytes(tables.bytes()));
    let mut allocator = RamAllocator::new(&machine.memory);
    let placed = PlacedAdditional::place(&mut allocator, &[load]).unwrap();
    assert_eq!(placed.ranges(), [tables.range()]);
    assert!(placed.memory().is_kind(tables.range(), RegionKind::Reserved));
    assert_eq!(tables.range().end(), tables.pointer() + 16);
}
