//! A block of guest memory that is built by appending, and values that both protocols write to it.

use alloc::vec::Vec;

use boot_core::{GuestRange, MemoryMap, PlanError, RegionKind, arith};
use zerocopy::{FromBytes, FromZeros, Immutable, IntoBytes};

/// Name of the boot loader, with its terminating NUL.
pub(crate) const BOOT_LOADER_NAME: &[u8] = b"vmboot\0";

/// Bytes for guest memory, from the address `base` on.
pub(crate) struct Block {
    base: u32,
    bytes: Vec<u8>,
}

impl Block {
    /// An empty block that begins at `base`.
    pub(crate) const fn new(base: u32) -> Self {
        Self {
            base,
            bytes: Vec::new(),
        }
    }

    /// Appends `bytes`. Returns their address.
    pub(crate) fn push(&mut self, bytes: &[u8]) -> u32 {
        let len = u32::try_from(self.bytes.len()).unwrap_or(u32::MAX);
        self.bytes.extend_from_slice(bytes);
        self.base.saturating_add(len)
    }

    /// Appends zeros up to a multiple of `align`.
    pub(crate) fn align(&mut self, align: usize) {
        let len = self.bytes.len().next_multiple_of(align);
        self.bytes.resize(len, 0);
    }

    /// Overwrites the bytes at `offset`, which were appended before, with `value`.
    pub(crate) fn patch<T: FromBytes + IntoBytes + Immutable + FromZeros>(
        &mut self,
        offset: usize,
        value: &T,
    ) {
        if let Some(bytes) = self.bytes.get_mut(offset..) {
            // Never fails: the block has the bytes of the value.
            let _ = value.write_to_prefix(bytes);
        }
    }

    /// Length in bytes.
    pub(crate) fn len(&self) -> usize {
        self.bytes.len()
    }

    /// The bytes.
    pub(crate) fn into_bytes(self) -> Vec<u8> {
        self.bytes
    }
}

/// Converts a length for a field of 32 bits.
pub(crate) fn len32(protocol: &'static str, len: usize) -> Result<u32, PlanError> {
    match u32::try_from(len) {
        Ok(len) => Ok(len),
        Err(_) => Err(PlanError::TooLarge {
            protocol,
            what: "the length of the boot information",
            found: arith::to_u64(len),
            max: u32::MAX.into(),
        }),
    }
}

/// `mem_lower` and `mem_upper`, in KiB: RAM from address zero up to 640 KiB, and from 1 MiB up to the first hole.
pub(crate) fn basic_memory(map: &MemoryMap) -> (u32, u32) {
    const LOWER_END: u64 = 640 << 10;
    const UPPER_START: u64 = 1 << 20;
    let kib = |start: u64, max: u64| {
        let region = map
            .regions()
            .iter()
            .find(|region| region.kind == RegionKind::Ram && region.range.contains_addr(start));
        let end = region.map_or(start, |region| region.range.end()).min(max);
        let range = GuestRange::from_bounds(start, end).unwrap_or(GuestRange::EMPTY);
        u32::try_from(range.len() >> 10).unwrap_or(u32::MAX)
    };
    (kib(0, LOWER_END), kib(UPPER_START, u64::MAX))
}
