//! `EFI_MEMORY_ATTRIBUTES_TABLE`, UEFI 2.10 section 4.6.4.
#![expect(unsafe_code, reason = "the table is written to allocated pages")]

use efi_core::Result;
use efi_core::memory::{
    Attributes, Descriptor, MemoryType, PAGE_SIZE, Placement, Protections, attributes_table,
};
use uefi_raw::table::boot::{MemoryAttribute, MemoryDescriptor, MemoryType as RawType};

use super::memory::Memory;
use crate::access::{pointer, write};

/// Pages of the table. They are allocated once: a table that grew would change the map that it describes.
const PAGES: u64 = 4;
/// Version of the table.
const VERSION: u32 = 2;
/// Distance of the descriptors.
const DISTANCE: usize = size_of::<MemoryDescriptor>();
/// Version, number of entries, size of an entry, flags.
const HEADER: usize = 16;
const MAX_ENTRIES: usize = 400;
const _: () = assert!((HEADER + MAX_ENTRIES * DISTANCE) as u64 <= PAGES * PAGE_SIZE);

/// The table, and the access rights of the firmware's own sections.
pub(crate) struct AttributesTable {
    pub(crate) address: u64,
    sections: Protections,
}

impl AttributesTable {
    pub(crate) const fn new() -> Self {
        Self {
            address: 0,
            sections: Protections::new(),
        }
    }

    /// Allocates the table.
    pub(crate) fn allocate(&mut self, memory: &mut Memory) -> Result<u64> {
        self.address = memory
            .map
            .allocate(Placement::Any, MemoryType::BOOT_SERVICES_DATA, PAGES)?;
        self.update(memory)?;
        Ok(self.address)
    }

    /// Names the access rights of a section.
    pub(crate) fn add_section(&mut self, start: u64, len: u64, rights: Attributes) -> Result<()> {
        self.sections.set(start, len, rights)
    }

    /// Writes the entries for the map as it is now.
    pub(crate) fn update(&self, memory: &Memory) -> Result<()> {
        if self.address == 0 {
            return Ok(());
        }
        let entries = attributes_table(&memory.map, &[&self.sections, &memory.protections], MAX_ENTRIES);
        let numbers = [entries.len(), DISTANCE].map(|number| u32::try_from(number).unwrap_or(0));
        let header = [VERSION, numbers[0], numbers[1], 0];
        // SAFETY: the pages were allocated for the table and belong to the firmware.
        unsafe { write(pointer(self.address), header) }?;
        let mut target = pointer::<MemoryDescriptor>(self.address + HEADER as u64);
        for entry in &entries {
            // SAFETY: the pages have room for the largest number of entries.
            unsafe { write(target, raw(entry)) }?;
            target = target.wrapping_add(1);
        }
        Ok(())
    }
}

/// A descriptor of the tables.
fn raw(entry: &Descriptor) -> MemoryDescriptor {
    MemoryDescriptor {
        ty: RawType(entry.kind.0),
        padding: 0,
        phys_start: entry.start,
        virt_start: 0,
        page_count: entry.pages,
        att: MemoryAttribute::from_bits_retain(entry.attributes.bits()),
    }
}
