//! Memory at the addresses of option ROMs and BIOS.

use boot_core::{GuestMemory as _, GuestRange, MemoryMap, RegionKind, arith};
use guest_ram::{GuestRam, HugePages, RamError, RamOptions, RamRegion};

use super::KvmVm;
use crate::{KvmError, RomArea, layout};

/// What a PC reads where no ROM is.
const ABSENT: u8 = 0xff;

/// Length of [`layout::ROM`] in bytes.
const LEN: usize = 0x4_0000;

const _: () = assert!(layout::ROM.len() == arith::to_u64(LEN));

/// The contents of the whole area, which all machines share.
#[repr(C, align(4096))]
struct Contents([u8; LEN]);

static CONTENTS: Contents = Contents([ABSENT; LEN]);

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
        let bytes = bytes(range);
        let region = if read_only {
            RamRegion::from_static(range, bytes).ok_or(KvmError::RomMemory(RamError::TooLarge(range)))?
        } else {
            writable(range, bytes)?
        };
        vm.map_rom(slot, region, read_only)?;
    }
    Ok(())
}

/// The contents of a range of the area.
fn bytes(range: GuestRange) -> &'static [u8] {
    let bound = |addr: u64| usize::try_from(addr.saturating_sub(layout::ROM.start())).unwrap_or(LEN);
    CONTENTS
        .0
        .get(bound(range.start())..bound(range.end()))
        .unwrap_or_default()
}

/// Memory of this machine alone with the same contents.
fn writable(range: GuestRange, bytes: &[u8]) -> Result<RamRegion, KvmError> {
    let mut map = MemoryMap::new();
    map.insert(range, RegionKind::Ram).map_err(KvmError::RomRange)?;
    let mut rom: GuestRam = RamOptions::new()
        .huge_pages(HugePages::HostDefault)
        .build(&map)
        .map_err(KvmError::RomMemory)?;
    rom.write(range.start(), bytes).map_err(KvmError::RomContents)?;
    // A map of one range gives one region.
    rom.regions().next().ok_or(KvmError::RomMemory(RamError::NoRam))
}
