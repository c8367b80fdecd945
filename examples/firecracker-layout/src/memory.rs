//! Guest memory without vm-memory: mappings of this process.

#![expect(unsafe_code, reason = "system calls, and memory at host addresses")]

use std::error::Error;
use std::io;
use std::ptr::{NonNull, null_mut};

use boot_core::{GuestMemory, GuestRange};
use guest_ram::{HostRam, HostRegion, HugePages};

use crate::layout;

/// Anonymous memory.
#[derive(Debug)]
struct Mapping {
    start: NonNull<u8>,
    len: usize,
}

impl Mapping {
    fn new(len: usize) -> io::Result<Self> {
        let access = libc::PROT_READ | libc::PROT_WRITE;
        let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_NORESERVE;
        // SAFETY: a new mapping at an address of the kernel's choice does not change existing memory.
        let start = unsafe { libc::mmap(null_mut(), len, access, flags, -1, 0) };
        if start == libc::MAP_FAILED {
            return Err(io::Error::last_os_error());
        }
        let start = NonNull::new(start.cast()).ok_or(io::ErrorKind::AddrNotAvailable)?;
        Ok(Self { start, len })
    }
}

impl Drop for Mapping {
    fn drop(&mut self) {
        // SAFETY: this is the mapping of `new`, which only this value refers to.
        unsafe { libc::munmap(self.start.as_ptr().cast(), self.len) };
    }
}

/// The RAM of a machine: the ranges of Firecracker, from address 0 to the hole for devices, and the rest above 4 GiB.
#[derive(Debug)]
pub struct Ram {
    // Before the mappings, so that it is dropped before them.
    ram: HostRam,
    _mappings: Vec<Mapping>,
}

impl Ram {
    /// `len` bytes of zeros.
    ///
    /// # Errors
    ///
    /// Errors of the host if it cannot map that much.
    pub fn new(len: u64) -> Result<Self, Box<dyn Error>> {
        let low = len.min(layout::DEVICE_HOLE);
        let mut mappings = Vec::new();
        let mut regions = Vec::new();
        for (start, len) in [(0, low), (layout::DEVICE_HOLE_END, len - low)] {
            if len == 0 {
                continue;
            }
            let range = GuestRange::new(start, len).ok_or("the guest's address space is too small")?;
            // With room for an address at which huge pages of the host can back those of the guest.
            let mapping = Mapping::new(usize::try_from(len)? + HostRegion::SURPLUS)?;
            let region = HostRegion::congruent(range, mapping.start, mapping.len);
            regions.push(region.ok_or("the mapping is too small")?);
            mappings.push(mapping);
        }
        // SAFETY: each region is inside its mapping, which exists as long as the value, because nothing hands out the value or a
        // clone of it. No reference to the bytes exists, and no other thread accesses them.
        let ram = unsafe { HostRam::new(regions) }?;
        ram.advise_huge_pages(HugePages::Advise);
        Ok(Self {
            ram,
            _mappings: mappings,
        })
    }

    /// The memory, to load into.
    pub fn memory(&mut self) -> &mut dyn GuestMemory {
        &mut self.ram
    }

    /// The regions, for the memory slots of KVM.
    #[must_use]
    pub fn regions(&self) -> &[HostRegion] {
        self.ram.regions()
    }
}
