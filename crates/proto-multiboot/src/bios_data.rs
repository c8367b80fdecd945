//! The BIOS data area: its one field that kernels rely on after a Multiboot boot.
//!
//! The Multiboot specifications do not mention it; the BIOS of a PC writes it. Xen computes the address of its real-mode
//! trampoline from the size of base memory, and stops before its first console output if that is zero.

use alloc::vec;
use alloc::vec::Vec;

use boot_core::{Constraints, GuestRange, PlacementError, PlanBuilder, RamAllocator};

use crate::block::basic_memory;

/// Label of the area.
const LABEL: &str = "BIOS data area";

/// Address range of the area.
const CONSTRAINTS: Constraints = Constraints::aligned(0x100).between(0x400, 0x500);

/// Offset in the area of the size of base memory in KiB, 16 bits wide. INT 12h returns this value.
const BASE_MEMORY: usize = 0x13;

/// Content of the area; `None` if the area is not RAM or the kernel is loaded over it, unless the request fixes its address.
pub(crate) struct BiosData(Option<(GuestRange, Vec<u8>)>);

impl BiosData {
    /// Reserves the area.
    ///
    /// # Errors
    ///
    /// Those of [`RamAllocator::reserve`] if the request fixes the address of the area: then a movable kernel moves out of its way.
    pub(crate) fn reserve(allocator: &mut RamAllocator<'_>) -> Result<Self, PlacementError> {
        let (lower, _) = basic_memory(allocator.map());
        let range = GuestRange::from_bounds(CONSTRAINTS.min, CONSTRAINTS.max).unwrap_or(GuestRange::EMPTY);
        let is_free = lower > 0
            && match allocator.reserve(LABEL, range) {
                Err(error) if allocator.fixed_address(LABEL).is_some() => return Err(error),
                reserved => reserved.is_ok(),
            };
        // At most 640.
        let lower = u16::try_from(lower).unwrap_or_default();
        let mut bytes = vec![0; BASE_MEMORY];
        bytes.extend_from_slice(&lower.to_le_bytes());
        Ok(Self(is_free.then_some((range, bytes))))
    }

    /// Adds the content of the area to a plan.
    pub(crate) fn add(self, plan: PlanBuilder) -> PlanBuilder {
        match self.0 {
            Some((range, bytes)) => plan.bytes(LABEL, range, bytes, CONSTRAINTS),
            None => plan,
        }
    }
}
