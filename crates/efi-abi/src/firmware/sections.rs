//! Access rights of runtime memory, for `EFI_MEMORY_ATTRIBUTES_TABLE`.

use efi_core::memory::{Attributes, MemoryType, PAGE_SIZE};
use efi_core::{Result, Status};

use super::Firmware;
use crate::state::with;

impl Firmware {
    /// Names the access rights that the operating system may enforce for a section of the firmware at runtime: `RO` for code,
    /// `RO | XP` for read-only data, `XP` for data. The addresses are physical.
    ///
    /// A region of the type `EfiRuntimeServicesCode` is in the table once all of its pages are named. Regions of
    /// `EfiRuntimeServicesData` are `XP` without a name. Runtime drivers have the rights of their sections.
    ///
    /// # Errors
    ///
    /// `INVALID_PARAMETER` if the range is not of whole pages, has no other rights than these three, or is not in regions
    /// of runtime services; `UNSUPPORTED` after `ExitBootServices`.
    pub fn add_runtime_section(&self, start: u64, len: u64, rights: Attributes) -> Result<()> {
        let allowed = [Attributes::RO, Attributes::XP, Attributes::RO | Attributes::XP];
        if !allowed.contains(&rights) || !len.is_multiple_of(PAGE_SIZE) {
            return Err(Status::INVALID_PARAMETER);
        }
        with(|state| {
            let is_runtime = |kind: MemoryType, _| kind.is_runtime();
            if !state.memory.map.all_pages(start, len / PAGE_SIZE, is_runtime) {
                return Err(Status::INVALID_PARAMETER);
            }
            state.attributes_table.add_section(start, len, rights)?;
            state.attributes_table.update(&state.memory)
        })
    }
}
