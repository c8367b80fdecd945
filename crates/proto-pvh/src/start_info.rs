//! The start info and the structures that it points to, in one block of memory.
//!
//! ```text
//! ┌ start info     56 bytes, its address in EBX
//! ├ memory map     24 bytes for each region
//! ├ command lines  of the modules that have one, NUL-terminated
//! └ module list    32 bytes for each module
//! ```
//!
//! Memory map and module list are outside the block if the request fixes their addresses.
//!
//! [`Contents::build`] is called twice: for the lengths, which do not depend on addresses, and with the final addresses.

use alloc::vec::Vec;

use boot_core::{GuestRange, MemoryMap, PlanError, arith};
use zerocopy::little_endian::{U32, U64};
use zerocopy::{FromZeros, Immutable, IntoBytes};

use crate::raw::{MAGIC, MemmapEntry, ModlistEntry, StartInfo, VERSION};

/// The protocol's name.
pub(crate) const NAME: &str = "pvh";

/// Contents of the structures.
pub(crate) struct Contents<'a> {
    pub(crate) memory: &'a MemoryMap,
    /// Address of the memory map outside the block.
    pub(crate) memory_map_at: Option<u64>,
    /// Address of the module list outside the block.
    pub(crate) module_list_at: Option<u64>,
    pub(crate) rsdp: Option<u64>,
    /// The command line of each module, with the terminating NUL.
    pub(crate) module_cmdlines: &'a [Option<Vec<u8>>],
}

/// The structures.
pub(crate) struct Structures {
    pub(crate) block: Vec<u8>,
    /// Empty if it is in the block.
    pub(crate) memory_map: Vec<u8>,
    /// Empty if it is in the block or there are no modules.
    pub(crate) module_list: Vec<u8>,
}

impl Contents<'_> {
    /// The structures with the block at the address `base`, for a command line at `cmdline` and modules at `ranges`. An empty
    /// module has no range.
    pub(crate) fn build(
        &self,
        base: u64,
        cmdline: u64,
        ranges: &[Option<GuestRange>],
    ) -> Result<Structures, PlanError> {
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
        let memmap_entries = count("the number of memory regions", &memmap)?;
        let (memmap_paddr, memory_map) = block.table(&memmap, self.memory_map_at);
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
        let nr_modules = count("the number of modules", &modlist)?;
        let (modlist_paddr, module_list) = block.table(&modlist, self.module_list_at);
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
        Ok(Structures {
            block: block.with_start_info(&start_info),
            memory_map,
            module_list,
        })
    }
}

/// The number of entries of a table.
fn count<T>(what: &'static str, table: &[T]) -> Result<U32, PlanError> {
    match u32::try_from(table.len()) {
        Ok(count) => Ok(count.into()),
        Err(_) => Err(PlanError::TooLarge {
            protocol: NAME,
            what,
            found: arith::to_u64(table.len()),
            max: u32::MAX.into(),
        }),
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

    /// Returns the address of a table, which is zero for an empty one, and the bytes of a table outside the block: it is there
    /// with an address `at`, otherwise it is appended at a multiple of eight bytes.
    fn table<T: IntoBytes + Immutable>(&mut self, table: &[T], at: Option<u64>) -> (U64, Vec<u8>) {
        let bytes = table.as_bytes();
        match at {
            _ if table.is_empty() => (U64::ZERO, Vec::new()),
            Some(at) => (at.into(), bytes.to_vec()),
            None => {
                self.bytes.resize(self.bytes.len().next_multiple_of(8), 0);
                (self.append(bytes), Vec::new())
            }
        }
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
