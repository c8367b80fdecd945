//! Access to physical memory. The MMU is off, so addresses are physical.
#![expect(
    unsafe_code,
    reason = "memory outside of Rust objects is accessed by its address"
)]

use clauses::memory::PhysicalMemory;
use contract::{Digest, Fnv1a64};

use super::arch;

unsafe extern "C" {
    #[link_name = "image_start"]
    static IMAGE_START: [u8; 0];
    #[link_name = "__image_end"]
    static IMAGE_END: [u8; 0];
}

/// Length of the image in memory.
pub(crate) fn image_length() -> u64 {
    ((&raw const IMAGE_END).addr() - (&raw const IMAGE_START).addr()) as u64
}

/// Reads one byte, also of the program itself. Bytes outside the physical address space read as 0xff.
fn read_u8(address: u64) -> u8 {
    if address >= arch::address_limit() {
        return 0xff;
    }
    arch::read_u8(address)
}

/// Fills `buffer` from `address`.
pub(crate) fn read(address: u64, buffer: &mut [u8]) {
    for (byte, at) in buffer.iter_mut().zip(address..) {
        *byte = read_u8(at);
    }
}

/// The digest of `len` bytes from `address`.
pub(crate) fn digest(address: u64, len: u64) -> Digest {
    let mut hash = Fnv1a64::new();
    for at in address..address.saturating_add(len) {
        hash.update(&[read_u8(at)]);
    }
    Digest {
        len,
        hash: hash.finish(),
    }
}

/// Converts an address to a pointer-sized integer; both have 64 bits here.
fn pointer_to(address: u64) -> usize {
    usize::try_from(address).unwrap_or(usize::MAX)
}

/// Physical memory; writes to the program itself panic.
pub(crate) struct Phys {
    own: core::ops::Range<u64>,
}

impl Phys {
    pub(crate) fn new() -> Self {
        let base = arch::record().base;
        Self {
            own: base..base + image_length(),
        }
    }

    /// Whether any of the eight bytes from `address` belongs to the program.
    fn is_own(&self, address: u64) -> bool {
        address < self.own.end && address.saturating_add(8) > self.own.start
    }
}

impl PhysicalMemory for Phys {
    fn limit(&self) -> u64 {
        arch::address_limit()
    }

    fn read_u64(&mut self, address: u64) -> u64 {
        assert!(
            address.is_multiple_of(8),
            "with the MMU off, accesses must be aligned"
        );
        // SAFETY: the address is aligned and, by the memory map of the loader, RAM; if it is not, the exception is a failed
        // clause and ends the program. Any bit pattern is a valid `u64`.
        unsafe { core::ptr::with_exposed_provenance::<u64>(pointer_to(address)).read_volatile() }
    }

    fn write_u64(&mut self, address: u64, value: u64) -> bool {
        assert!(!self.is_own(address), "a write into the program itself");
        if address >= arch::address_limit() || !address.is_multiple_of(8) {
            return false;
        }
        // SAFETY: as for reading; no Rust object is outside the image.
        unsafe { core::ptr::with_exposed_provenance_mut::<u64>(pointer_to(address)).write_volatile(value) };
        true
    }
}
