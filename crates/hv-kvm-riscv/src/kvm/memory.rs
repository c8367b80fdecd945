//! Access to guest memory for the debug console.
#![expect(
    unsafe_code,
    reason = "copies from and to memory that the guest may write concurrently"
)]

use std::{collections::BTreeMap, ptr};

use boot_core::{GuestRange, arith};
use guest_ram::RamRegion;
use hv_kvm::VmFile;

use crate::sbi::GuestMemoryAccess;

/// RAM slots by their numbers.
type Slots = BTreeMap<u32, RamRegion>;

/// Guest memory of a machine. The slots are locked during a copy.
pub(super) struct Memory<'a>(pub(super) &'a VmFile);

/// Pieces of slots (slot, offset, length) that cover `address .. address + len`; `None` if not all of it is RAM.
fn pieces(slots: &Slots, address: u64, len: usize) -> Option<Vec<(&RamRegion, usize, usize)>> {
    let range = GuestRange::new(address, arith::to_u64(len))?;
    let mut at = range.start();
    let mut pieces = Vec::new();
    while at < range.end() {
        let slot = slots
            .values()
            .find(|slot| slot.range().start() <= at && at < slot.range().end())?;
        let end = slot.range().end().min(range.end());
        let offset = usize::try_from(at.checked_sub(slot.range().start())?).ok()?;
        pieces.push((slot, offset, usize::try_from(end.checked_sub(at)?).ok()?));
        at = end;
    }
    Some(pieces)
}

impl GuestMemoryAccess for Memory<'_> {
    fn read(&self, address: u64, data: &mut [u8]) -> bool {
        self.0.with_slots(|slots| read(slots, address, data))
    }

    fn write(&self, address: u64, data: &[u8]) -> bool {
        self.0.with_slots(|slots| write(slots, address, data))
    }
}

fn read(slots: &Slots, address: u64, data: &mut [u8]) -> bool {
    let Some(pieces) = pieces(slots, address, data.len()) else {
        return false;
    };
    let mut rest = data.iter_mut();
    for (slot, offset, len) in pieces {
        for (index, byte) in (offset..).zip(rest.by_ref().take(len)) {
            // SAFETY: `index` is below the length of the slot, whose mapping lives as long as `slot`, so the pointer is
            // inside the mapping.
            let source = unsafe { slot.host_ptr().add(index) };
            // SAFETY: `source` points into a readable mapping of bytes. The guest may write it concurrently; a volatile read
            // of one byte gives the old or the new value.
            *byte = unsafe { ptr::read_volatile(source) };
        }
    }
    true
}

fn write(slots: &Slots, address: u64, data: &[u8]) -> bool {
    let Some(pieces) = pieces(slots, address, data.len()) else {
        return false;
    };
    let mut rest = data.iter();
    for (slot, offset, len) in pieces {
        for (index, byte) in (offset..).zip(rest.by_ref().take(len)) {
            // SAFETY: as in `read`.
            let target = unsafe { slot.host_ptr().add(index) };
            // SAFETY: `target` points into a writable mapping to which no Rust reference exists: `RamRegion` does not give
            // any.
            unsafe { ptr::write_volatile(target, *byte) };
        }
    }
    true
}
