//! The BIOS data area, as far as kernels that Multiboot starts on a PC rely on it.
//!
//! Neither specification has it: it is what a BIOS leaves behind. Xen places its real-mode trampoline by the size of base memory in
//! there, and does not get as far as its console where that is zero.

use alloc::vec;
use alloc::vec::Vec;

use boot_core::{Constraints, GuestRange, PlanBuilder, RamAllocator};

use crate::block::basic_memory;

/// The area, on every PC.
const CONSTRAINTS: Constraints = Constraints::aligned(0x100).between(0x400, 0x500);

/// Offset of the size of base memory in KiB, a word (what INT 12h answers).
const BASE_MEMORY: usize = 0x13;

/// The area, where the kernel leaves it free and it is RAM.
pub(crate) struct BiosData(Option<(GuestRange, Vec<u8>)>);

impl BiosData {
    /// Takes the place of the area.
    pub(crate) fn reserve(allocator: &mut RamAllocator<'_>) -> Self {
        let (lower, _) = basic_memory(allocator.map());
        let range = GuestRange::from_bounds(CONSTRAINTS.min, CONSTRAINTS.max).unwrap_or(GuestRange::EMPTY);
        let is_free = lower > 0 && allocator.reserve("BIOS data area", range).is_ok();
        // `mem_lower` is 640 at the most.
        let lower = u16::try_from(lower).unwrap_or_default();
        let mut bytes = vec![0; BASE_MEMORY];
        bytes.extend_from_slice(&lower.to_le_bytes());
        Self(is_free.then_some((range, bytes)))
    }

    /// Adds the area to a plan.
    pub(crate) fn add(self, plan: PlanBuilder) -> PlanBuilder {
        match self.0 {
            Some((range, bytes)) => plan.bytes("BIOS data area", range, bytes, CONSTRAINTS),
            None => plan,
        }
    }
}
