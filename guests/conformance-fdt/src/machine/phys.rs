//! Physical memory. There is no MMU, so an address is a pointer.
#![expect(
    unsafe_code,
    reason = "memory that no Rust object owns is reached by raw address"
)]

use clauses::memory::Physical;
use contract::{Digest, Fnv1a64};

use super::arch;

unsafe extern "C" {
    #[link_name = "image_start"]
    static IMAGE_START: [u8; 0];
    #[link_name = "__image_end"]
    static IMAGE_END: [u8; 0];
}

/// Length of the program in memory.
pub(crate) fn image_length() -> u64 {
    ((&raw const IMAGE_END).addr() - (&raw const IMAGE_START).addr()) as u64
}

/// Reads one byte; the program's own bytes may be read, too. What the CPU cannot address reads as ones, like a bus that
/// nobody drives.
fn read_u8(address: u64) -> u8 {
    if address >= arch::address_limit() {
        return 0xff;
    }
    arch::read_u8(address)
}

/// Fills `buffer` from `address` on.
pub(crate) fn read(address: u64, buffer: &mut [u8]) {
    for (byte, at) in buffer.iter_mut().zip(address..) {
        *byte = read_u8(at);
    }
}

/// The digest of `len` bytes from `address` on.
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

/// Where a pointer to `address` points; both have 64 bits here.
fn pointer_to(address: u64) -> usize {
    usize::try_from(address).unwrap_or(usize::MAX)
}

/// All memory but the program's own.
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

    /// Whether any of the eight bytes from `address` on is the program's own.
    fn is_own(&self, address: u64) -> bool {
        address < self.own.end && address.saturating_add(8) > self.own.start
    }
}

impl Physical for Phys {
    fn limit(&self) -> u64 {
        arch::address_limit()
    }

    fn read_u64(&mut self, address: u64) -> u64 {
        assert!(
            address.is_multiple_of(8),
            "without an MMU, memory is read in its own units"
        );
        // SAFETY: the address is aligned and one of RAM, as the loader says; an exception, which ends the program with a
        // failed clause, shows that it is not. Any bit pattern is a number.
        unsafe { core::ptr::with_exposed_provenance::<u64>(pointer_to(address)).read_volatile() }
    }

    fn write_u64(&mut self, address: u64, value: u64) -> bool {
        assert!(!self.is_own(address), "a write into the program itself");
        if address >= arch::address_limit() || !address.is_multiple_of(8) {
            return false;
        }
        // SAFETY: as for reading; no Rust object lives outside the image.
        unsafe { core::ptr::with_exposed_provenance_mut::<u64>(pointer_to(address)).write_volatile(value) };
        true
    }
}
