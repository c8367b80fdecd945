//! Memory at the addresses of option ROMs and BIOS.

use boot_core::{GuestMemory as _, GuestRange, MemoryMap, RegionKind};
use guest_ram::{GuestRam, HugePages, RamOptions, RamRegion};

use super::KvmVm;
use crate::{KvmError, RomArea, layout};

/// Contents of the area: what a PC reads where no ROM is.
const FILL: [u8; 0x1000] = [0xff; 0x1000];

/// Maps memory where [`layout::ROM`] is not part of `ram`, as slots with numbers from that of `ram`'s length on.
pub(super) fn map(vm: &KvmVm, area: RomArea, ram: &[RamRegion]) -> Result<(), KvmError> {
    let read_only = match area {
        RomArea::ReadOnly => true,
        RomArea::Writable => false,
        RomArea::Absent => return Ok(()),
    };
    let ranges: Vec<_> = ram.iter().map(RamRegion::range).collect();
    let first = u32::try_from(ram.len()).unwrap_or(u32::MAX);
    for (slot, range) in (first..).zip(layout::rom_gaps(&ranges)) {
        let region = memory(range)?;
        vm.map_rom(slot, region, read_only)?;
    }
    Ok(())
}

/// Memory for `range`, filled with [`FILL`].
fn memory(range: GuestRange) -> Result<RamRegion, KvmError> {
    let mut map = MemoryMap::new();
    map.insert(range, RegionKind::Ram).map_err(KvmError::RomRange)?;
    let mut rom: GuestRam = RamOptions::new()
        .huge_pages(HugePages::HostDefault)
        .build(&map)
        .map_err(KvmError::RomMemory)?;
    for page in (range.start()..range.end()).step_by(FILL.len()) {
        rom.write(page, &FILL).map_err(KvmError::RomContents)?;
    }
    // A map of one range gives one region.
    rom.regions()
        .next()
        .ok_or(KvmError::RomMemory(guest_ram::RamError::NoRam))
}
