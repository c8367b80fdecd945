//! Host memory that a guest can be given.

use std::sync::Arc;

use vm_memory::{
    Address, GuestMemoryBackend, GuestMemoryMmap, GuestMemoryRegion, GuestRegionMmap, mmap::MmapRegion,
};

use crate::{KvmError, layout};

/// A region of guest RAM, together with a share in the host mapping behind it.
///
/// The machine keeps it until the slot is unmapped or the machine and all its vCPUs are gone, so the mapping
/// outlives every access of the guest.
#[derive(Clone, Debug)]
pub struct Ram {
    base: u64,
    mapping: Arc<MmapRegion>,
}

impl Ram {
    /// The RAM of `region`.
    #[must_use]
    pub fn of_region(region: &GuestRegionMmap) -> Self {
        Self {
            base: region.start_addr().raw_value(),
            mapping: region.get_mmap(),
        }
    }

    /// Every region of `memory`, in ascending order of guest addresses.
    #[must_use]
    pub fn of_memory(memory: &GuestMemoryMmap) -> Vec<Self> {
        memory.iter().map(Self::of_region).collect()
    }

    /// The guest physical address of the first byte.
    #[must_use]
    pub fn base(&self) -> u64 {
        self.base
    }

    /// Length in bytes.
    #[must_use]
    #[expect(clippy::len_without_is_empty, reason = "a mapping is never empty")]
    pub fn len(&self) -> u64 {
        // usize has at most 64 bits on every Linux there is.
        u64::try_from(self.mapping.size()).unwrap_or(u64::MAX)
    }

    /// The host address of the first byte.
    pub(crate) fn host(&self) -> *mut u8 {
        self.mapping.as_ptr()
    }

    /// Whether the two share a guest address. Both have passed [`check`](Self::check).
    pub(crate) fn overlaps(&self, other: &Self) -> bool {
        self.base < other.base + other.len() && other.base < self.base + self.len()
    }

    /// Whole pages, inside the address space, and clear of what the machine uses for itself.
    pub(crate) fn check(&self) -> Result<(), KvmError> {
        const PAGE: u64 = 4096;
        let (base, len) = (self.base, self.len());
        let Some(end) = base.checked_add(len) else {
            return Err(KvmError::RamUnaligned { base, len });
        };
        if !base.is_multiple_of(PAGE) || !len.is_multiple_of(PAGE) {
            return Err(KvmError::RamUnaligned { base, len });
        }
        let reserved = layout::RESERVED;
        if base < reserved.end && reserved.start < end {
            return Err(KvmError::RamReserved { base, len, reserved });
        }
        Ok(())
    }
}
