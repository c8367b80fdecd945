//! Mapped files and regions.
#![expect(unsafe_code, reason = "one of the functions reads a region without a copy")]

use alloc::vec;
use alloc::vec::Vec;

use sandbox_guest::{Error, Region, guest_function};

/// The bytes of a region from `offset` on.
#[guest_function]
fn read_region(region: Region, offset: u64, len: u32) -> Result<Vec<u8>, Error> {
    let mut bytes = vec![0; usize::try_from(len)?];
    if region.read(usize::try_from(offset)?, &mut bytes) {
        Ok(bytes)
    } else {
        Err(Error::new(1, "the region has fewer bytes"))
    }
}

/// Writes to a region.
#[guest_function]
fn write_region(region: Region, offset: u64, bytes: &[u8]) -> Result<(), Error> {
    if region.write(usize::try_from(offset)?, bytes) {
        Ok(())
    } else {
        Err(Error::new(1, "the region has fewer bytes"))
    }
}

/// Sum of all bytes of a region, which nobody changes.
#[guest_function]
fn sum_region(region: Region) -> u64 {
    // SAFETY: tests do not change what they pass.
    let bytes = unsafe { region.as_slice() };
    bytes.iter().map(|byte| u64::from(*byte)).sum()
}
