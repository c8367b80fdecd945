//! Physical memory: the memory map, pages, pool allocations and page protections, UEFI 2.10 section 7.2.
//!
//! Addresses are numbers: nothing here reads or writes memory. [`MemoryMap`] has the pages, [`Pool`] divides pages into smaller
//! pieces, and [`Protections`] models `EFI_MEMORY_ATTRIBUTE_PROTOCOL`.

mod attributes_table;
mod map;
mod pool;
mod protections;
mod types;

pub use attributes_table::attributes_table;
pub use map::{MapConfig, MemoryMap, Owner, Placement};
pub use pool::Pool;
pub use protections::Protections;
pub use types::{Attributes, Descriptor, MemoryType, PAGE_SIZE};
