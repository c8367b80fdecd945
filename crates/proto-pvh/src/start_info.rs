//! The start info and the structures that it points to, in one block of memory.
//!
//! ```text
//! ┌ start info     56 bytes, its address in EBX
//! ├ memory map     24 bytes for each region
//! ├ command lines  of the modules that have one, NUL-terminated
//! └ module list    32 bytes for each module
//! ```
//!
//! [`Contents::build`] is called twice: for the length of the block, which does not depend on addresses, and with the
//! final addresses.

use alloc::vec::Vec;

use boot_core::{GuestRange, MemoryMap, PlanError, arith};
use zerocopy::little_endian::{U32, U64};
use zerocopy::{FromZeros, Immutable, IntoBytes};

use crate::raw::{MAGIC, MemmapEntry, ModlistEntry, StartInfo, VERSION};

/// The protocol's name.
pub(crate) const NAME: &str = "pvh";

/// Contents of the block.
pub(crate) struct Contents<'a> {
    pub(crate) memory: &'a MemoryMap,
    pub(crate) rsdp: Option<u64>,
    /// The command line of each module, with the terminating NUL.
    pub(crate) module_cmdlines: &'a [Option<Vec<u8>>],
}

impl Contents<'_> {
    /// The length of the block in bytes.
    pub(crate) fn len(&self) -> Result<u64, PlanError> {
        Ok(arith::to_u64(self.build(0, 0, &[])?.len()))
    }

    /// The block at the address `base`, for a command line at `cmdline` and modules at `ranges`. An empty module has no range.
    pub(crate) fn build(
        &self,
        base: u64,
        cmdline: u64,
        ranges: &[Option<GuestRange>],
    ) -> Result<Vec<u8>, PlanError> {
        let mut block = Block {
            base,
            bytes: StartInfo::new_zeroed().as_bytes().to_vec(),
        };
        let memmap: Vec<_> = self
            .memory
            .regions()
            .iter()
            .map(|region| MemmapEntry {
                addr: region.range.start().into(),
                size: region.range.len().into(),
                kind: region.kind.e820_type().into(),
                reserved: U32::ZERO,
            })
            .collect();
        let (memmap_paddr, memmap_entries) = block.table("the number of memory regions", &memmap)?;
        let ranges = ranges.iter().copied().chain(core::iter::repeat(None));
        let modlist: Vec<_> = self
            .module_cmdlines
            .iter()
            .zip(ranges)
            .map(|(cmdline, range)| {
                let range = range.unwrap_or(GuestRange::EMPTY);
                ModlistEntry {
                    paddr: range.start().into(),
                    size: range.len().into(),
                    cmdline_paddr: cmdline.as_deref().map_or(U64::ZERO, |line| block.append(line)),
                    reserved: U64::ZERO,
                }
            })
            .collect();
        let (modlist_paddr, nr_modules) = block.table("the number of modules", &modlist)?;
        let start_info = StartInfo {
            magic: MAGIC.into(),
            version: VERSION.into(),
            flags: U32::ZERO,
            nr_modules,
            modlist_paddr,
            cmdline_paddr: cmdline.into(),
            rsdp_paddr: self.rsdp.unwrap_or(0).into(),
            memmap_paddr,
            memmap_entries,
            reserved: U32::ZERO,
        };
        Ok(block.with_start_info(&start_info))
    }
}

/// The block while it is built.
struct Block {
    base: u64,
    bytes: Vec<u8>,
}

impl Block {
    /// Appends `bytes`; returns their address.
    fn append(&mut self, bytes: &[u8]) -> U64 {
        let addr = self.base.saturating_add(arith::to_u64(self.bytes.len()));
        self.bytes.extend_from_slice(bytes);
        addr.into()
    }

    /// Appends a table at a multiple of eight bytes; returns its address and number of entries, both zero if it is empty.
    fn table<T: IntoBytes + Immutable>(
        &mut self,
        what: &'static str,
        table: &[T],
    ) -> Result<(U64, U32), PlanError> {
        let Ok(count) = u32::try_from(table.len()) else {
            return Err(PlanError::TooLarge {
                protocol: NAME,
                what,
                found: arith::to_u64(table.len()),
                max: u32::MAX.into(),
            });
        };
        if table.is_empty() {
            return Ok((U64::ZERO, U32::ZERO));
        }
        self.bytes.resize(self.bytes.len().next_multiple_of(8), 0);
        Ok((self.append(table.as_bytes()), count.into()))
    }

    /// The finished block.
    fn with_start_info(mut self, start_info: &StartInfo) -> Vec<u8> {
        let start_info = start_info.as_bytes();
        if let Some(head) = self.bytes.get_mut(..start_info.len()) {
            head.copy_from_slice(start_info);
        }
        self.bytes
    }
}
