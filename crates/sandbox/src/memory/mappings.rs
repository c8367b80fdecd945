//! Slots and page tables of mapped files and regions.

use guest_ram::RamRegion;
use hv_core::{BareVm, Operation};

use super::Memory;
use crate::error::BackendError;
use crate::image::Image;
use crate::mapping::Mapping;
use crate::mapping_error::{MapError, UnmapError};
use crate::mappings::{Entry, MappingTables, NewMapping, NewTables, Place, TABLES_SLOT};

impl Memory {
    /// Maps `new` at `place`. The guest does not run, and its translations are flushed before it does. After an error, nothing is mapped.
    pub(crate) fn add_mapping<V>(
        &mut self,
        vm: &V,
        image: &Image,
        new: NewMapping,
        place: Place,
    ) -> Result<Mapping, MapError>
    where
        V: BareVm<Ram: From<RamRegion>>,
    {
        let entry = Entry::new(new, place);
        let tables = NewTables::new(image, self.mappings.pages_with(&entry))?;
        let failed = || BackendError::at(Operation::MapRam);
        if self.mappings.tables.is_none() {
            let empty = MappingTables::new(image, vm.abilities().dirty_log)?;
            if let Some(region) = empty.region() {
                vm.map_slot(TABLES_SLOT, region.into(), empty.attributes())
                    .map_err(failed())?;
            }
            // They stay for further mappings.
            self.mappings.tables = Some(empty);
        }
        if let Some(region) = entry.region() {
            vm.map_slot(entry.slot, region.into(), entry.attributes)
                .map_err(failed())?;
        }
        let mapping = entry.mapping;
        self.mappings.insert(entry);
        self.set_tables(tables);
        Ok(mapping)
    }

    /// Unmaps `mapping`. After an error, it is mapped.
    pub(crate) fn remove_mapping<V: BareVm>(
        &mut self,
        vm: &V,
        image: &Image,
        mapping: Mapping,
    ) -> Result<(), UnmapError> {
        let address = mapping.address();
        let not_mapped = UnmapError::NotMapped { address };
        let slot = self.mappings.get(mapping).ok_or(not_mapped)?.slot;
        // There was room for the tables of more mappings.
        let tables = NewTables::new(image, self.mappings.pages_without(mapping)).ok();
        vm.unmap_ram(slot)
            .map_err(BackendError::at(Operation::UnmapRam))?;
        self.mappings.remove(mapping);
        if let Some(tables) = tables {
            self.set_tables(tables);
        }
        Ok(())
    }

    fn set_tables(&mut self, new: NewTables) {
        if let Some(tables) = &mut self.mappings.tables {
            let (at, entries) = tables.set(new);
            let written = self.tables.write(at, entries);
            debug_assert!(written, "the guest has this table");
        }
    }
}
