//! Regions of guest memory for the memory slots of a hypervisor.

use std::fmt;
use std::sync::Arc;

use boot_core::{GuestRange, arith};
use vm_memory::bitmap::Bitmap;
use vm_memory::{GuestMemoryRegion, GuestRegionMmap, MmapRegion};

/// A mapping with any type of bitmap.
trait Mapping: Send + Sync {
    fn host(&self) -> *mut u8;
}

impl<B: Bitmap + Send + Sync> Mapping for MmapRegion<B> {
    fn host(&self) -> *mut u8 {
        self.as_ptr()
    }
}

/// The bytes of a [`HostMapping`](crate::HostMapping) from an offset on.
#[cfg(target_os = "linux")]
struct Part {
    mapping: Arc<crate::HostMapping>,
    /// Below the length of the mapping.
    offset: usize,
}

#[cfg(target_os = "linux")]
impl Mapping for Part {
    fn host(&self) -> *mut u8 {
        self.mapping.host_ptr().wrapping_add(self.offset)
    }
}

/// Bytes of the program itself.
struct Constant(&'static [u8]);

impl Mapping for Constant {
    fn host(&self) -> *mut u8 {
        self.0.as_ptr().cast_mut()
    }
}

/// A region of guest memory: its guest physical addresses, and shared ownership of its mapping.
///
/// Keep this value for as long as a memory slot refers to the mapping: the memory stays mapped even if the
/// [`GuestRam`](crate::GuestRam) is dropped.
#[derive(Clone)]
pub struct RamRegion {
    range: GuestRange,
    mapping: Arc<dyn Mapping>,
}

impl RamRegion {
    /// The region, or `None` if it would end past the last address.
    pub(crate) fn new<B>(region: &GuestRegionMmap<B>) -> Option<Self>
    where
        B: Bitmap + Send + Sync + 'static,
    {
        Some(Self {
            range: GuestRange::new(region.start_addr().0, region.len())?,
            mapping: region.get_mmap(),
        })
    }

    /// The bytes of `mapping` from `offset` on as the memory at `range`. `None` if the mapping has fewer bytes, or the range is empty.
    ///
    /// ```
    /// use std::sync::Arc;
    ///
    /// use boot_core::GuestRange;
    /// use guest_ram::{HostMapping, RamRegion};
    ///
    /// let mapping = Arc::new(HostMapping::anonymous(0x4000)?);
    /// let range = GuestRange::new(0x4000_0000, 0x3000).unwrap();
    /// let region = RamRegion::from_mapping(range, Arc::clone(&mapping), 0x1000).unwrap();
    /// assert_eq!(region.host_ptr(), mapping.host_ptr().wrapping_add(0x1000));
    /// assert!(RamRegion::from_mapping(range, mapping, 0x2000).is_none());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[cfg(target_os = "linux")]
    #[must_use]
    pub fn from_mapping(range: GuestRange, mapping: Arc<crate::HostMapping>, offset: usize) -> Option<Self> {
        let len = usize::try_from(range.len()).ok().filter(|&len| len > 0)?;
        let end = offset.checked_add(len)?;
        (end <= mapping.len()).then(|| Self {
            range,
            mapping: Arc::new(Part { mapping, offset }),
        })
    }

    /// Constant bytes as the memory at `range`, for memory slots that are read-only (`KVM_MEM_READONLY`). All machines of all processes share them. `None`
    /// if the lengths differ, or the range is empty.
    ///
    /// A write through [`host_ptr`](Self::host_ptr) is a `SIGSEGV`; in a slot that is not read-only, an access of the guest fails. Slots need bytes that are
    /// aligned to the host's page size.
    ///
    /// ```
    /// use boot_core::GuestRange;
    /// use guest_ram::RamRegion;
    ///
    /// #[repr(C, align(4096))]
    /// struct Rom([u8; 0x2000]);
    ///
    /// static ROM: Rom = Rom([0xff; 0x2000]);
    ///
    /// let range = GuestRange::new(0xf_e000, 0x2000).unwrap();
    /// let region = RamRegion::from_static(range, &ROM.0).unwrap();
    /// assert_eq!(region.host_addr() % 0x1000, 0);
    /// ```
    #[must_use]
    pub fn from_static(range: GuestRange, bytes: &'static [u8]) -> Option<Self> {
        let has_len = !range.is_empty() && range.len() == arith::to_u64(bytes.len());
        has_len.then(|| Self {
            range,
            mapping: Arc::new(Constant(bytes)),
        })
    }

    /// The guest physical addresses.
    #[must_use]
    pub fn range(&self) -> GuestRange {
        self.range
    }

    /// The address of the region in this process. `self.range().len()` bytes are mapped there while this value or a clone of
    /// it exists.
    ///
    /// The guest and other threads may change the bytes at any time, so no Rust reference to them may exist. Writes through
    /// the pointer and writes of the guest are not marked in the dirty bitmap.
    #[must_use]
    pub fn host_ptr(&self) -> *mut u8 {
        self.mapping.host()
    }

    /// [`host_ptr`](Self::host_ptr) as a number, for memory slots (`userspace_addr` of `KVM_SET_USER_MEMORY_REGION`).
    #[must_use]
    pub fn host_addr(&self) -> u64 {
        arith::to_u64(self.host_ptr().addr())
    }
}

impl fmt::Debug for RamRegion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RamRegion")
            .field("range", &self.range)
            .field("mapping", &self.host_ptr())
            .finish()
    }
}
